"""The recipe for CamVid is also a command line tool."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cityseg_utils.labels import CAMVID
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import read_mask

TOOL = Path(__file__).resolve().parent.parent / "benchmarks" / "camvid.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def camvid(tmp_path, write_picture):
    """Four train frames of two drives and a val frame; sky above, road below."""
    labels = np.zeros((48, 64), np.uint8)
    labels[20:] = 3
    for split, name in (
        *(("train", f"{drive}_{k:06d}") for drive in ("0001TP", "0006R0") for k in (0, 30)),
        ("val", "0016E5_000000"),
    ):
        write_picture(tmp_path / "camvid" / split / f"{name}.png", 80 * np.stack([labels] * 3, -1))
        write_picture(tmp_path / "camvid" / f"{split}annot" / f"{name}.png", labels)
    return tmp_path / "camvid"


def run(*arguments, home):
    command = [sys.executable, TOOL, *arguments]
    env = {**os.environ, "CITYSEG_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_predictions_for_a_folder_of_frames_and_their_score(camvid, tmp_path):
    few = ["--streets", "8", "--epochs", "1", "1", "1"]
    done = run(camvid, *few, "--predict", camvid / "val", tmp_path / "out", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0016E5_000000.png"]
    labels = read_mask(tmp_path / "out" / "0016E5_000000.png")
    assert labels.shape == (48, 64)
    assert labels.max() <= 10

    # Without a folder the same training, found finished, is scored; both see the same sizes.
    truth = read_mask(camvid / "valannot" / "0016E5_000000.png")
    matrix = ConfusionMatrix.for_scheme(CAMVID)
    matrix.update(truth, labels)
    done = run(camvid, *few, home=tmp_path / "home")
    assert f"192 x 256 and 352 x 480: {matrix.mean_iou():.4f} mIoU" in done.stdout
    assert done.stdout.count("mIoU") == 7  # the choices of one, two and three sizes


def test_a_folder_without_frames_is_refused_before_the_training(camvid, tmp_path):
    done = run(camvid, "--predict", camvid, tmp_path / "out", home=tmp_path / "home")
    assert done.returncode == 1
    assert "holds no PNG" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (["--predict", "val", "val"], "holds the frames"),
        (["--holdout", "0006RO"], "The drives are 0001TP, 0006R0, 0016E5"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_training(camvid, tmp_path, what, said):
    folders = [camvid / word if word == "val" else word for word in what]
    done = run(camvid, *folders, home=tmp_path / "home")
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "home").exists()
