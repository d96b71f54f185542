import subprocess
import sys

import numpy as np
import pytest

from cityseg_utils import final_project, metrics, minicity, storage
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.preprocessing import read_mask

FEW = 4


@pytest.fixture(autouse=True)
def few(monkeypatch, tmp_path):
    monkeypatch.setenv("CITYSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(final_project, "STREETS", FEW)


def answers(images, folder, tmp_path):
    """Write the truth for all frames but the first, which is taken for road alone."""
    city = minicity.generate(tmp_path / "truth", 0, 0, FEW, seed=final_project.SEED)
    masks = sorted(city.glob("gtFine/test/*/*_labelIds.png"))
    maps = [read_mask(path, CITYSCAPES) for path in masks]
    guesses = [np.where(mask == 255, 0, mask) for mask in maps]
    guesses[0] = np.zeros_like(guesses[0])
    metrics.export_predictions(guesses, images, folder)
    return maps, guesses


def test_one_number_that_agrees_with_the_counting_of_lesson_04(tmp_path):
    images = final_project.streets(tmp_path / "final")
    assert len(images) == FEW
    assert {image.parent.name for image in images} == set(minicity.CITIES["test"])
    assert not list((tmp_path / "final").rglob("*gtFine*"))
    maps, guesses = answers(images, tmp_path / "mine", tmp_path)
    by_hand = metrics.ConfusionMatrix.for_scheme(CITYSCAPES)
    for mask, guess in zip(maps, guesses, strict=True):
        by_hand.update(mask, guess)
    assert final_project.score(tmp_path / "mine") == by_hand.mean_iou()


def test_every_look_is_counted_and_a_refusal_is_none(tmp_path):
    images = final_project.streets(tmp_path / "final")
    answers(images, tmp_path / "mine", tmp_path)
    (missing, *_) = (tmp_path / "mine").iterdir()
    kept = missing.read_bytes()
    missing.unlink()
    with pytest.raises(DataError, match="has no prediction"):
        final_project.score(tmp_path / "mine")
    assert len(final_project.looks()) == 0
    missing.write_bytes(kept)
    first, second = (final_project.score(tmp_path / "mine") for _ in range(2))
    assert first == second
    assert list(final_project.looks().index) == [1, 2]
    assert list(final_project.looks()["mean IoU"]) == [first, first]


def test_the_streets_are_written_once_and_over_nothing_else(tmp_path):
    folder = tmp_path / "final"
    before = final_project.streets(folder)
    assert final_project.streets(folder) == before
    other = tmp_path / "other"
    storage.write_bytes(other / "thesis.tex", b"mine")
    with pytest.raises(DataError, match="holds other files"):
        final_project.streets(other)
    assert [path.name for path in other.rglob("*")] == ["thesis.tex"]


def test_no_lesson_has_these_streets():
    assert final_project.SEED != 0


@pytest.mark.slow
def test_the_commands_of_the_lesson(tmp_path, monkeypatch):
    def run(*arguments):
        command = [sys.executable, "-m", "cityseg_utils.final_project", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "60 streets in final" in run("streets", "final").stdout
    monkeypatch.setattr(final_project, "STREETS", 60)
    images = final_project.streets(tmp_path / "final")
    road = (np.zeros((256, 512), np.uint8) for _ in images)
    metrics.export_predictions(road, images, tmp_path / "road")
    assert run("score", "road").stdout.splitlines()[0].startswith("mean IoU 0.0")
    assert "look 2; report the first" in run("score", "road").stdout
