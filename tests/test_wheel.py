"""The package as Colab gets it: built, installed, and used away from the checkout."""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
NO_SOURCE = shutil.ignore_patterns("__pycache__", ".*")

pytestmark = pytest.mark.slow


def imports(notebook):
    """Return the import lines of a notebook, those within other statements included."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = TransformerManager().transform_cell("".join(cell["source"]))
            nodes = ast.walk(ast.parse(source))
            yield from map(
                ast.unparse, (x for x in nodes if isinstance(x, ast.Import | ast.ImportFrom))
            )


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, for setuptools packs what an earlier build left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "cityseg_utils", folder / "source" / "cityseg_utils", ignore=NO_SOURCE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    # The lock has setuptools, so no index is asked.
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    (built,) = folder.glob("*.whl")
    return built


USE = """
import sys
from pathlib import Path

import cityseg_utils
assert Path(cityseg_utils.__file__).is_relative_to(sys.prefix), cityseg_utils.__file__
from cityseg_utils import models, studies

for line in sys.argv[1:]:
    exec(line)
for name, study in studies.STUDIES.items():
    table = studies.read(name)
    assert set(table.index.get_level_values("configuration")) <= set(study.recipes), name
print("parameters:", models.load_reference().count_params())
sys.argv[1:] = ["--help"]
studies.main()
"""


@pytest.fixture(scope="module")
def said(wheel, tmp_path_factory):
    """What is said by the lessons' imports and more where only the wheel leads to the package."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    # What the package needs is not installed anew. A folder named in a .pth file comes after the
    # wheel, and its own .pth files, of which one leads to the checkout, are not read.
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "elsewhere").mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CITYSEG", "PYTHON", "TF_USE"))}

    script = folder / "use.py"
    script.write_text(USE)
    lines = dict.fromkeys(line for lesson in LESSONS for line in imports(lesson))
    done = subprocess.run(
        [python, script, *lines], cwd=folder / "elsewhere", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(wheel):
    files = [path for path in (ROOT / "cityseg_utils").rglob("*") if path.is_file()]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.parent.name != "__pycache__" and not path.name.startswith(".")
    }
    assert {"cityseg_utils/results/minicity.csv", "cityseg_utils/widgets/viewer.js"} <= wanted
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == wanted


def test_lessons_find_all_they_import_and_read(said):
    assert "parameters: 3573075" in said


def test_own_runs_do_not_change_an_installed_package(said):
    told = said.replace("\n", "").replace(" ", "")
    assert "elsewhere/results" in told
    assert "site-packages" not in told
