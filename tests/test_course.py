"""The command line behind the Makefile."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import nbformat
import pytest

from cityseg_utils import course
from cityseg_utils.errors import StorageError


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
    with pytest.raises(SystemExit, match="write NAME=VALUE"):
        course.run([], ["EPOCHS"])
    assert not list((checkout / "build").glob("*.ipynb"))


@pytest.mark.slow
def test_run_passes_parameters_on_and_leaves_html(checkout, capfd):
    lesson = checkout / "notebooks" / "00_a.ipynb"
    content = json.loads(lesson.read_text())
    extra = {**content["cells"][0], "source": "print(EPOCHS * 7)", "id": "b", "metadata": {}}
    content["cells"].append(extra)
    lesson.write_text(json.dumps(content))
    assert course.run(["00"], ["EPOCHS=3"]) == 0
    assert "21" in (checkout / "build" / "00_a.html").read_text()
    assert "ok" in capfd.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_a_lesson_that_fails_is_told(checkout, capfd):
    notebook(checkout / "notebooks" / "02_c.ipynb", "raise ValueError('broken')", tags=())
    assert course.run(["02"], []) == 1
    assert "FAILED" in capfd.readouterr().out


OLD = "https://github.com/OWNER/cityseg-course"
IN_COLAB = "https://colab.research.google.com/github/OWNER/cityseg-course/blob/main/notebooks"


@pytest.fixture
def addressed(checkout):
    """The small checkout with its address in its files, and what reads them all."""
    (checkout / "pyproject.toml").write_text(f'Repository = "{OLD}"\n')
    badge = "![x](https://colab.research.google.com/assets/badge.svg)"
    (checkout / "README.md").write_text(f"[{badge}]({IN_COLAB}/00_start_here.ipynb) [x]({OLD})")
    (checkout / "CITATION.cff").write_text(f"repository-code: {OLD}")
    (checkout / "docs").mkdir()
    for page in ("index", "windows", "mac_linux", "engineers"):
        (checkout / "docs" / f"{page}.md").write_text(f"[x]({OLD})")
    for name in ("00_a.ipynb", "01_b.ipynb"):
        pip = "git+{REPOSITORY}@main"
        links = "[g](glossary.md#void) [next](01_b.ipynb) x[k](y) [t](../docs/index.md)"
        text = f"({IN_COLAB}/{name})\nR = '{OLD}'\n{pip}\n{links}"
        notebook(checkout / "notebooks" / name, text)
    (checkout / "notebooks" / "glossary.md").write_text("words")
    return lambda: {path.name: path.read_text() for path in checkout.rglob("*.*")}


def test_the_address_is_written_everywhere(addressed):
    assert course.address("https://github.com/me/streets.git") == 0
    assert "OWNER" not in str(addressed())
    lesson = addressed()["01_b.ipynb"]
    assert "(https://colab.research.google.com/github/me/streets/blob/main/notebooks/01" in lesson
    assert "R = 'https://github.com/me/streets'" in lesson
    assert "google.com/assets/badge.svg)" in addressed()["README.md"]
    assert "github/me/streets/blob/main/notebooks/00_start_here.ipynb)" in addressed()["README.md"]
    for wrong in ("me/streets", "https://github.com/me", "http://github.com/me/streets"):
        with pytest.raises(SystemExit, match="no address"):
            course.address(wrong)


def test_all_that_names_the_repository_gets_its_address():
    """Else a reader of that page would be led to an address that is nobody's."""
    listed = subprocess.run(["git", "ls-files"], cwd=course.ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no checkout")
    pages = [course.ROOT / name for name in listed.stdout.splitlines()]
    readable = {".md", ".py", ".toml", ".cff", ".json", ".yml", ".ipynb"}
    names = {
        path.relative_to(course.ROOT).as_posix()
        for path in pages
        if path.suffix in readable and path.exists() and "/OWNER/" in path.read_text("utf-8")
    }
    lessons = {x.relative_to(course.ROOT).as_posix() for x in course.lessons([], solutions=True)}
    told = {*course._ADDRESSED, "cityseg_utils/course.py", "tests/test_course.py"}
    assert names - lessons <= told


def test_the_site_gets_an_address_and_the_page_is_published(addressed, checkout):
    text = (
        "*Not yet published: in links, OWNER is nobody. Version 0.1.* (https://OWNER.github.io/a/)"
    )
    (checkout / "README.md").write_text(text)
    course.address("https://github.com/me/streets")
    assert addressed()["README.md"] == "*Version 0.1.* (https://me.github.io/streets/)"


def test_a_tag_is_written_to_links_and_first_cells_and_can_be_another(addressed):
    before = addressed()
    for tag in ("v1.0", "release/2"):
        course.address(OLD, tag)
        lesson = addressed()["01_b.ipynb"]
        assert f"cityseg-course/blob/{tag}/notebooks/01_b.ipynb" in lesson
        assert f"git+{{REPOSITORY}}@{tag}" in lesson
    with pytest.raises(SystemExit, match="no tag"):
        course.address(OLD, 'v1"; rm')
    course.address(OLD)
    assert addressed() == before


def test_what_colab_cannot_open_beside_a_lesson_gets_a_whole_address(addressed, checkout):
    before = addressed()
    for tag in ("main", "release/2"):
        course.address("https://github.com/me/streets", tag)
        lesson = addressed()["01_b.ipynb"]
        blob = f"https://github.com/me/streets/blob/{tag}"
        assert f"[g]({blob}/notebooks/glossary.md#void) [next](01_b.ipynb) x[k](y)" in lesson
        assert f"[t]({blob}/docs/index.md)" in lesson
        here = course.local_links(lesson, checkout / "notebooks", "https://github.com/me/streets")
        assert "[g](glossary.md#void) [next](01_b.ipynb) x[k](y) [t](../docs/index.md)" in here
    course.address(OLD)  # nobody's: whole addresses would lead nowhere
    assert addressed() == before


@pytest.mark.parametrize("path", course.lessons([], solutions=True), ids=lambda path: path.stem)
def test_every_link_of_a_lesson_leads_somewhere_from_folder_colab_and_site(path):
    """Colab finds notebooks beside the one it shows, and for all else needs the whole address."""
    text, url = path.read_text(encoding="utf-8"), "https://github.com/me/streets"
    whole = course._whole_links(text, path.parent, f"{url}/blob/v1.0")
    assert course.local_links(whole, path.parent, url) == text  # so the site has its own pages
    cells = [c for c in nbformat.reads(whole, 4).cells if c.cell_type == "markdown"]
    targets = re.findall(r"\]\(([^)\s]+)\)", "\n".join(cell.source for cell in cells))
    assert targets
    for target in targets:
        if not target.startswith(("http://", "https://")):
            file = (path.parent / target).resolve()
            assert file.suffix == ".ipynb", target
            assert file.is_file(), target
        elif target.startswith(f"{url}/blob/v1.0/"):
            name, _, anchor = target.removeprefix(f"{url}/blob/v1.0/").partition("#")
            page = (course.ROOT / name).read_text(encoding="utf-8")
            titles = [re.sub(r"[^\w -]", "", x) for x in re.findall(r"^#+ (.+)$", page, re.M)]
            assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles]


def test_an_address_that_colab_does_not_open_can_be_taken_back(addressed, capsys):
    before = addressed()
    course.address("https://gitlab.com/us/courses/streets")
    assert "(https://colab.research.google.com/)" in addressed()["00_a.ipynb"]
    assert "R = 'https://gitlab.com/us/courses/streets'" in addressed()["00_a.ipynb"]
    assert "Colab" in capsys.readouterr().out
    course.address(OLD)
    assert addressed() == before


@contextmanager
def no_room_for_large_files():
    """Let no file of this process grow over 64 KB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("url", [f"{OLD}-2", "https://github.com/OWNER/cityseg"])
@pytest.mark.parametrize(
    "where", ["00_a.ipynb", "01_b.ipynb", "README.md", "index.md", "pyproject.toml"]
)
def test_an_address_broken_off_anywhere_can_be_written_again(addressed, checkout, where, url):
    (large,) = checkout.rglob(where)
    large.write_text(large.read_text() + 2**17 * " ")
    before = addressed()
    course.address(url)
    unbroken = addressed()
    for path in checkout.rglob("*.*"):
        path.write_text(before[path.name])
    with no_room_for_large_files(), pytest.raises(StorageError):
        course.address(url)
    course.address(url)
    assert addressed() == unbroken
    course.address(url)
    assert addressed() == unbroken


NEEDS_MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(here, *arguments, **variables):
    """Call make as from a fresh shell: what the make above these tests was told is not for it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", *arguments], cwd=here, env=kept | variables, capture_output=True, text=True
    )


@NEEDS_MAKE
@pytest.mark.parametrize("how", ["variable", "argument"])
@pytest.mark.parametrize(
    ("data", "right"),
    [
        ("/mnt/My Drive/cam  vid", "/mnt/My Drive/cam  vid"),
        ("/mnt/a$b", "/mnt/a$b"),
        ("~/camvid", "~/camvid"),  # open_dataset knows what that is
        ("my $data", "{here}/my $data"),
    ],
)
def test_the_folder_of_data_reaches_a_lesson_whole(tmp_path, how, data, right):
    here = tmp_path / "a $HOME of one's own"
    (here / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(course.ROOT / "Makefile", here)
    for name in ("requirements.lock", "pyproject.toml", ".venv/ready"):
        (here / name).touch()
    python = here / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$CITYSEG_DATA"\n')
    python.chmod(0o755)
    if how == "variable":
        done = make(here, "-s", "course", CITYSEG_DATA=data)
    else:
        done = make(here, "-s", "course", f"CITYSEG_DATA={data}")
    assert done.stdout == right.format(here=here) + "\n", done.stderr


@NEEDS_MAKE
def test_make_names_what_a_bare_machine_lacks(tmp_path):
    shutil.copy(course.ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python = tmp_path / "python-without-venv"
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "$(echo "$2" | sed s/ensurepip/nothing/)"\n'
    )
    python.chmod(0o755)
    done = make(tmp_path, f"PYTHON={python}", "lab")
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout
