"""Fixtures that several test modules share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from PIL import Image

import cityseg_utils  # noqa: F401  (chooses Keras before any test imports TensorFlow)
from cityseg_utils import minicity, storage

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What is remembered of files that tests write is of no use to anyone afterwards.
REMEMBERED = tempfile.TemporaryDirectory(prefix="cityseg-cache-")
os.environ["XDG_CACHE_HOME"] = REMEMBERED.name
# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


# What a test asks for tells what it is.
MARKS = {
    **dict.fromkeys(("wait_until", "browser", "trained", "finished", "measured"), "slow"),
    "photographs": "photographs",
}


def pytest_collection_modifyitems(items):
    """Mark tests by their fixtures, so that none is forgotten."""
    for item in items:
        for fixture in MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKS[fixture])


@pytest.fixture(scope="session")
def photographs():
    """CamVid's folder; the test is skipped where it is not named."""
    if not (folder := os.environ.get("CITYSEG_TEST_CAMVID")):
        pytest.skip("set CITYSEG_TEST_CAMVID to the folder of CamVid")
    return Path(folder)


@pytest.fixture
def patchwork(tmp_path):
    """Write frames of 16 patches, each of one of some ids, and return their pairs."""

    def make(number: int, ids: list[int]) -> pd.DataFrame:
        rng, rows = np.random.default_rng(0), []
        for k in range(number):
            mask = np.repeat(np.repeat(rng.choice(ids, (4, 4)), 16, 0), 16, 1)
            image = rng.integers(0, 8, (64, 64, 3)) + 20 * mask[..., None]
            paths = tmp_path / f"{k}.png", tmp_path / f"{k}_mask.png"
            for path, picture in zip(paths, (image, mask), strict=True):
                storage.write_png(path, picture.astype(np.uint8))
            rows.append({"image": paths[0], "mask": paths[1], "split": "train", "city": "x"})
        return pd.DataFrame(rows).assign(frame=[str(k + 1) for k in range(number)])

    return make


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home of its own for data and runs, and no data set chosen from outside."""
    monkeypatch.delenv("CITYSEG_DATA", raising=False)
    monkeypatch.setenv("CITYSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny_city(tmp_path_factory):
    """A MiniCity of 14 scenes of 64 x 128; tests only read it."""
    root = tmp_path_factory.mktemp("data") / "tiny city"
    return minicity.generate(root, train=8, val=4, test=2, size=(64, 128))


@pytest.fixture(scope="session")
def write_picture():
    """Write nested lists or an array as a picture with Pillow, making folders as needed."""

    def write(path, pixels, kind=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels, np.uint8)).save(path, kind)
        return path

    return write


@pytest.fixture
def open_folder(tmp_path):
    """A folder that every user may enter and read."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
        if folder == Path(tempfile.gettempdir()):
            break
    return tmp_path


@pytest.fixture(scope="session")
def start_python():
    """Start a script in a Python of its own, with the package and the tests to import."""
    started = []

    def start(script, *arguments, **env):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("TF_USE", "SM_"))},
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
                "PYTHONDONTWRITEBYTECODE": "1",
                **env,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def run_python(start_python):
    """Run a script in a Python of its own; give what it printed, or its error."""

    def run(script, *arguments, code=0, **env):
        process = start_python(script, *arguments, **env)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return err if code else out

    return run


@pytest.fixture(scope="session")
def pip_install(tmp_path_factory):
    """Install packages without what they need into a new folder, for a test's PYTHONPATH.

    Skips the test where no package index is reached, unless CITYSEG_NEEDS_INDEX is set.
    """

    def install(*requirements, python=sys.executable):
        folder = tmp_path_factory.mktemp("installed")
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--target", folder, *requirements]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode and not os.environ.get("CITYSEG_NEEDS_INDEX"):
            pytest.skip(f"{requirements} cannot be installed: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
        return folder

    return install


@pytest.fixture(scope="session")
def wait_until():
    """Wait until something is true while a process runs, or fail when it has ended."""

    def wait(process, true):
        while not true():
            try:
                process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
            assert true(), "the process ended first:\n" + "".join(process.communicate())

    return wait
