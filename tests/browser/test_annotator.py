"""The annotator in JupyterLab, as someone uses it: what is stored is what was clicked."""

import nbformat
import numpy as np
import pytest
from annotating import SIZE, labels_of, on_screen, saved
from playwright.sync_api import expect

from cityseg_utils import datasets
from cityseg_utils.annotations import UNLABELLED, AnswerLog, frame_name
from cityseg_utils.labels import VOID

SOURCE = """
from pathlib import Path
import numpy as np
from cityseg_utils import annotations, datasets, preprocessing, widgets

pairs, scheme = datasets.open_dataset()
few = pairs[pairs["split"] == "val"].iloc[:3]
truth = [preprocessing.read_mask(path, scheme) for path in few["mask"]]

def scores(k):  # the truth, shifted, three quarters sure
    ids = np.roll(np.where(truth[k] == 255, 0, truth[k]), 3, axis=1)[::2, ::2]
    return (0.75 * np.eye(19, dtype=np.float32)[ids] + 0.25 / 19).astype(np.float32)

rng = np.random.default_rng(0)
questions = [[((int(at), 1),) for at in rng.choice(truth[k].size, 34, False)] for k in range(3)]
rows, columns = np.indices(truth[0].shape) // 32
segments = [rows * 100 + columns] * 3
log = annotations.AnswerLog(Path("LOG"), scheme)
annotator = widgets.annotate(few, log, scores, questions, segments)
annotator
"""


@pytest.fixture
def opened(open_notebook, tmp_path):
    path = tmp_path / "annotator.ipynb"
    source = SOURCE.replace("LOG", str(tmp_path / "answers.jsonl"))
    cells = [nbformat.v4.new_code_cell(source), nbformat.v4.new_markdown_cell("below")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    notebook = open_notebook(path)
    notebook.panel.locator(".cityseg-viewer[data-ready='0']").wait_for()
    yield notebook, notebook.panel.locator(".cityseg-viewer"), tmp_path / "answers.jsonl"
    assert notebook.errors == []
    assert notebook.outside == []


@pytest.fixture(scope="module")
def frames():
    pairs, scheme = datasets.open_dataset()
    few = pairs[pairs["split"] == "val"].iloc[:3]
    return [frame_name(row) for _, row in few.iterrows()], scheme


def test_a_hundred_answers_by_keyboard_alone(opened, frames):
    (notebook, annotator, path), (names, scheme) = opened, frames
    page, cells = notebook.page, notebook.cells()
    annotator.locator(".stage").focus()
    wanted = []
    for number in range(102):
        frame, k, question = annotator.evaluate(
            """(element) => { const { frame, question } = element.viewer;
               return [frame.index, question, frame.questions[question]]; }"""
        )
        key = ("1", "e", "2", "q", "d")[number % 5]
        label = [*[question["candidates"][n] for n in (0, 0, 1)], VOID, 0][number % 5]
        page.keyboard.press(key)
        wanted.append((names[frame], question["pixels"], label))
        if k == 33 and frame < 2:
            notebook.panel.locator(f".cityseg-viewer[data-ready='{frame + 1}']").wait_for()
    saved(annotator)
    answers = AnswerLog(path, scheme).answers
    assert [(x.frame, [list(run) for run in x.pixels], x.label) for x in answers] == wanted
    assert all(answer.seconds >= 0 and answer.clicks == 1 for answer in answers)
    expect(annotator.locator(".status")).to_contain_text("102 of 102 questions, 102 clicks")

    # Taken back to the start, and given again to the end; the chosen class stays.
    page.keyboard.press("t")
    for _ in range(102):
        page.keyboard.press("z")
    page.wait_for_function(
        "() => document.querySelector('.cityseg-viewer').viewer.progress.clicks === 0"
    )
    assert AnswerLog(path, scheme).answers == ()
    for _ in range(102):
        page.keyboard.press("x")
    page.wait_for_function(
        "() => document.querySelector('.cityseg-viewer').viewer.progress.clicks === 102"
    )
    assert AnswerLog(path, scheme).answers == answers
    assert annotator.evaluate("(element) => element.viewer.chosen") == 1
    assert notebook.cells() == cells  # letters never reach the notebook


def test_answers_by_mouse_and_what_is_skipped_comes_again(opened, frames):
    (_, annotator, path), (_, scheme) = opened, frames
    annotator.get_by_role("button", name="label with bus").click()
    skipped = annotator.evaluate("(element) => element.viewer.current.pixels[0][0]")
    annotator.get_by_role("button", name="skip this question").click()
    wanted = []
    for n in (0, 2):
        wanted.append(annotator.evaluate(f"(x) => x.viewer.current.candidates[{n}]"))
        annotator.locator("p.tabs button").nth(n).click()
    annotator.get_by_role("button", name="answer bus").last.click()
    annotator.get_by_role("button", name="answer unsure").click()
    saved(annotator)
    answers = AnswerLog(path, scheme).answers
    assert [x.label for x in answers] == [*wanted, scheme.names.index("bus"), VOID]
    assert skipped not in {answer.pixels[0][0] for answer in answers}
    annotator.get_by_role("button", name="next frame").click()
    expect(annotator).to_have_attribute("data-ready", "1")
    annotator.get_by_role("button", name="previous frame").click()
    expect(annotator).to_have_attribute("data-ready", "0")
    assert annotator.evaluate("(element) => element.viewer.current.pixels[0][0]") == skipped


def test_mouse_brush_eraser_superpixel_and_fill_are_stored_pixel_for_pixel(opened, frames):
    (notebook, annotator, path), (names, scheme) = opened, frames
    page, stage = notebook.page, annotator.locator(".stage")
    stage.scroll_into_view_if_needed()

    def place(x, y):
        box = stage.bounding_box()
        return box["x"] + (x + 0.5) * box["width"] / 512, box["y"] + (y + 0.5) * box["height"] / 256

    def drag(*points):
        page.mouse.move(*place(*points[0]))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*place(*point), steps=4)
        page.mouse.up()
        saved(annotator)
        np.testing.assert_array_equal(labels_of(path, scheme, names[0]), on_screen(annotator))

    annotator.get_by_role("button", name="label with car").click()
    annotator.get_by_role("button", name="brush").click()
    drag((40, 40), (120, 60), (160, 120))
    car = labels_of(path, scheme, names[0]) == scheme.names.index("car")
    assert car[40, 40] and car[60, 120] and car[120, 160]
    assert not car[200, 200]
    rows, columns = np.indices(SIZE)
    around = [(rows - y) ** 2 + (columns - x) ** 2 <= 36 for x, y in ((40, 40), (160, 120))]
    assert all(car[where].all() for where in around)  # as round and as large as it is shown

    annotator.get_by_role("checkbox", name="lock car").check()
    annotator.get_by_role("button", name="label with sky").click()
    drag((120, 20), (120, 100))  # across it: what is locked stays
    labels = labels_of(path, scheme, names[0])
    assert ((labels == scheme.names.index("car")) == car).all()
    assert (labels == scheme.names.index("sky")).any()
    annotator.get_by_role("checkbox", name="lock car").uncheck()
    annotator.get_by_role("button", name="eraser").click()
    drag((40, 40), (40, 44))
    assert labels_of(path, scheme, names[0])[42, 40] == UNLABELLED

    annotator.get_by_role("button", name="superpixel").click()
    page.mouse.click(*place(300, 100))
    saved(annotator)
    sky = labels_of(path, scheme, names[0]) == scheme.names.index("sky")
    assert sky[96:128, 288:320].all()
    assert not sky[95:129, 287:321][0].any()

    annotator.get_by_role("button", name="label with terrain").click()
    annotator.get_by_role("button", name="fill").click()
    page.mouse.click(*place(300, 100))
    saved(annotator)
    assert (
        labels_of(path, scheme, names[0])[96:128, 288:320] == scheme.names.index("terrain")
    ).all()
    np.testing.assert_array_equal(labels_of(path, scheme, names[0]), on_screen(annotator))

    # By name, and at the cursor by keyboard.
    stage.focus()
    page.keyboard.press("c")
    page.keyboard.type("traffic s")
    page.keyboard.press("Enter")
    assert annotator.evaluate("(element) => element.viewer.chosen") == 7
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    saved(annotator)
    assert (labels_of(path, scheme, names[0]) == 7).sum() > 100

    # The rest as guessed: nothing is left unsaid, and one step takes one class back.
    annotator.get_by_role("button", name="take the guess wherever nothing was said").click()
    saved(annotator)
    np.testing.assert_array_equal(labels_of(path, scheme, names[0]), on_screen(annotator))
    assert (labels_of(path, scheme, names[0]) != UNLABELLED).all()


def test_a_reload_shows_what_is_stored_and_a_stale_window_is_refused(opened, frames):
    (notebook, annotator, path), (names, scheme) = opened, frames
    page = notebook.page
    annotator.locator(".stage").focus()
    for _ in range(5):
        page.keyboard.press("e")
    saved(annotator)
    held = AnswerLog(path, scheme).answers
    # As another window of this kernel would: the picture here does not know of it.
    notebook.kernel("log.add(annotations.Answer(annotator.names[0], ((7, 3),), 2))")
    page.keyboard.press("e")
    expect(annotator.locator(".fault")).to_contain_text("another window has answered")
    assert len(AnswerLog(path, scheme).answers) == len(held) + 1
    annotator.get_by_role("button", name="look at the frame anew").click()
    expect(annotator).to_have_attribute("data-looks", "2")
    np.testing.assert_array_equal(labels_of(path, scheme, names[0]), on_screen(annotator))
    annotator.locator(".stage").focus()
    page.keyboard.press("e")
    saved(annotator)
    assert len(AnswerLog(path, scheme).answers) == len(held) + 2


def test_a_reloaded_page_and_a_restarted_kernel_go_on_where_they_were(opened, frames):
    (notebook, annotator, path), (names, scheme) = opened, frames
    page = notebook.page

    def answer(times):
        annotator.locator(".stage").focus()
        for _ in range(times):
            page.keyboard.press("e")
        saved(annotator)

    answer(5)
    notebook.save()
    notebook.open()  # the kernel lives on, and so does the widget
    expect(annotator).to_have_attribute("data-ready", "0")
    expect(annotator.locator(".status")).to_contain_text("5 of 102 questions, 5 clicks")
    answer(30)  # the first frame has 34 questions
    expect(annotator).to_have_attribute("data-ready", "1")
    notebook.save()
    notebook.open()
    expect(annotator).to_have_attribute("data-ready", "1")
    np.testing.assert_array_equal(labels_of(path, scheme, names[1]), on_screen(annotator))

    notebook.restart()
    notebook.run()
    expect(annotator).to_have_attribute("data-ready", "1")
    expect(annotator.locator(".status")).to_contain_text("35 of 102 questions, 35 clicks")
    np.testing.assert_array_equal(labels_of(path, scheme, names[1]), on_screen(annotator))
    answer(1)
    assert len(AnswerLog(path, scheme).answers) == 36


def test_where_the_disk_is_full_the_answer_stays_on_the_screen_until_it_can_be_saved(
    opened, frames
):
    (notebook, annotator, path), (names, scheme) = opened, frames
    page = notebook.page
    annotator.locator(".stage").focus()
    page.keyboard.press("e")
    saved(annotator)
    (path.parent / "full").symlink_to("/dev/full")
    held = notebook.kernel("log._read")
    notebook.kernel(f"log.__dict__.update(path=Path({str(path.parent / 'full')!r}), _read=0)")
    page.keyboard.press("e")
    expect(annotator.locator(".fault")).to_contain_text("not saved")
    assert (on_screen(annotator) != UNLABELLED).sum() == 2
    assert len(AnswerLog(path, scheme).answers) == 1
    notebook.kernel(f"log.__dict__.update(path=Path({str(path)!r}), _read={held})")
    annotator.get_by_role("button", name="try to save again").click()
    saved(annotator)
    np.testing.assert_array_equal(labels_of(path, scheme, names[0]), on_screen(annotator))
