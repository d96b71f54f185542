import dataclasses
import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cityseg_utils import experiments, framework, minicity, studies
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError
from cityseg_utils.experiments import read, run
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.recipes import Recipe

TINY = Recipe("Linknet", "mobilenetv2", size=(32, 64), batch_size=2, refresh=0, steps=1)
TWO = {"plain": TINY, "dice": TINY.but(loss="dice")}
RUNNER = """
import sys
from test_experiments import TWO
from cityseg_utils import datasets, experiments
from cityseg_utils.labels import CITYSCAPES
pairs = datasets.find_pairs(sys.argv[1])
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
experiments.run(TWO, [0, 1], train, val, CITYSCAPES, sys.argv[2])
"""


# A process of the background, as this one may be, would not hear an interrupt.
ENDLESS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
""" + RUNNER.replace("run(TWO", "run({k: r.but(steps=9999) for k, r in TWO.items()}")


@pytest.fixture(scope="module")
def data(tiny_city):
    pairs = find_pairs(tiny_city)
    return pairs[pairs["split"] == "train"], pairs[pairs["split"] == "val"], CITYSCAPES


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """One configuration with one seed, and where its row is."""
    results = tmp_path_factory.mktemp("results") / "study.csv"
    seen = []
    table = run(
        {"plain": TINY},
        [0],
        *data,
        results,
        lambda table, now: seen.append((len(table), now)),
        command="python study.py",
    )
    assert seen == [(0, "plain, seed 0"), (1, "")]
    return results, table


def test_a_run_leaves_a_row(finished):
    results, table = finished
    assert list(table.index) == [("plain", 0)]
    row = table.loc[("plain", 0)]
    assert 0 <= row["mean IoU"] < row["pixel accuracy"] < 1
    assert row["steps"] == 1
    assert row["memory GB"] > 0
    assert (row["train frames"], row["val frames"]) == (8, 4)
    assert row["recipe"] == str(TINY)
    assert row["command"] == "python study.py"
    assert row["precision"] == framework.precision()
    assert row["processor seconds"] >= 0
    assert 0 <= row["mean IoU on train"] < 1
    assert 0 < row["mean IoU at borders"] < row["pixel accuracy"]
    assert row["mean IoU"] < row["mean IoU of frequent classes"] < 1
    assert row["mean IoU on train"] < row["mean IoU of frequent classes on train"] < 1
    assert 0 <= row["classes found"] < 19
    assert row[[f"IoU {name}" for name in CITYSCAPES.names]].mean() == pytest.approx(
        row["mean IoU"]
    )
    pd.testing.assert_frame_equal(read(results), table)


def test_the_same_city_elsewhere_is_the_same_question(finished, data, tmp_path):
    """Drawn on another machine, its files may be packed otherwise."""
    results, table = finished
    root = minicity.generate(tmp_path / "city", train=8, val=4, test=2, size=(64, 128))
    for path in root.rglob("*labelIds.png"):
        Image.open(path).save(path, compress_level=1)
    pairs = find_pairs(root)
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    pd.testing.assert_frame_equal(run({"plain": TINY}, [0], train, val, CITYSCAPES, results), table)


def test_a_finished_run_is_not_done_again(finished, data):
    results, table = finished
    before = results.stat().st_mtime_ns
    again = run({"plain": TINY}, [0], *data, results)
    assert results.stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again, table)


def test_some_configurations_may_have_more_seeds(data):
    many = {"plain": TINY, "dice": TINY.but(loss="dice"), "focal": TINY.but(loss="focal")}
    seeds = {"plain": (0,), "dice": (0, 1, 2), "focal": ()}
    expected = [("plain", 0), ("dice", 0), ("dice", 1), ("dice", 2)]
    assert list(experiments._cells(many, seeds, *data)) == expected
    rounds = [(name, seed) for seed in (0, 1) for name in many]
    assert list(experiments._cells(many, iter((0, 1)), *data)) == rounds


def test_data_may_depend_on_the_seed(data):
    train, val, scheme = data
    chosen = {"plain": train, "some": lambda seed: train.iloc[seed : seed + 3]}
    cells = experiments._cells({"plain": TINY, "some": TINY}, (0, 1), chosen, val, scheme)
    frames = {key: list(cell.train["frame"]) for key, cell in cells.items()}
    assert frames["plain", 0] == frames["plain", 1] == list(train["frame"])
    assert [frames["some", k] for k in (0, 1)] == [list(train["frame"])[k : k + 3] for k in (0, 1)]
    assert cells["some", 0].settings != cells["some", 1].settings


@pytest.mark.parametrize("change", ["recipe", "train", "val", "classes", "mask", "city"])
def test_another_question_needs_another_name(finished, data, tiny_city, tmp_path, change):
    results, _ = finished
    train, val, scheme = data
    if change == "mask":
        shutil.copytree(tiny_city, tmp_path / "city")
        path = sorted(tmp_path.glob("city/gtFine/val/*/*labelIds.png"))[0]
        Image.fromarray(np.full((64, 128), 7, np.uint8)).save(path)
        pairs = find_pairs(tmp_path / "city")
        train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    if change == "city":  # of the same names
        root = minicity.generate(tmp_path / "city", train=8, val=4, test=2, size=(64, 128), seed=1)
        pairs = find_pairs(root)
        train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    recipe = TINY.but(steps=2) if change == "recipe" else TINY
    if change == "train":
        train = {"plain": train.iloc[:4]}
    if change == "val":
        val = val.iloc[:1]
    if change == "classes":
        scheme = scheme.color_blind_safe()
        scheme = type(scheme)(scheme.name, scheme.names[:-1], scheme.colors[:-1], scheme.ids[:-1])
    with pytest.raises(DataError, match="holds 'plain' with another recipe or other data"):
        run({"plain": recipe}, [0], train, val, scheme, results)


def test_a_killed_runner_loses_the_run_that_it_was_at(
    finished, data, tiny_city, tmp_path, start_python, wait_until
):
    results = tmp_path / "study.csv"
    shutil.copy(finished[0], results)
    one_by_one = RUNNER.replace("sys.argv[2])", "sys.argv[2], jobs=1)")  # two may end at once
    runner = start_python(one_by_one, tiny_city, results)
    wait_until(runner, lambda: len(read(results)) == 2)
    runner.kill()
    runner.wait()
    kept = read(results)
    assert len(kept) == 2
    table = run({"plain": TINY}, [0, 1], *data, results)
    assert list(table.index) == [("plain", 0), ("plain", 1)]
    pd.testing.assert_frame_equal(read(results).iloc[:2], kept)


def test_a_study_killed_at_five_moments_ends_with_the_row_of_the_unbroken(
    data, tiny_city, tmp_path, start_python, wait_until, own_home
):
    """Each time inside its run, which goes on where its last state was."""
    study = """
import sys
from test_experiments import TINY
from cityseg_utils import datasets, experiments
from cityseg_utils.labels import CITYSCAPES
pairs = datasets.find_pairs(sys.argv[1])
train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
recipe = TINY.but(steps=7, average=0.9, refresh=1, precision="float32")
experiments.run({"long": recipe}, [0], train, val, CITYSCAPES, sys.argv[2])
"""
    broken, unbroken = tmp_path / "broken.csv", tmp_path / "unbroken.csv"
    for step in range(1, 6):
        runner = start_python(study, tiny_city, broken, CITYSEG_SAVE_EVERY="0")
        wait_until(runner, lambda step=step: steps_saved(own_home) >= step)
        runner.kill()
        runner.wait()
    assert not broken.exists()
    for results in (broken, unbroken):
        runner = start_python(study, tiny_city, results)
        assert runner.wait(300) == 0, runner.stderr.read()
    once, again = read(unbroken).iloc[0], read(broken).iloc[0]
    measured = [name for name in once.index if "IoU" in name or name in ("steps", "mean Dice")]
    assert once[measured].equals(again[measured])
    assert steps_saved(own_home) == 0


def steps_saved(home):
    states = home.glob("runs/experiments/*/*/state-*")
    return max((int(state.name.removeprefix("state-")) for state in states), default=0)


@pytest.mark.slow
def test_rows_of_many_processes_are_all_kept(tmp_path, start_python):
    code = """
import sys
from test_experiments import row_of
from cityseg_utils import experiments
for k in range(20):
    experiments._note(sys.argv[1], row_of(f"{sys.argv[2]} {k}"))
"""
    results = tmp_path / "study.csv"
    writers = [start_python(code, results, name) for name in "abc"]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    assert len(read(results)) == 60


@pytest.mark.slow
def test_two_runners_share_the_work(tiny_city, tmp_path, start_python):
    results = tmp_path / "study.csv"
    both = [start_python(RUNNER, tiny_city, results) for _ in range(2)]
    for runner in both:
        _, said = runner.communicate(timeout=400)
        assert runner.returncode == 0, said
    table = read(results)
    assert sorted(table.index) == [("dice", 0), ("dice", 1), ("plain", 0), ("plain", 1)]
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".csv", ".lock")]


@pytest.mark.slow
def test_what_a_run_raises_surfaces_and_is_not_noted(data, tmp_path):
    train, val, scheme = data
    broken = train.copy()
    broken["mask"] = [tmp_path / "nowhere.png", *train["mask"].iloc[1:]]
    with pytest.raises(DataError, match=r"nowhere\.png"):
        run({"plain": TINY}, [0], broken, val, scheme, tmp_path / "study.csv")
    assert not (tmp_path / "study.csv").exists()


@pytest.mark.slow
def test_a_damaged_frame_surfaces_as_it_would_here(data, tmp_path):
    train, val, scheme = data
    damaged = tmp_path / "frame.png"
    damaged.write_bytes(train["image"].iloc[5].read_bytes()[:500])
    broken = train.assign(image=[*train["image"].iloc[:5], damaged, *train["image"].iloc[6:]])
    with pytest.raises(DataError, match=r"frame\.png"):
        run({"plain": TINY.but(batch_size=8)}, [0], broken, val, scheme, tmp_path / "study.csv")


def test_an_interrupted_runner_ends_its_runs(data, tiny_city, tmp_path, start_python, wait_until):
    results = tmp_path / "study.csv"
    runner = start_python(ENDLESS, tiny_city, results, CITYSEG_HOME=str(tmp_path / "home"))
    wait_until(runner, lambda: len(list(tmp_path.glob("home/runs/experiments/*/*/lock"))) >= 1)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(60) != 0
    assert "KeyboardInterrupt" in runner.stderr.read()
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_a_run_that_the_system_kills_says_so(tiny_city, tmp_path, start_python, wait_until):
    results = tmp_path / "study.csv"
    runner = start_python(ENDLESS, tiny_city, results, CITYSEG_HOME=str(tmp_path / "home"))
    wait_until(runner, lambda: list(tmp_path.glob("home/runs/experiments/*/*/lock")))
    for child in Path(f"/proc/{runner.pid}/task").glob("*/children"):
        for number in child.read_text().split():
            os.kill(int(number), signal.SIGKILL)
    assert runner.wait(60) != 0
    assert "the run was killed, as the system does when memory is short" in runner.stderr.read()


def test_results_that_are_not_there_are_no_empty_table(tmp_path):
    with pytest.raises(DataError, match=r"study\.csv: there are no results yet"):
        read(tmp_path / "study.csv")


@pytest.mark.parametrize("content", ["", json.dumps({"a": 1}), "configuration,seed\na,0\n", None])
def test_what_is_no_table_is_refused(tmp_path, content):
    results = tmp_path / "study.csv"
    results.mkdir() if content is None else results.write_text(content)
    with pytest.raises(DataError, match=r"study\.csv: (is no table|cannot be read: Is a dir)"):
        read(results)


def row_of(name, score=0.5):
    settings = "12e345678901"  # a digest that could be read as a number
    return {"configuration": name, "seed": 0, "mean IoU": score, "settings": settings}


@pytest.mark.parametrize("name", ["0.001", "None", "NA", "true"])
def test_a_name_is_a_name_whatever_it_looks_like(tmp_path, name):
    experiments._note(tmp_path / "study.csv", row_of(name))
    table = read(tmp_path / "study.csv")
    assert list(table.index) == [(name, 0)]
    assert table["settings"].tolist() == ["12e345678901"]


def test_a_row_may_say_more_than_older_ones(tmp_path):
    experiments._note(tmp_path / "study.csv", row_of("old"))
    experiments._note(tmp_path / "study.csv", row_of("new") | {"precision": "float32"})
    table = read(tmp_path / "study.csv")
    assert table["mean IoU"].tolist() == [0.5, 0.5]
    assert table["precision"].isna().tolist() == [True, False]


@pytest.mark.parametrize("change", ["cut", "number", "twice", "merge", "two cut", "column"])
def test_a_table_that_is_not_what_was_written_is_refused(tmp_path, change):
    """The last line cut at 0.4 reads as a score; so does a number that a hand has changed."""
    results = tmp_path / "study.csv"
    for k in range(3):
        experiments._note(results, row_of(f"configuration {k}", 0.4567 + k / 100))
    text = results.read_text()
    lines = text.splitlines()
    changed = {
        "cut": text[: text.rindex("0.4767") + 3],
        "number": text.replace("0.4667", "0.4668"),
        "twice": "\n".join([*lines, lines[2]]),
        "merge": "\n".join([*lines[:2], "<<<<<<< HEAD", *lines[2:]]),
        "two cut": text[: text.rindex("0.4667") + 3],
        "column": text.replace("mean IoU", "pixel accuracy"),
    }[change]
    results.write_text(changed)
    with pytest.raises(DataError, match=r"study\.csv: (row \d .*not what was|holds .* twice)"):
        read(results)
    with pytest.raises(DataError):
        experiments._note(results, row_of("one more"))
    assert results.read_text() == changed


def test_one_run_is_noted_once(tmp_path):
    for score in (0.5, 0.6):
        experiments._note(tmp_path / "study.csv", row_of("plain", score))
    assert read(tmp_path / "study.csv")["mean IoU"].tolist() == [0.5]


def test_a_transform_that_another_python_cannot_import_is_refused(data, tmp_path):
    recipe = TINY.but(augment=lambda image, mask, seed: (image, mask))
    with pytest.raises(ValueError, match=r"own: .* cannot import"):
        run({"own": recipe}, [0], *data, tmp_path / "study.csv")


@pytest.mark.parametrize("which", ["first_weights", "encoder_weights"])
def test_first_weights_are_told_apart_by_what_they_are(data, tmp_path, which):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")

    def settings(name):
        return experiments._Cell("x", TINY.but(**{which: tmp_path / name}), 0, *data).settings

    before = settings("a")
    assert settings("b") == before
    (tmp_path / "a").write_bytes(b"two")
    assert settings("a") != before
    with pytest.raises(DataError, match="no weights to start from"):
        settings("c")


def test_runs_are_told_apart_by_all_that_matters(data, tmp_path, write_picture):
    train, val, scheme = data
    larger = val.assign(mask=write_picture(tmp_path / "mask.png", np.zeros((70, 90), np.uint8)))
    other_ids = dataclasses.replace(scheme, ids=scheme.ids[::-1])
    cells = [
        experiments._Cell("a", TINY, 0, train, val, scheme),
        experiments._Cell("a", TINY, 1, train, val, scheme),
        experiments._Cell("a", TINY.but(average=0.9), 0, train, val, scheme),
        experiments._Cell("a", TINY, 0, train.iloc[1:], val, scheme),
        experiments._Cell("b", TINY, 0, train, val, scheme),
        experiments._Cell("a", TINY, 0, train, larger, scheme),
        experiments._Cell("a", TINY, 0, train, val, other_ids),
    ]
    assert len({cell.digest for cell in cells}) == len(cells)


def test_a_recipe_is_the_same_on_another_processor(data):
    recipes = [TINY, *(TINY.but(precision=name) for name in framework.PRECISIONS)]
    cells = [experiments._Cell("a", recipe, 0, *data) for recipe in recipes]
    assert len({cell.settings for cell in cells}) == 1


@pytest.mark.slow
def test_what_a_study_costs_is_said_before_it_starts(data, tmp_path):
    results = tmp_path / "study.csv"
    study = {"plain": TINY.but(steps=100), "timed": TINY.but(steps=None, processor_seconds=90)}
    cost = experiments.cost(study, [0, 1], *data, results, jobs=2)
    assert cost.runs == 4
    assert cost.processor_seconds > 2 * 90
    assert "4 runs to do" in str(cost)
    assert not results.exists()


@pytest.mark.slow
def test_twice_the_steps_cost_twice_as_much_and_another_loss_is_timed_anew(data, monkeypatch):
    monkeypatch.setattr(experiments, "_step_seconds", {})
    ways = [TINY.but(steps=100), TINY.but(steps=200, learning_rate=0.1, schedule="cosine")]
    costs = [experiments.seconds_for(recipe, *data) for recipe in ways]
    assert costs[1] == 2 * costs[0] > 0
    experiments.seconds_for(TINY.but(loss="focal"), *data)
    assert len(experiments._step_seconds) == 2


@pytest.mark.slow
def test_two_can_ask_for_the_cost_at_once(data):
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(experiments.seconds_for, TINY, *data) for _ in range(2)]
    assert all(seconds.result() > 0 for seconds in asked)


@pytest.mark.slow
def test_stored_runs_are_of_today_s_recipes():
    study, table = studies.STUDIES["losses"], studies.read("losses")
    train, val, scheme = study.data()
    for name, recipe in study.recipes.items():
        cell = experiments._Cell(name, recipe, 0, train[name], val, scheme)
        assert cell.settings == table.loc[(name, 0), "settings"]
