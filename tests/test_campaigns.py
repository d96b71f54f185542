"""Stored rounds say what was asked, of whom it was learned, and are not done again."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cityseg_utils import campaigns, models, storage
from cityseg_utils.labels import ClassScheme
from cityseg_utils.recipes import Recipe
from cityseg_utils.semi_supervised import MeanTeacher

pytestmark = pytest.mark.slow

SCHEME = ClassScheme("tiny", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (7, 9, 11), (0,))
SIZE = (32, 32)


@pytest.fixture
def ground(patchwork, own_home):
    pairs = patchwork(4, [7, 9, 11])
    recipe = Recipe(
        backbone=models.SMALL,
        size=SIZE,
        batch_size=2,
        loss="weighted cross-entropy",
        augment=campaigns.changes(SIZE, points=True),
        precision="float32",
        steps=4,
        refresh=0,
    )
    return campaigns.Ground("tiny", pairs[:3], pairs[3:], SCHEME, recipe)


def test_the_first_round_is_that_of_all_and_what_is_stored_is_not_done_again(ground, tmp_path):
    results = tmp_path / "active.csv"
    for strategy in ("random", "margin"):
        campaigns.run(strategy, 0, ground, results, (3, 6), command="typed")
    rows = campaigns.read(results)
    assert list(rows.index.names) == list(campaigns.KEYS)
    scores = rows["mean IoU"].xs(("tiny", "pixel", "labels alone"))
    assert set(scores.index) == {(s, n, 0) for s in ("random", "margin") for n in (3, 6)}
    assert scores["random", 3, 0] == scores["margin", 3, 0]
    asked = [
        [line.partition(b" ")[2] for line in path.read_bytes().splitlines()]
        for path in sorted(ground.home.glob("*/answers.jsonl"))
    ]
    assert asked[0][:10] == asked[1][:10]  # the classes, three answers to each of three frames
    assert asked[0][10:] != asked[1][10:]
    assert set(rows["command"]) == {"typed"}
    held, there = results.read_bytes(), sorted(ground.home.rglob("*.csv"))
    campaigns.run("margin", 0, ground, results, (3, 6))
    assert results.read_bytes() == held
    assert sorted(ground.home.rglob("*.csv")) == there
    shutil.rmtree(ground.home)  # as on another machine
    campaigns.run("margin", 0, ground, results, (3, 6))
    assert not ground.home.exists()


def test_superpixels_cost_as_many_answers_and_are_rows_of_their_own(ground, tmp_path):
    results = tmp_path / "active.csv"
    folder = campaigns.run("random", 0, ground, results, (3,), parts=16)
    campaigns.run("random", 0, ground, results, (3,))
    rows = campaigns.read(results)
    assert list(rows.index.get_level_values("unit")) == ["superpixel", "pixel"]
    known = storage.read_picture(folder / "round-0" / "x_1_labels.png", color=False)
    assert (known != 0).sum() > 100  # id 0 is void: of 1024 pixels


def test_a_teacher_learns_from_the_same_answers_and_all_other_pixels(ground, tmp_path):
    results = tmp_path / "active.csv"
    method = MeanTeacher(own_frames=True, paste=False, batch_size=2)
    campaigns.run("random", 0, ground, results, (3,))
    shutil.rmtree(ground.home)  # a log that is gone is made again, whatever rows there are
    learners = campaigns.taught(ground, method)
    planned = campaigns.planned(
        ["random"], [0], "tiny", budgets=(3,), learners={x: 2 for x in learners}
    )
    stored, todo = set(campaigns.read(results).index), set(list(planned)[1:])
    assert stored == set(planned) - todo
    assert campaigns._asked_again(planned, todo, ground) == stored  # and its cost is said
    assert not ground.home.exists()
    campaigns.go_on("random", 0, ground, results, 3, learners, val=ground.pairs)
    assert campaigns._asked_again(planned, todo, ground) == set()
    rows = campaigns.read(results)
    assert set(planned) == set(rows.index)
    assert list(rows["val frames"]) == [1, 3, 3]
    assert sum(planned.values()) == 1 + 2 * 2
    learners = list(rows.index.get_level_values("learner"))
    assert learners == ["labels alone", "with a teacher", "labels alone for longer"]
    assert "MeanTeacher" in rows["recipe"].iloc[1]
    assert list(rows["steps"]) == [4, 4, 9]
    folder = ground.home / "random-pixel-0"
    asked, taught = (
        [storage.read_picture(path, color=False) for path in sorted(part.glob("*_labels.png"))]
        for part in (folder / "round-0", folder / "taught")
    )
    np.testing.assert_array_equal(asked, taught)


def test_a_ceiling_is_trained_on_whole_masks(ground, tmp_path, monkeypatch):
    monkeypatch.setitem(campaigns.WHOLE, "2 whole frames", ("dice", 2))
    results = tmp_path / "active.csv"
    for name in ("all labels, Dice", "2 whole frames"):
        campaigns.train_whole(name, 0, ground, results)
    rows = campaigns.read(results)
    assert list(rows.index.get_level_values("strategy")) == ["all labels, Dice", "2 whole frames"]
    assert rows["recipe"].str.contains("loss='dice'").all()
    assert not rows["recipe"].str.contains("points").any()
    assert rows["mean IoU"].nunique() == 2


def test_the_first_round_of_a_seed_is_planned_once():
    rows = campaigns.planned(["random", "margin", "all labels"], [0, 1], "tiny")
    assert len(rows) == 2 * (4 + 4 + 1)
    assert sum(rows.values()) == 2 * (4 + 3 + 1)
    assert campaigns.planned(["all labels", "random", "margin"], [0, 1], "tiny") == rows


def test_clicks_are_worth_frames_by_a_person_s_time(ground):
    # Three hours of one frame are 4320 clicks, here in three images.
    assert dataclasses.replace(ground, minutes=180).worth(1) == 1440
    assert dataclasses.replace(ground, minutes=1).worth(2) == 20  # 16, to the ten
    [recipe] = campaigns.as_long_as_pasted(ground).values()
    assert recipe == ground.recipe.but(steps=campaigns.AS_LONG_AS_PASTED)
    assert dataclasses.replace(ground, minutes=0).worth(1) == 10
    with pytest.raises(SystemExit):
        campaigns.main(["random", "--worth", "0"])


def test_superpixels_have_no_teacher():
    command = [sys.executable, "-m", "cityseg_utils.campaigns", "random", "--taught"]
    done = subprocess.run([*command, "--superpixels"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not allowed with argument" in done.stderr
