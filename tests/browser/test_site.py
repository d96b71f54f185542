"""The rendered course, as someone reads it who has installed nothing and has no network."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from cityseg_utils import models, prediction, preprocessing
from cityseg_utils.labels import CITYSCAPES

ROOT = Path(__file__).resolve().parents[2]
FRONT = "docs/index.html"
LESSON = "notebooks/00_start_here.html"
ENGINE = runpy.run_path(str(ROOT / "docs" / "conf.py"))["ENGINE"]
PAGES = [FRONT, LESSON, "notebooks/glossary.html", "docs/generated/cityseg_utils.losses.html"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, made of what is stored; the folder is its root."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-c", "docs", "-b", "html", "-q", "-W"]
    command += ["--keep-going", "-d", folder / "doctrees", ".", folder / "site"]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def read(browser, site):
    """Open pages of the site; whatever they ask of the network is noted in ``asked``."""
    contexts = []

    def open_(page: str, width: int = 1300, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = context.new_page()
        opened.asked = []
        opened.on(
            "request",
            lambda request: request.url.startswith("http") and opened.asked.append(request.url),
        )
        opened.goto(f"file://{site / page}")
        return opened

    yield open_
    for context in contexts:
        context.close()


class Links(HTMLParser):
    """Where a page leads to, and the names of its places."""

    def __init__(self, page: Path):
        super().__init__()
        self.places, self.targets = set(), []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places |= {attributes[name] for name in ("id", "name") if name in attributes}
        self.targets += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def test_no_link_within_the_site_is_broken(site):
    inner = [page for page in site.rglob("*.html") if page.relative_to(site).parts[0] != "_static"]
    pages = {page: Links(page) for page in inner}
    assert len(pages) > 60
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            named = file in pages and unquote(parts.fragment) not in {"", "#", *pages[file].places}
            if not file.exists() or named:
                broken.append((page.relative_to(site).as_posix(), target))
    assert not broken


def test_every_lesson_is_on_the_front_page(read, site):
    page = read(FRONT)
    for lesson in sorted((ROOT / "notebooks").glob("*.ipynb")):
        title = re.search(r'"# (.+?)(\\n)?"', lesson.read_text(encoding="utf-8"))[1]
        link = page.locator("article").get_by_role("link", name=title, exact=True)
        expect(link).to_have_attribute("href", f"../notebooks/{lesson.stem}.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_for_nothing_outside_and_fits_a_phone(read, page, theme):
    opened = read(page, width=390, color_scheme=theme)
    opened.wait_for_load_state("networkidle")
    assert opened.asked == []
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(wider) == 0
    light = opened.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()")
    assert (int(light.split(",")[0]) > 128) == (theme == "light")


def test_the_pictures_of_a_lesson_are_there_and_the_viewer_s_among_them(read):
    page = read(LESSON)
    pictures = page.locator("article img")
    assert pictures.count() >= 5
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") > 0
    assert page.get_by_text("Loading widget").count() == 0


def test_a_word_is_found(read):
    page = read(f"{Path(FRONT).parent}/../search.html?q=trimap")
    expect(page.locator("#search-results a").first).to_be_visible()
    assert page.asked == []


def test_a_formula_is_drawn_without_a_script(read):
    page = read("notebooks/11_how_much_data.html")
    formula = page.locator("article math").first
    expect(formula).to_be_visible()
    assert formula.bounding_box()["width"] > 20


def test_one_comes_from_a_lesson_to_the_next(read):
    page = read(LESSON)
    page.locator("a.right-next").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("data frame of paths")


# -- the page on which a network runs -------------------------------------------------------------


@pytest.fixture(scope="module")
def served(site):
    """The site's address, with the engine of the page "Try it" in it."""
    folder = ROOT / "docs" / "try_it"
    engine = [folder / "node_modules" / "onnxruntime-web" / "dist" / name for name in ENGINE]
    if not all(file.exists() for file in engine):
        if not os.environ.get("CITYSEG_NEEDS_INDEX"):
            pytest.skip("no engine for networks in a browser: npm ci --prefix docs/try_it")
        subprocess.run(
            ["npm", "ci", "--prefix", folder, "--ignore-scripts", "--silent"], check=True
        )
        for file in engine:
            shutil.copy(file, site / "_static" / "try_it")
    handler = partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def tried(browser, served):
    """The page, the street looked at."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    page = context.new_page()
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(f"{served}/docs/try_it.html")
    page.locator("#tried[data-looks='1']").wait_for(timeout=120_000)
    yield page
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith((served, "blob:", "data:"))] == []
    context.close()


def told(page) -> np.ndarray:
    """The class of each pixel, as the page has it."""
    answer = "Array.from(document.getElementById('tried').page.answer)"
    return np.array(page.evaluate(answer), np.uint8).reshape(256, 512)


def test_a_browser_says_what_keras_says(tried):
    street = preprocessing.read_image(ROOT / "docs" / "try_it" / "street.png")
    model = models.load_reference()
    (scores,) = prediction.predict(model, [street], models.REFERENCE_SIZE)
    assert (told(tried) == scores.argmax(-1)).mean() >= 0.999

    # Its pixels have its class under the pointer, and in both palettes their colour.
    stage = tried.locator("#tried .answer")
    box = stage.bounding_box()
    x, y = 300, 200
    tried.mouse.move(
        box["x"] + (x + 0.5) / 512 * box["width"], box["y"] + (y + 0.5) / 256 * box["height"]
    )
    names = CITYSCAPES.names
    expect(tried.locator("#tried .pointed")).to_contain_text(f"{names[scores[y, x].argmax()]}, ")
    stage.focus()
    tried.keyboard.press("ArrowLeft")
    words = f"{names[scores[y, x - 8].argmax()]}, "
    expect(tried.locator("#tried .pointed")).to_contain_text(words)
    expect(tried.locator("#tried .pointed")).to_contain_text(f"(x {x - 8}, y {y})")
    for scheme, name in (
        (CITYSCAPES, "official"),
        (CITYSCAPES.color_blind_safe(), "colour-blind safe"),
    ):
        tried.get_by_label("colours").select_option(name)
        drawn = stage.evaluate(
            "c => Array.from(c.getContext('2d').getImageData(0, 0, 512, 256).data)"
        )
        drawn = np.array(drawn, np.uint8).reshape(256, 512, 4)[..., :3]
        np.testing.assert_array_equal(drawn, scheme.palette[told(tried)])
    first = tried.locator("#tried li").first
    expect(first).to_contain_text(names[np.bincount(told(tried).ravel()).argmax()])


def test_one_s_own_photograph_stays_in_the_browser(tried, tmp_path):
    sky = np.zeros((300, 900, 3), np.uint8)
    sky[..., 2] = 255
    Image.fromarray(sky).save(tmp_path / "blue.jpg")
    before, asked = told(tried), len(tried.asked)
    tried.get_by_label("your photograph").set_input_files(tmp_path / "blue.jpg")
    tried.locator("#tried[data-looks='2']").wait_for(timeout=120_000)
    assert (told(tried) != before).mean() > 0.1
    assert [url for url in tried.asked[asked:] if not url.startswith("blob:")] == []
    (tmp_path / "notes.txt").write_text("no picture")
    tried.get_by_label("your photograph").set_input_files(tmp_path / "notes.txt")
    expect(tried.locator("#tried .said")).to_contain_text("notes.txt is no picture")

    # What is transparent lets nothing of the picture before through.
    Image.new("RGBA", (512, 256), (0, 0, 0, 0)).save(tmp_path / "glass.png")
    tried.get_by_label("your photograph").set_input_files(tmp_path / "glass.png")
    tried.locator("#tried[data-looks='3']").wait_for(timeout=120_000)
    seen = tried.evaluate(
        "() => { const c = document.getElementById('tried').page.picture;"
        " return Array.from(c.getContext('2d').getImageData(0, 0, 512, 256).data); }"
    )
    assert set(seen) == {255}


def test_a_camera_is_watched_until_it_is_stopped(tried):
    before = told(tried)
    tried.get_by_role("button", name="your camera").click()
    tried.wait_for_function("+document.getElementById('tried').dataset.looks > 2", timeout=120_000)
    assert (told(tried) != before).any()
    track = "document.getElementById('tried').page.film.srcObject.getTracks()[0]"
    tried.evaluate(f"window.track = {track}")
    tried.get_by_role("button", name="stop the camera").click()
    expect(tried.get_by_role("button", name="your camera")).to_be_visible()
    assert tried.evaluate("window.track.readyState") == "ended"


def test_opened_from_a_folder_the_page_says_what_it_needs(read):
    page = read("docs/try_it.html")  # where a browser loads no modules
    expect(page.locator("#tried")).to_contain_text("python -m http.server")
    assert page.asked == []


def test_a_site_without_the_engine_says_how_to_have_it(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.route("**/*.mjs", lambda route: route.fulfill(status=404))
    page.goto(f"{served}/docs/try_it.html")
    expect(page.locator("#tried")).to_contain_text("npm ci")
    context.close()
