"""The recipe for CamVid, and the way there from drawn streets, are command line tools."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cityseg_utils import tables
from cityseg_utils.labels import CAMVID
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import read_mask

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

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


def run(*arguments, home, tool="camvid.py"):
    command = [sys.executable, BENCHMARKS / tool, *arguments, "--results", home / "results.csv"]
    env = {**os.environ, "CITYSEG_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


FEW = ["--weights", "none", "--streets", "8", "--drawn-steps", "1", "--steps", "2"]


def test_predictions_for_a_folder_of_frames_and_their_score(camvid, tmp_path):
    home, out = tmp_path / "home", tmp_path / "out"
    done = run(camvid, *FEW, "--predict", camvid / "val", out, home=home)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["0016E5_000000.png"]
    labels = read_mask(out / "0016E5_000000.png")
    assert labels.shape == (48, 64)
    assert labels.max() <= 10
    assert not (home / "results.csv").exists()

    # The masks lie beside the frames: it tells the score of what it wrote.
    matrix = ConfusionMatrix.for_scheme(CAMVID)
    matrix.update(read_mask(camvid / "valannot" / "0016E5_000000.png"), labels)
    said = f"val: {matrix.mean_iou():.4f} mIoU, {matrix.pixel_accuracy():.4f} accuracy"
    assert said in done.stdout

    # Without a folder the same training, found finished, is scored, and its row is stored.
    done = run(camvid, *FEW, home=home)
    assert said in done.stdout
    assert "step " not in done.stdout
    row = tables.read(home / "results.csv", ["weights", "scored on"]).loc[("none", "val")]
    assert row["mean IoU"] == pytest.approx(matrix.mean_iou())
    assert (row["steps"], row["drawn steps"], row["frames"]) == (2, 1, 1)

    # Frames that have no masks are predicted alone.
    (tmp_path / "frames").mkdir()
    shutil.copy(camvid / "val" / "0016E5_000000.png", tmp_path / "frames" / "mine.png")
    done = run(camvid, *FEW, "--predict", tmp_path / "frames", tmp_path / "mine", home=home)
    assert np.array_equal(read_mask(tmp_path / "mine" / "mine.png"), labels)
    assert "mIoU" not in done.stdout


def test_a_drive_can_be_left_out_of_train_and_val_be_scored(camvid, tmp_path):
    for mask in (camvid / "trainannot").glob("0001TP*"):
        mask.write_bytes(b"not to be read")
    done = run(camvid, *FEW, "--without", "0001TP", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert tables.read(tmp_path / "results.csv", ["scored on"]).index.to_list() == [
        "val without 0001TP"
    ]


def test_a_folder_without_frames_is_refused_before_the_training(camvid, tmp_path):
    done = run(camvid, "--predict", camvid, tmp_path / "out", home=tmp_path / "home")
    assert done.returncode == 1
    assert "holds no picture" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (["--predict", "val", "val"], "holds the frames"),
        (["--holdout", "0006RO"], "The drives are 0001TP, 0006R0, 0016E5"),
        (["--without", "0006RO"], "The drives are 0001TP, 0006R0, 0016E5"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_training(camvid, tmp_path, what, said):
    folders = [camvid / word if word == "val" else word for word in what]
    done = run(camvid, *folders, home=tmp_path / "home")
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("training", ["adversarial", "pasted", "refreshed"])
def test_photographs_train_without_their_labels_and_a_drive_stays_unseen(
    camvid, tmp_path, training
):
    for mask in (camvid / "trainannot").glob("0001TP*"):
        mask.write_bytes(b"nobody reads this")
    few = [training, "--unseen", "0006R0", "--streets", "8", "--steps", "4"]
    done = run(camvid, *few, home=tmp_path, tool="transfer.py")
    assert done.returncode == 0, done.stderr
    keys = ["scored on", "network sees", "training"]
    found = tables.read(tmp_path / "results.csv", keys, keys)
    assert {drive for drive, *_ in found.index} == {"val", "0006R0"}
    assert set(found["steps"]) == {4}
    assert set(found.index.get_level_values("training")) == {f"{training}, without 0006R0"}


def test_a_drive_is_left_out_where_photographs_are_learned_from(camvid, tmp_path):
    done = run(camvid, "pasted", home=tmp_path, tool="transfer.py")
    assert done.returncode == 2
    assert "--unseen is for, and needed by, refreshed, adversarial, pasted" in done.stderr


def test_an_evening_is_scored_once_beside_the_reference_model(tmp_path):
    few = ["--streets", "8", "--steps", "2", "--scored", "2"]
    done = run(*few, home=tmp_path, tool="evening.py")
    assert done.returncode == 0, done.stderr
    keys = ["network", "scored on", "measure"]
    found = tables.read(tmp_path / "results.csv", keys, keys).sort_index()
    assert len(found) == 2 * 2 * 3
    assert (found["low"] <= found["score"]).all() and (found["score"] <= found["high"]).all()
    assert found.loc[("reference", "test", "mean IoU"), "score"] > 0.5
    assert set(found.loc["evening", "steps"]) == {2}
    before = (tmp_path / "results.csv").read_bytes()
    assert run(*few, home=tmp_path, tool="evening.py").stdout == ""
    assert (tmp_path / "results.csv").read_bytes() == before


def test_ratios_are_noted_in_one_table_and_what_is_measured_anew_replaces_its_rows(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    noting, everything = (importlib.import_module(name) for name in ("noting", "all"))
    noting.note("a step", 1.5, "a bare loop", "at most 2", 0.25)
    assert "1.50 times a bare loop (at most 2)" in capsys.readouterr().out

    def measure(benchmark, ratio, file):
        monkeypatch.setenv(noting.TABLE, str(tmp_path / file))
        monkeypatch.setenv("CITYSEG_BENCHMARK", f"{benchmark}: python benchmarks/{benchmark}.py")
        noting.note("a step", ratio, "a bare loop")
        return tables.read(tmp_path / file, noting.KEYS, noting.KEYS)

    measure("engine", 1.5, "first.csv")
    everything.keep(measure("steps", 2.5, "first.csv").reset_index(), tmp_path / "all.csv")
    everything.keep(measure("steps", 0.5, "second.csv").reset_index(), tmp_path / "all.csv")
    kept = tables.read(tmp_path / "all.csv", noting.KEYS, noting.KEYS)
    assert kept["ratio"].to_dict() == {("engine", "a step"): 1.5, ("steps", "a step"): 0.5}
    assert kept["command"].iloc[1] == "python benchmarks/steps.py"


def test_the_blind_baseline_knows_each_place_from_other_drives(camvid, tmp_path):
    for path in (camvid / "trainannot").glob("0006R0*.png"):  # road above, sky below
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::-1])
    done = run(camvid, home=tmp_path, tool="blind.py")
    assert done.returncode == 0, done.stderr
    scores = tables.read(tmp_path / "results.csv", ["scored on"])
    assert list(scores.index) == ["0001TP", "0006R0"]
    # Rows 20 to 27 of 48 are road in both.
    assert scores["pixel accuracy"].tolist() == pytest.approx([8 / 48, 8 / 48], abs=0.03)
    assert (scores["frames"] == 2).all()
