"""Settings of the site. `make site` prepares the pages in docs/_build/source and calls Sphinx with this file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from course_site import api  # noqa: E402

import tlcourse  # noqa: E402

project, author, copyright = "Transfer learning in nineteen lessons", "The tlcourse authors", "the tlcourse authors"
version = release = tlcourse.__version__
language = "en-GB"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_design", "sphinx_copybutton"]
exclude_patterns = ["solutions"]

# The committed outputs are shown; nothing is run.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
myst_heading_anchors = 4
# Cells begin with headings of any level, and saved outputs hold what their authors printed.
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
default_role = "code"
add_module_names = False
modindex_common_prefix = ["tlcourse."]

html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "_static/icon.svg"
html_static_path = ["_static", "_build/static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_copy_source = False
html_show_sourcelink = False
mathjax_path = "vendor/tex-svg.js"
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "navigation_depth": 2,  # pages only; to look deeper takes a fifth of the build
    "show_toc_level": 2,
    "navbar_persistent": [],  # the side bar has the search already
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: Any) -> None:
    """Connect the hooks for docstrings and signatures."""
    app.connect("autodoc-skip-member", api.skip)
    app.connect("html-page-context", api.plain_signatures)
    app.connect("autodoc-process-docstring", api.process)
