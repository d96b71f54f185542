"""What a reader may rely on in every notebook, and that the guard of strict comparison works."""

import re
import statistics
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from cityseg_utils.course import why_unchecked

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9]*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    """Return all markdown without fenced blocks, whose # is no heading."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


@pytest.fixture(params=LESSONS + SOLUTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


def test_lessons_and_solutions_belong_together():
    assert [path.name for path in LESSONS] == [path.name for path in SOLUTIONS]
    for lesson, solution in zip(LESSONS, SOLUTIONS, strict=True):
        checks = [
            set(
                re.findall(
                    r"exercises\.(check_\w+)", "\n".join(c.source for c in code_cells(read(p)))
                )
            )
            for p in (lesson, solution)
        ]
        assert checks[0] == checks[1]
        assert len(checks[0]) >= 2


def test_the_first_code_cell_is_the_same_everywhere():
    assert len({code_cells(read(path))[0].source for path in LESSONS + SOLUTIONS}) == 1


def test_stored_executed_in_order_and_small(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < 1e6
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


def test_cells_are_small(path):
    lines = [len([x for x in c.source.splitlines() if x.strip()]) for c in code_cells(read(path))]
    assert max(lines) <= 20
    assert statistics.median(lines) <= 6


def test_outputs_name_no_machine(path):
    shown = str([cell.outputs for cell in code_cells(read(path))])
    assert not re.search(r"/(root|home|tmp|work|Users|usr)/|site-packages", shown)


def test_every_picture_has_a_description(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            kinds = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            assert all(output.metadata[kind]["alt"] for kind in kinds)
    assert not re.search(r"!\[\]\(", prose(read(path)))


def test_one_title_and_headings_in_order(path):
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(read(path)), re.M)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_local_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", prose(read(path))):
        assert (path.parent / target).exists(), target


def test_no_widget_state_and_one_parameters_cell(path):
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    tagged = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) <= 1
    if path in LESSONS:
        assert tagged[0].source.startswith("DATA = None")


def cell(source="1", count=1, text="1", tags=()):
    made = nbformat.v4.new_code_cell(source, execution_count=count, metadata={"tags": list(tags)})
    if text:
        made.outputs = [nbformat.v4.new_output("stream", text=text)]
    return made


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([cell(), cell(text=None)], None),
        ([cell(), cell(count=None)], "never run"),
        ([cell(), cell(tags=["nbval-ignore-output"])], "1 of 2 cells are not compared"),
        ([cell(), cell(text=None), cell(text=None), cell(text=None)], "1 of 4 cells have text"),
    ],
)
def test_the_guard_refuses_notebooks_that_compare_little(cells, reason):
    found = why_unchecked(nbformat.v4.new_notebook(cells=cells))
    assert found is None if reason is None else reason in found
