"""How the pages are built: `make docs`."""

from prestow import __version__

project = "prestow"
author = "the prestow developers"
copyright = "the prestow developers"
release = __version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_click"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["run_commands.py"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]
autosummary_generate = False
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them, the docstring says what they mean
default_role = "literal"
html_theme = "alabaster"
html_theme_options = {"description": "Every file name, before the first job runs", "page_width": "1100px"}
html_show_sourcelink = False
html_copy_source = False
