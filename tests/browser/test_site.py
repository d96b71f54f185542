"""The rendered course, as someone reads it who has installed nothing and has no network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
FRONT = "docs/index.html"
LESSON = "notebooks/00_start_here.html"
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
