"""Sphinx: ``python -m sphinx -W -b html doc build/html``.

With ``-t published`` the examples run, which takes minutes, and names of other projects
become links.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import sparsechol

sys.path.append(str(Path(__file__).parent))  # for gallery_figures

project = "sparsechol"
copyright = "2026, the sparsechol developers"
version = release = sparsechol.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
templates_path = ["_templates"]

autodoc_mock_imports = [
    "mpi4py",
    "pymc",
    "sparsechol.distributed._mumps",
]  # which are not everywhere
autodoc_typehints = "none"  # the docstrings say shapes, which types do not
default_role = "py:obj"  # `cholesky` in a docstring is a link
autosummary_generate = True  # a page for each object of the reference
numpydoc_show_class_members = False  # the template of classes lists them, inherited ones too

# Examples that need what is not here, or more than one process, are shown only.
needs = {"bym2": "pymc", "matern_regression": "pymc"}
shown_only = ["spde_mpi", *(name for name, package in needs.items() if not find_spec(package))]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"/(?!{'|'.join(shown_only)})\w+\.py",
    "plot_gallery": tags.has("published"),  # noqa: F821
    "image_scrapers": ("gallery_figures.saved",),
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
}

if tags.has("published"):  # noqa: F821
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "pytensor": ("https://pytensor.readthedocs.io/en/latest", None),
    }

html_theme = "pydata_sphinx_theme"
html_title = "sparsechol"
html_show_sourcelink = False
html_sidebars = {"**": []}  # all pages are on one level
html_theme_options = {"header_links_before_dropdown": 3, "secondary_sidebar_items": ["page-toc"]}
