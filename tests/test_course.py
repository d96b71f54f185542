"""The command line behind the Makefile."""

import json
import shutil
import subprocess
import sys

import pytest

from cityseg_utils import course


def notebook(path, source, tags=("parameters",)):
    cell = {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}}
    cell |= {"execution_count": None, "outputs": [], "id": "a"}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with two lessons."""
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(course, "BUILD", tmp_path / "build")
    notebook(tmp_path / "notebooks" / "00_a.ipynb", "DATA = None\nEPOCHS = 2")
    notebook(tmp_path / "notebooks" / "01_b.ipynb", "DATA = None")
    return tmp_path


def test_lessons_are_chosen_by_number(checkout):
    assert [path.name for path in course.lessons([])] == ["00_a.ipynb", "01_b.ipynb"]
    assert [path.name for path in course.lessons(["01"])] == ["01_b.ipynb"]
    with pytest.raises(SystemExit, match="there is no lesson 07"):
        course.lessons(["07"])


def test_parameters_come_from_the_tagged_cell(checkout):
    assert course.parameters(checkout / "notebooks" / "00_a.ipynb") == {"DATA", "EPOCHS"}
    plain = notebook(checkout / "plain.ipynb", "DATA = None", tags=())
    assert course.parameters(plain) == set()


def test_an_unknown_parameter_is_refused_before_anything_runs(checkout):
    with pytest.raises(SystemExit, match="EPOCH'"):
        course.run([], ["EPOCH=3"])
    assert not list((checkout / "build").glob("*.ipynb"))


def test_run_passes_parameters_on_and_leaves_html(checkout, capfd):
    lesson = checkout / "notebooks" / "00_a.ipynb"
    content = json.loads(lesson.read_text())
    extra = {**content["cells"][0], "source": "print(EPOCHS * 7)", "id": "b", "metadata": {}}
    content["cells"].append(extra)
    lesson.write_text(json.dumps(content))
    assert course.run(["00"], ["EPOCHS=3"]) == 0
    assert "21" in (checkout / "build" / "00_a.html").read_text()
    assert "ok" in capfd.readouterr().out.splitlines()[-1]


def test_a_lesson_that_fails_is_told(checkout, capfd):
    notebook(checkout / "notebooks" / "02_c.ipynb", "raise ValueError('broken')", tags=())
    assert course.run(["02"], []) == 1
    assert "FAILED" in capfd.readouterr().out


def test_the_address_is_written_everywhere(checkout):
    old, new = "https://github.com/OWNER/cityseg-course", "https://github.com/me/streets"
    (checkout / "pyproject.toml").write_text(f'Repository = "{old}"\n')
    (checkout / "README.md").write_text(f"[x]({old})")
    badge = f"https://colab.research.google.com/github/OWNER/cityseg-course/blob/main\nR = '{old}'"
    lesson = notebook(checkout / "notebooks" / "00_a.ipynb", badge)
    assert course.address(new) == 0
    texts = [
        lesson.read_text(),
        *((checkout / x).read_text() for x in ("README.md", "pyproject.toml")),
    ]
    assert not any("OWNER" in text for text in texts)
    assert "colab.research.google.com/github/me/streets/blob" in texts[0]
    with pytest.raises(SystemExit, match="no address"):
        course.address("me/streets")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_names_what_a_bare_machine_lacks(tmp_path):
    shutil.copy(course.ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python = tmp_path / "python-without-venv"
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "$(echo "$2" | sed s/ensurepip/nothing/)"\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["make", f"PYTHON={python}", "lab"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout
