import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cityseg_utils import final_project, metrics, minicity, storage
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.preprocessing import read_image, read_mask

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
    for name in ("thesis.tex", "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"):
        other = tmp_path / Path(name).stem
        storage.write_bytes(other / name, b"mine")
        with pytest.raises(DataError, match="holds other files"):
            final_project.streets(other)
        assert storage.files_below(other) == [other / name]


def test_no_lesson_has_these_streets(tmp_path):
    hidden = final_project.streets(tmp_path / "final")
    known = minicity.generate(tmp_path / "city", 0, 0, FEW).glob("leftImg8bit/test/*/*.png")
    pictures = [{path.name: read_image(path).tobytes() for path in x} for x in (hidden, known)]
    assert pictures[0].keys() == pictures[1].keys()
    assert not set(pictures[0].values()) & set(pictures[1].values())


def test_a_row_of_looks_that_was_removed_does_not_stop_it(tmp_path):
    images = final_project.streets(tmp_path / "final")
    answers(images, tmp_path / "mine", tmp_path)
    for _ in range(3):
        final_project.score(tmp_path / "mine")
    file = final_project._noted()
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], *lines[2:]]))
    final_project.score(tmp_path / "mine")
    assert list(final_project.looks().index) == [2, 3, 4]


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
