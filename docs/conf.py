"""How Sphinx makes the site: lessons from their stored outputs, the package from its docstrings.

The source is the whole checkout, so that links between lessons and other pages are those of the
repository; `make docs` builds it, without a network and without running anything.
"""

import shutil
from importlib import metadata
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

from cityseg_utils import course

project = "Semantic segmentation of street scenes"
author = "the course's authors"
copyright = "2026, the course's authors"
version = release = metadata.version("cityseg-utils")

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/generated/*",
    "notebooks/**",
    "data/README.md",
    "cityseg_utils/minicity/README.md",
    "cityseg_utils/reference/README.md",
]
exclude_patterns = ["**/.ipynb_checkpoints"]
templates_path = [str(Path(__file__).parent / "_templates")]

# Notebooks are shown as they are stored; of a widget, the picture that stands in its place.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

# Every name of the package that a docstring mentions has a page; names of others have none here.
nitpicky = True
nitpick_ignore_regex = [(".*", r"(?!cityseg_utils\.).*")]
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # Keras and pandas write theirs otherwise
numpydoc_show_class_members = False

html_theme = "sphinx_book_theme"
html_title = project
html_extra_path = ["root"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
myst_update_mathjax = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search stands in the sidebar
    "show_toc_level": 2,
    "use_download_button": False,
}


# What the page "Try it" ships, and of npm's package what runs a network without a GPU.
TRY_IT = Path(__file__).parent / "try_it"
SHIPPED = ("try_it.js", "try_it.css", "classes.json", "street.png", "reference.onnx")
ENGINE = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")


def setup(app) -> None:
    """Show formulas as MathML, which browsers draw themselves: MathJax would be fetched."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("build-finished", _ship_what_is_tried)
    app.connect("source-read", _keep_links_within)


def _keep_links_within(app, page: str, source: list[str]) -> None:
    """Lead to pages of the site what leads to the repository's, for Colab's sake."""
    folder = (course.ROOT / page).parent
    source[0] = course.local_links(source[0], folder, course.repository())


def _ship_what_is_tried(app, error) -> None:
    if error is not None:
        return
    target = Path(app.outdir) / "_static" / "try_it"
    target.mkdir(parents=True, exist_ok=True)
    dist = TRY_IT / "node_modules" / "onnxruntime-web" / "dist"
    files = [TRY_IT / name for name in SHIPPED]
    # Without npm the page says so.
    files += [dist / name for name in ENGINE if (dist / name).exists()]
    for file in files:
        shutil.copyfile(file, target / file.name)


def _inline(translator, node) -> None:
    translator.body.append(convert(node.astext()))
    raise SkipNode


def _block(translator, node) -> None:
    translator.body.append(convert(node.astext(), display="block"))
    raise SkipNode
