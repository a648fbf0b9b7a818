"""The site: `make docs`. Warnings are errors, and every name that is linked must exist."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import triosock  # noqa: E402

project = "triosock"
author = "the authors of triosock"
project_copyright = author
version = release = triosock.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinxcontrib_trio",
    "myst_parser",
    "docstrings",
    "tables",
    "commands",
    "lessons",
    "course",
    "layers",
]
exclude_patterns = ["_build", "code", "_ext"]
nitpicky = True
default_role = "code"
highlight_language = "python"
smartquotes = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = "triosock"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
