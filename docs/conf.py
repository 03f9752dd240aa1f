"""The documentation's site: `make docs` builds it into docs/_build, without a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

import mopo_env

project = "mopo_env"
author = "the mopo_env authors"
release = version = mopo_env.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "methods",
]
html_theme = "furo"
html_title = f"mopo_env {release}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_math_renderer = "mathml"
highlight_language = "none"
lexers["csv"] = TextLexer()

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# A page for each room, made from the docstrings at every build.
apidoc_modules = [
    {
        "path": f"../{path}",
        "destination": f"api/{path.split('/')[-1]}",
        "exclude_patterns": ["**/_utils*"],
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
    for path in ("mopo_env", "agents/mopo_agents")
]
autodoc_typehints = "none"  # signatures and docstrings have them
napoleon_use_ivar = True  # an attribute that is documented twice is one object
autodoc_member_order = "bysource"
default_role = "py:obj"  # a name in single backticks is a link where it leads somewhere
# These have no pages here, and a build without a network cannot ask theirs.
nitpick_ignore_regex = [("py:.*", ".*")]
exclude_patterns = ["_build", "api/*/modules.rst"]
