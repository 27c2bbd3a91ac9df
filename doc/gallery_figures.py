"""The figures of the gallery: those that the examples save where they run."""

from pathlib import Path

from sphinx_gallery.scrapers import figure_rst


def saved(block, block_vars, gallery_conf):
    """Move the pictures that an example has saved into the gallery, and return their reST."""
    folder = Path(block_vars["src_file"]).parent
    pictures = sorted(folder.glob("*.png"))
    places = [picture.rename(next(block_vars["image_path_iterator"])) for picture in pictures]
    return figure_rst(places, gallery_conf["src_dir"])
