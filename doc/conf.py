"""Sphinx: ``python -m sphinx -W -b html doc build/html``."""

import sparsechol

project = "sparsechol"
copyright = "2026, the sparsechol developers"
version = release = sparsechol.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3

autodoc_mock_imports = ["mpi4py", "sparsechol.distributed._mumps"]  # which are not everywhere
autodoc_typehints = "none"  # the docstrings say shapes, which types do not
numpydoc_show_class_members = False
autosummary_generate = False  # numpydoc brings it; the reference is one page

html_theme = "pydata_sphinx_theme"
html_title = "sparsechol"
html_show_sourcelink = False
html_sidebars = {"**": []}  # the pages have no pages below them
html_theme_options = {"header_links_before_dropdown": 3, "secondary_sidebar_items": ["page-toc"]}
