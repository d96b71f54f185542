"""A real JupyterLab in a real browser; skipped where there is no Chromium."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import lab as jupyter


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    if jupyter.CHROMIUM is None:
        if os.environ.get("CITYSEG_NEEDS_BROWSER"):
            pytest.fail("there is no Chromium, and CITYSEG_NEEDS_BROWSER says there must be one")
        pytest.skip("no Chromium on this machine: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=jupyter.CHROMIUM, args=jupyter.FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab; gives its address, its token and its folder."""
    with jupyter.serve(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def open_notebook(browser, lab):
    """Open a notebook in a window of some size and run all its cells."""
    address, token, folder = lab
    contexts = []

    def open_(path: Path, width: int = 1400, height: int = 1000):
        shutil.copy(path, folder / path.name)
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        return jupyter.Notebook(context.new_page(), address, token, path.name)

    yield open_
    for context in contexts:
        context.close()
