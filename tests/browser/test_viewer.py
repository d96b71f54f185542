"""The mask viewer in JupyterLab, as someone uses it: mouse, keyboard, eyes."""

import json

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from cityseg_utils import datasets, preprocessing

SOURCE = """
from cityseg_utils import datasets, preprocessing, widgets
import numpy as np

pairs, scheme = datasets.open_dataset()
few = pairs[pairs["split"] == "val"].iloc[:5]
truth = [preprocessing.read_mask(path, scheme) for path in few["mask"]]
guess = [np.roll(mask, 4 * k, axis=1) for k, mask in enumerate(truth)]
sure = [np.linspace(0, 1, mask.size).reshape(mask.shape) for mask in truth]
names = ["<img src=x onerror=alert(1)>.png", "b", "c", "d", "e"]
viewer = widgets.view(few["image"], truth, guess, scheme, names, sure)
viewer
"""
# What the canvas shows, as numbers: the label map is found from its colours.
SHOWN = """(element) => {
    const { over } = element.viewer.main;
    const data = over.getContext("2d").getImageData(0, 0, over.width, over.height).data;
    return Array.from(new Uint32Array(data.buffer)); }"""


@pytest.fixture
def opened(open_notebook, tmp_path):
    cells = [nbformat.v4.new_code_cell(SOURCE), nbformat.v4.new_markdown_cell("below")]
    path = tmp_path / "viewer.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    notebook = open_notebook(path)
    viewer = notebook.panel.locator(".cityseg-viewer[data-ready='0']")
    viewer.wait_for()
    yield notebook, notebook.panel.locator(".cityseg-viewer")
    assert notebook.errors == []
    assert notebook.outside == []


@pytest.fixture(scope="module")
def frames():
    """The first frames as the label files have them."""
    pairs, scheme = datasets.open_dataset()
    few = pairs[pairs["split"] == "val"].iloc[:5]
    return [preprocessing.read_mask(path, scheme) for path in few["mask"]], scheme


def shown(viewer, scheme, shape):
    """Train ids of the colours on the canvas; what is clear is void."""
    colors = np.array(viewer.evaluate(SHOWN), np.uint32)
    ids = np.full(colors.shape, 255, np.uint8)
    for k, (r, g, b) in enumerate(scheme.colors):
        ids[colors == (255 << 24 | b << 16 | g << 8 | r)] = k
    assert (ids[colors != 0] != 255).all(), "a colour that no class has"
    return ids.reshape(shape)


def place_of(stage, x, y, width, height):
    """Where on the screen the middle of a pixel is."""
    box = stage.bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box[
        "height"
    ] / height


def test_a_session_with_the_viewer(opened, frames):
    (notebook, viewer), (truth, scheme) = opened, frames
    page, stage = notebook.page, viewer.locator(".stage").first
    height, width = truth[0].shape

    # The canvas shows the label file, pixel for pixel.
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), truth[0])

    # Hovering reads the class that the file has at that pixel.
    stage.scroll_into_view_if_needed()
    for x, y in ((10, 200), (256, 128), (400, 60)):
        page.mouse.move(*place_of(stage, x, y, width, height))
        k = truth[0][y, x]
        name = "void" if k == 255 else scheme.names[k]
        expect(viewer.locator(".status")).to_contain_text(f"x {x}, y {y}")
        expect(viewer.locator(".status")).to_contain_text(f"truth: {name}")

    # Opacity, by the slider's keys.
    slider = viewer.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("canvas").nth(1)).to_have_css("opacity", "0.65")
    assert notebook.kernel("round(viewer.opacity, 2)") == "0.65"

    # A class is hidden and shown again, and shown alone.
    road = viewer.get_by_role("checkbox", name="road")
    road.uncheck()
    without = np.where(truth[0] == 0, 255, truth[0])
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), without)
    road.check()
    viewer.get_by_role("button", name="show only car").click()
    alone = np.where(truth[0] == scheme.names.index("car"), truth[0], 255)
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), alone)
    stage.focus()
    page.keyboard.press("a")
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), truth[0])

    # Another image by keyboard, another layer by keyboard.
    page.keyboard.press("n")
    notebook.panel.locator(".cityseg-viewer[data-ready='1']").wait_for()
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), truth[1])
    page.keyboard.press("3")
    expect(viewer.get_by_role("button", name="prediction", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    guess = np.roll(truth[1], 4, axis=1)
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), guess)

    # Zoom by keys: the pixel under the cursor stays where it is.
    page.keyboard.press("+")
    scale = viewer.evaluate("(element) => element.viewer.view.scale")
    assert scale == pytest.approx(1.5)
    page.keyboard.press("0")
    assert viewer.evaluate("(element) => element.viewer.view.scale") == 1

    # The table sorts, and a row chooses its image.
    scores = json.loads(notebook.kernel("[row['mean IoU'] for row in viewer.scores]"))
    viewer.get_by_role("button", name="sort by mean IoU").click()
    expect(viewer.locator("th").nth(1)).to_have_attribute("aria-sort", "ascending")
    rows = [float(text) for text in viewer.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert rows == sorted(round(score, 3) for score in scores)
    worst = int(np.argmin(scores))
    viewer.locator("tbody tr").first.get_by_role("button").click()
    notebook.panel.locator(f".cityseg-viewer[data-ready='{worst}']").wait_for()
    assert notebook.kernel("viewer.index") == str(worst)


def test_letter_keys_do_not_reach_the_notebook(opened):
    notebook, viewer = opened
    before = notebook.cells()
    controls = [viewer.locator(".stage").first, viewer.get_by_role("button", name="fit the image")]
    controls += [viewer.locator("select").first, viewer.locator("input[type=range]")]
    controls += [viewer.get_by_role("checkbox", name="road")]
    for control in controls:
        for key in "xamzdd":
            control.focus()
            notebook.page.keyboard.press(key)
    notebook.kernel("1")  # a round trip, so that whatever a key started has happened
    assert notebook.cells() == before


def test_a_name_is_text_and_runs_nothing(opened):
    notebook, viewer = opened
    dialogs = []
    notebook.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    name = "<img src=x onerror=alert(1)>.png"
    expect(viewer.locator("tbody")).to_contain_text(name)
    expect(viewer.locator("option").first).to_have_text(name)
    assert viewer.locator("img").count() == 0
    assert dialogs == []


def test_wipe_and_side_by_side(opened, frames):
    (notebook, viewer), (truth, scheme) = opened, frames
    height, width = truth[1].shape
    stage = viewer.locator(".stage").first
    stage.focus()
    notebook.page.keyboard.press("n")
    notebook.panel.locator(".cityseg-viewer[data-ready='1']").wait_for()
    viewer.get_by_label("compare").select_option("wipe")
    notebook.page.mouse.move(*place_of(stage, 200, 100, width, height))
    guess = np.roll(truth[1], 4, axis=1)
    both = np.concatenate([truth[1][:, :200], guess[:, 200:]], axis=1)
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), both)
    viewer.get_by_label("compare").select_option("side by side")
    expect(viewer.locator(".stage").nth(1)).to_be_visible()
    np.testing.assert_array_equal(shown(viewer, scheme, (height, width)), truth[1])


def test_the_other_palette(opened, frames):
    (_, viewer), (truth, scheme) = opened, frames
    viewer.get_by_label("colours").select_option("colour-blind safe")
    safe = scheme.color_blind_safe()
    np.testing.assert_array_equal(shown(viewer, safe, truth[0].shape), truth[0])


# The frames in the order in which they are seen.
WATCH = """(element) => {
    window.seen = [element.dataset.ready];
    new MutationObserver(() => {
        if (window.seen.at(-1) !== element.dataset.ready) window.seen.push(element.dataset.ready);
    }).observe(element, { attributeFilter: ["data-ready"] }); }"""


def test_a_film_plays_frame_after_frame_and_stops(open_notebook, tmp_path):
    source = SOURCE.replace("names, sure)", "names, sure, rate=20)")
    path = tmp_path / "film.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    notebook = open_notebook(path)
    viewer = notebook.panel.locator(".cityseg-viewer[data-ready='0']")
    viewer.wait_for()
    viewer = notebook.panel.locator(".cityseg-viewer")
    assert viewer.locator("table").count() == 0
    viewer.evaluate(WATCH)
    viewer.get_by_role("button", name="play the film").click()
    notebook.page.wait_for_function("window.seen.length > 6")
    viewer.locator(".stage").first.focus()
    notebook.page.keyboard.press("Space")
    expect(viewer.get_by_role("button", name="play the film")).to_have_text("play")
    seen = [int(k) for k in notebook.page.evaluate("window.seen")]
    assert seen == [k % 5 for k in range(len(seen))]
    # Stopped, it stays where the slider puts it.
    viewer.get_by_label("frame", exact=False).fill("2")
    notebook.panel.locator(".cityseg-viewer[data-ready='2']").wait_for()
    assert notebook.kernel("viewer.index") == "2"
    assert notebook.errors == []


MANY = """
from cityseg_utils import widgets
from cityseg_utils.labels import ClassScheme

names, ids = tuple(map(str, range(255))), tuple(range(255))
scheme = ClassScheme("many", names, tuple((k, 255 - k, 7) for k in ids), ids, (255,))
widgets.view(["picture.png"], ["mask.png"], scheme=scheme)
"""


def test_the_canvas_shows_all_256_values_of_a_file(open_notebook, lab, tmp_path):
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(256, dtype=np.uint8), 8))
    mask = values.reshape(32, 64)
    _, _, folder = lab
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(folder / "picture.png")
    path = tmp_path / "many.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(MANY)]), path)
    viewer = open_notebook(path).panel.locator(".cityseg-viewer[data-ready='0']")
    colors = np.array(viewer.evaluate(SHOWN), np.uint32).reshape(32, 64)
    red, green, blue, alpha = (colors >> shift & 255 for shift in (0, 8, 16, 24))
    painted = mask != 255
    np.testing.assert_array_equal(alpha, np.where(painted, 255, 0))
    np.testing.assert_array_equal(red[painted], mask[painted])
    np.testing.assert_array_equal(green[painted], 255 - mask[painted])
    assert (blue[painted] == 7).all()
