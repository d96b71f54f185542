"""Lesson 14 in JupyterLab: a person's answers, from the click to the network that learned them."""

import ast

import nbformat
import numpy as np
import pytest
from annotating import labels_of, on_screen, saved
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright.sync_api import expect

from cityseg_utils import course, datasets
from cityseg_utils.annotations import UNLABELLED, AnswerLog
from cityseg_utils.labels import VOID

FRAMES, QUESTIONS = 10, 10


@pytest.fixture
def opened(open_notebook, tmp_path):
    lesson = load_notebook_node(str(course.NOTEBOOKS / "14_active_learning.ipynb"))
    home = tmp_path / "my answers"
    mine = parameterize_notebook(lesson, {"STEPS": 2, "FOLDER": str(home), "PERSON": True})
    nbformat.write(mine, tmp_path / "14_active_learning.ipynb")
    notebook = open_notebook(tmp_path / "14_active_learning.ipynb")
    annotator = notebook.panel.locator(".cityseg-viewer").last
    annotator.scroll_into_view_if_needed()
    expect(annotator).to_have_attribute("data-ready", "0")
    yield notebook, annotator, home / "mine" / "answers.jsonl"
    assert notebook.errors == [], notebook.errors
    assert notebook.outside == []


def weights_of(notebook, name: str) -> float:
    weights = f"after[{name!r}].get_weights()"
    return float(notebook.kernel(f"float(sum(abs(x).sum() for x in {weights}))"))


def answer_all(page, annotator, names: list[str]) -> list[tuple]:
    """Give a hundred answers, each other frame by keyboard or by mouse; return what they are."""
    wanted = []
    for frame in range(FRAMES):
        expect(annotator).to_have_attribute("data-ready", str(frame))
        if frame % 2 == 0:
            annotator.locator(".stage").focus()
        for number in range(QUESTIONS):
            question = annotator.evaluate("(element) => element.viewer.current")
            first, second = question["candidates"][:2]
            key, label = (("e", first), ("2", second), ("q", VOID))[number % 3]
            if frame % 2 == 0:
                page.keyboard.press(key)
            elif label == VOID:
                annotator.get_by_role("button", name="answer unsure").click()
            else:
                annotator.locator("p.tabs button").nth(int(label == second)).click()
            wanted.append((names[frame], question["pixels"], label))
    saved(annotator)
    return wanted


def test_a_hundred_answers_in_the_lesson_and_a_network_that_learns_them(opened):
    notebook, annotator, path = opened
    page, cells = notebook.page, notebook.cells()
    _, scheme = datasets.open_dataset()
    names = ast.literal_eval(notebook.kernel("list(annotator.names)"))
    trained = weights_of(notebook, "with your answers"), weights_of(notebook, "before")

    wanted = answer_all(page, annotator, names)
    answers = AnswerLog(path, scheme).answers
    assert [(x.frame, [list(run) for run in x.pixels], x.label) for x in answers] == wanted
    expect(annotator.locator(".status")).to_contain_text("100 of 100 questions, 100 clicks")
    expect(annotator).to_have_attribute("data-ready", str(FRAMES - 1))
    np.testing.assert_array_equal(labels_of(path, scheme, names[-1]), on_screen(annotator))

    # The cells below it, run again: the network has learned from them, and no other has changed.
    notebook.run_from("if not PERSON")
    assert weights_of(notebook, "with your answers") != trained[0]
    assert weights_of(notebook, "before") == trained[1]

    # A stroke of the brush over the last frame; all of it taken back to the start, and given again.
    stage = annotator.locator(".stage")
    stage.scroll_into_view_if_needed()
    annotator.get_by_role("button", name="label with road").click()
    annotator.get_by_role("button", name="brush").click()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    saved(annotator)
    painted = labels_of(path, scheme, names[-1])
    np.testing.assert_array_equal(painted, on_screen(annotator))
    assert (painted != UNLABELLED).sum() > 500
    held = AnswerLog(path, scheme).answers
    stage.focus()
    for key in "zx":
        for _ in range(len(held)):
            page.keyboard.press(key)
        saved(annotator)
        page.wait_for_function(
            "([element, n]) => element.viewer.progress.clicks === n",
            arg=[annotator.element_handle(), 0 if key == "z" else len(held)],
        )
        assert AnswerLog(path, scheme).answers == (() if key == "z" else held)

    # A page loaded anew, then a kernel started anew: both go on with what is stored.
    notebook.save()
    notebook.open()
    expect(annotator.locator(".status")).to_contain_text("100 of 100 questions, 101 clicks")
    notebook.restart()
    notebook.run()
    expect(annotator.locator(".status")).to_contain_text("100 of 100 questions, 101 clicks")
    np.testing.assert_array_equal(
        labels_of(path, scheme, names[int(annotator.get_attribute("data-ready"))]),
        on_screen(annotator),
    )

    # A window whose picture is stale is refused, and no letter has reached the notebook.
    notebook.kernel("mine.add(annotations.Answer(annotator.names[0], ((7, 3),), 2))")
    annotator.get_by_role("button", name="take the guess wherever nothing was said").click()
    expect(annotator.locator(".fault")).to_contain_text("another window has answered")
    assert len(AnswerLog(path, scheme).answers) == len(held) + 1
    assert notebook.cells() == cells
