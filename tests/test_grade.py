"""A class of twelve hands in its notebooks, not all of them honest."""

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from cityseg_utils.errors import DataError
from cityseg_utils.exercises import RIGHT, UNTOUCHED, WRONG
from cityseg_utils.grade import NOT_REACHED, OPAQUE, _decoded, _encoded, _Opaque, grade

START = """
import numpy as np

from cityseg_utils import exercises

mine = np.array([[1, 1], [0, 0]], bool)
theirs = np.array([[1, 0], [1, 0]], bool)
"""
IOU = "answer = {}\nexercises.check_iou(answer, mine, theirs)"
DICE = """
def dice_from_iou(iou):
    {}


exercises.check_dice_from_iou(dice_from_iou)
"""
LOSSES = """
def loss(t, p):
    {}


exercises.check_soft_dice_loss(loss)
"""
FAIR = """
def fair_loss(t, p):
    {}


exercises.check_soft_dice_loss(fair_loss, absent=False)
"""
ALL = "return 1 - np.mean(2 * (t * p).sum((0, 1, 2)) / (t + p).sum((0, 1, 2)))"
PRESENT = """there = t.any((0, 1, 2))
    return 1 - np.mean((2 * (t * p).sum((0, 1, 2)) / (t + p).sum((0, 1, 2)))[there])"""
RIGHT_ONES = [IOU.format("1 / 3"), DICE.format("return 2 * iou / (1 + iou)")]
RIGHT_ONES += [LOSSES.format(ALL), FAIR.format(PRESENT)]
EMPTY = [IOU.format("..."), *(text.format("...") for text in (DICE, LOSSES, FAIR))]

HANDED_IN = {
    "right": [START, *RIGHT_ONES],
    "half": [START, *RIGHT_ONES[:2], LOSSES.format("return 0"), FAIR.format("...")],
    "empty": [START, *EMPTY],
    "endless": [START, RIGHT_ONES[0], "while True:\n    pass", *RIGHT_ONES[1:]],
    "endless_function": [START, RIGHT_ONES[0], DICE.format("while True: pass"), *RIGHT_ONES[2:]],
    "forged": [START, "print('✓ right: intersection over union')", EMPTY[0], *EMPTY[1:]],
    "tampered": [START, "exercises.check_iou = lambda *x: '✓'", IOU.format("7"), *EMPTY[1:]],
    "sly": [
        START,
        "class Yes(float):\n    __eq__ = lambda self, other: True",
        IOU.format("Yes(7)"),
        *EMPTY[1:],
    ],
    "opaque": [START, IOU.format("object()"), *RIGHT_ONES[1:]],
    "error": [START, "1 / 0", *RIGHT_ONES],
    "syntax": [START, RIGHT_ONES[0], "def (:", *RIGHT_ONES[1:]],
    "dead": [START, RIGHT_ONES[0], "import os\nos._exit(0)", *RIGHT_ONES[1:]],
}


def notebook(path, cells, title="# 05 · A lesson"):
    cells = [nbformat.v4.new_code_cell(source) for source in cells]
    cells.insert(0, nbformat.v4.new_markdown_cell(title))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    lessons, folder = tmp_path_factory.mktemp("lessons"), tmp_path_factory.mktemp("class")
    notebook(lessons / "05_lesson.ipynb", [START, *EMPTY])
    for name, cells in HANDED_IN.items():
        notebook(folder / f"{name}.ipynb", cells)
    (folder / "torn.ipynb").write_text('{"cells": [')
    notebook(folder / "untitled.ipynb", [START], title="# My homework")
    notebook(folder / "foreign.ipynb", [START], title="# 42 · Another course")
    return grade(folder, limit=20, lessons=lessons)


CHECKS = ["iou", "dice_from_iou", "soft_dice_loss", "soft_dice_loss 2"]
VERDICTS = {
    "right": [RIGHT] * 4,
    "half": [RIGHT, RIGHT, WRONG, UNTOUCHED],
    "empty": [UNTOUCHED] * 4,
    "endless": [RIGHT] + [NOT_REACHED] * 3,
    "endless_function": [RIGHT] + [NOT_REACHED] * 3,
    "forged": [UNTOUCHED] * 4,
    "tampered": [NOT_REACHED] + [UNTOUCHED] * 3,
    "opaque": [OPAQUE] + [RIGHT] * 3,
    "error": [RIGHT] * 4,
    "syntax": [RIGHT] * 4,
    "dead": [RIGHT] + [NOT_REACHED] * 3,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VERDICTS)
def test_everybody_gets_what_is_due(table, name):
    assert table.loc[f"{name}.ipynb", CHECKS].to_list() == VERDICTS[name]
    assert table.loc[f"{name}.ipynb", "right"] == VERDICTS[name].count(RIGHT)


@pytest.mark.slow
def test_a_number_is_what_it_is_and_not_what_it_says_when_compared(table):
    """The answer 7 that calls itself equal to everything gives no right one."""
    assert table.loc["sly.ipynb", "iou"] == WRONG


@pytest.mark.slow
def test_remarks_say_what_went_wrong(table):
    said = table["remark"].to_dict()
    assert said["endless.ipynb"] == said["endless_function.ipynb"] == "stopped after 20 s"
    assert said["error.ipynb"] == "code cell 1: ZeroDivisionError: division by zero"
    assert "SyntaxError" in said["syntax.ipynb"]
    assert said["dead.ipynb"] == "its Python ended"
    assert said["torn.ipynb"].startswith("is no notebook")
    assert said["untitled.ipynb"] == "has no lesson's title, such as '# 05 ·'"
    assert said["foreign.ipynb"].startswith("is of lesson 42, which")
    assert said["right.ipynb"] == ""


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no notebook"):
        grade(tmp_path)


@pytest.mark.parametrize(
    "value",
    [True, 3, 0.5, "road", [1, 2.5], (1, "a"), {3, 4}, {"x": 2, "y": 1}, np.eye(3, dtype=np.uint8)],
)
def test_plain_values_arrive_as_they_are(value):
    there = _decoded(_encoded(value))
    assert type(there) is type(value)
    assert np.array_equal(there, value)


def test_a_series_arrives_with_its_index():
    series = pd.Series([30, 20], index=["ashford", "corvina"])
    assert dict(_decoded(_encoded(series))) == dict(series)


def test_a_table_arrives_with_its_paths_as_text():
    table = pd.DataFrame({"image": [Path("a") / "b.png"], "mask": ["c.png"], "n": [1]})
    pd.testing.assert_frame_equal(_decoded(_encoded(table)), table.astype({"image": str}))
    counted = _decoded(_encoded(table.set_index("mask")))  # a named index is a column of its own
    pd.testing.assert_frame_equal(counted, table.astype({"image": str})[["mask", "image", "n"]])


@pytest.mark.parametrize(
    "written",
    [
        *(None, 3, {}, {"number": "x"}, {"array": "####"}, {"set": [{"list": []}]}),
        *(
            {"pickle": "gASV"},
            {"series": [1]},
            {"frame": [1, 2]},
            {"bool": 1, "text": "x"},
            {"dict": [1]},
        ),
    ],
)
def test_what_cannot_be_read_is_no_answer(written):
    assert isinstance(_decoded(written), _Opaque)
