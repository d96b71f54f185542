"""A lesson in JupyterLab, as a student opens it; and the page that it leaves without a kernel."""

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label
from playwright.sync_api import expect

from cityseg_utils import course, datasets

LESSON = course.NOTEBOOKS / "00_start_here.ipynb"


@pytest.fixture(scope="module")
def streets():
    """The label files, as they lie on the disk, of the streets that lesson 00 predicts."""
    pairs, _ = datasets.open_dataset()
    val = pairs[pairs["split"] == "val"]
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in val["mask"].iloc[::6]]


def visible(viewer):
    """Which pixels of the mask are painted, ``(H, W) bool``."""
    clear = viewer.evaluate(
        """(element) => {
            const { over } = element.viewer.main;
            const data = over.getContext("2d").getImageData(0, 0, over.width, over.height).data;
            return [over.height, over.width, ...data.filter((_, k) => k % 4 === 3)]; }"""
    )
    return np.array(clear[2:]).reshape(clear[:2]) > 0


def test_lesson_00_in_jupyterlab(open_notebook, streets):
    notebook = open_notebook(LESSON)
    page = notebook.page
    cells = notebook.cells()
    viewer = notebook.panel.locator(".cityseg-viewer").nth(1)
    viewer.scroll_into_view_if_needed()
    expect(viewer).to_have_attribute("data-ready", "0")
    stage = viewer.locator(".stage").first
    stage.focus()

    # The pointer reads what the file has there.
    width = streets[0].shape[1]
    for x, y in ((30, 220), (256, 120), (480, 90)):
        box = stage.bounding_box()
        unit = box["width"] / width
        page.mouse.move(box["x"] + (x + 0.5) * unit, box["y"] + (y + 0.5) * unit)
        label = id2label[int(streets[0][y, x])]
        name = "void" if label.ignoreInEval else label.name
        expect(viewer.locator(".status")).to_contain_text(f"x {x}, y {y}   truth: {name}")

    # A class is switched off, the opacity moved, the picture enlarged under the pointer.
    labelled = np.isin(streets[0], [id for id, label in id2label.items() if not label.ignoreInEval])
    np.testing.assert_array_equal(visible(viewer), labelled)
    viewer.get_by_role("checkbox", name="road").uncheck()
    np.testing.assert_array_equal(visible(viewer), labelled & (streets[0] != 7))
    viewer.get_by_role("checkbox", name="road").check()
    stage.focus()
    page.keyboard.press("]")
    expect(viewer.locator("canvas").nth(1)).to_have_css("opacity", "0.7")
    stage.hover()
    page.mouse.wheel(0, -500)
    page.wait_for_function("(viewer) => viewer.viewer.view.scale > 2", arg=viewer.element_handle())
    page.keyboard.press("0")

    # Another street by the keyboard; the table sorts.
    page.keyboard.press("n")
    expect(viewer).to_have_attribute("data-ready", "1")
    labelled = np.isin(streets[1], [id for id, label in id2label.items() if not label.ignoreInEval])
    np.testing.assert_array_equal(visible(viewer), labelled)
    viewer.get_by_role("button", name="sort by mean IoU").click()
    scores = [float(x) for x in viewer.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert len(scores) == len(streets)
    assert scores == sorted(scores)

    # No letter has reached the notebook, nothing has failed, nothing was fetched from outside.
    stage.focus()
    for key in "xamdd":
        page.keyboard.press(key)
    notebook.kernel("1")
    assert notebook.cells() == cells
    assert notebook.errors == []
    assert notebook.outside == []


def test_an_exported_page_shows_the_twin_without_a_kernel(browser, tmp_path):
    page_file = course.export_html(LESSON, tmp_path)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri(), wait_until="domcontentloaded")
    twins = page.get_by_role("img", name="Mask viewer")
    shown = LESSON.read_text(encoding="utf-8").count("widgets.view(")
    assert twins.count() == shown > 1
    for k in range(shown):
        expect(twins.nth(k)).to_be_visible()
        assert twins.nth(k).evaluate("(img) => img.complete && img.naturalWidth > 600")
    assert "network's answer" in page.inner_text("body")
    context.close()
