"""Sphinx: ``python -m sphinx -W -b html doc build/html``."""

import sparsechol

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

html_theme = "pydata_sphinx_theme"
html_title = "sparsechol"
html_show_sourcelink = False
html_sidebars = {"**": []}  # all pages are on one level
html_theme_options = {"header_links_before_dropdown": 3, "secondary_sidebar_items": ["page-toc"]}
