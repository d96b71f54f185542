"""Strategies ask where they say they do, and campaigns can be compared."""

import shutil

import numpy as np
import pytest

from cityseg_utils import active_learning, annotations, models, recipes, storage
from cityseg_utils.active_learning import STRATEGIES, Pool, Seen
from cityseg_utils.annotations import UNLABELLED, AnswerLog
from cityseg_utils.errors import DataError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.preprocessing import read_image
from cityseg_utils.recipes import Recipe

SCHEME = ClassScheme("tiny", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (7, 9, 11), (0,))
SIZE = (20, 30)


def scores(rng, size=SIZE):
    raw = rng.random((*size, 3)) ** 3
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def seen():
    rng = np.random.default_rng(0)
    return Seen(scores(rng), scores(rng), rng.random(SIZE) < 0.3)


@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_is_asked_twice_and_a_seed_asks_the_same(seen, name):
    chosen = [STRATEGIES[name](seen, 10, np.random.default_rng(3)) for _ in range(2)]
    assert len(set(chosen[0])) == 10
    assert (chosen[0] == chosen[1]).all()
    assert not seen.asked.ravel()[chosen[0]].any()
    assert set(chosen[0]) != set(STRATEGIES[name](seen, 10, np.random.default_rng(4)))


@pytest.mark.parametrize("name", STRATEGIES)
def test_all_that_is_left_can_be_asked(seen, name):
    chosen = STRATEGIES[name](seen, len(seen.free), np.random.default_rng(0))
    assert sorted(chosen) == seen.free.tolist()


@pytest.mark.parametrize("name", ["stratified random", "stratified margin"])
def test_stratified_ones_ask_about_rare_predictions_as_often(name):
    likely = np.zeros((*SIZE, 3), np.float32)
    likely[..., 0] = 1
    likely[0, :20] = (0, 1, 0)  # a thirtieth of the pixels
    seen = Seen(likely, likely, np.zeros(SIZE, bool))
    chosen = STRATEGIES[name](seen, 30, np.random.default_rng(0))
    rare = likely.argmax(-1).ravel()[chosen]
    assert 8 <= rare.sum() <= 20


def test_margin_asks_among_the_least_sure_twentieth(seen):
    chosen = STRATEGIES["margin"](seen, 10, np.random.default_rng(0))
    margins = active_learning.margins(seen.scores).ravel()
    limit = np.sort(margins[seen.free])[round(0.05 * len(seen.free)) - 1]
    assert (margins[chosen] <= limit).all()
    assert len(set(chosen) & set(seen.free[np.argsort(margins[seen.free])[:10]])) < 10


def test_disagreement_asks_where_the_mirror_image_is_answered_otherwise():
    one = np.tile(np.float32([0.9, 0.05, 0.05]), (*SIZE, 1))
    other = one.copy()
    other[3, :25] = (0.05, 0.05, 0.9)
    seen = Seen(one, other, np.zeros(SIZE, bool))
    chosen = STRATEGIES["disagreement"](seen, 20, np.random.default_rng(0))
    assert set(chosen // SIZE[1]) <= {2, 3, 0, 1} and (chosen // SIZE[1] == 3).sum() >= 14


def test_noise_is_gone_in_late_rounds(seen):
    late = Seen(seen.scores, seen.other, seen.asked, round=40)
    chosen = STRATEGIES["stratified margin"](late, 30, np.random.default_rng(0))
    margins = active_learning.margins(seen.scores).ravel()
    classes = seen.scores.argmax(-1).ravel()
    for k in range(3):
        mine = chosen[classes[chosen] == k]
        free = seen.free[classes[seen.free] == k]
        assert set(mine) == set(free[np.argsort(margins[free], kind="stable")[: len(mine)]])


# -- pool and campaign ----------------------------------------------------------------------------


@pytest.fixture
def pairs(patchwork):
    return patchwork(3, [7, 9, 11, 0])


def test_answers_of_an_oracle_are_the_truth_at_the_pixels_that_were_asked(pairs, tmp_path):
    pool = Pool(pairs, SCHEME, (32, 32), AnswerLog(tmp_path / "log", SCHEME))
    oracle = annotations.Oracle(pairs, SCHEME)
    look = active_learning.blindly(3, (32, 32))
    rng = np.random.default_rng(0)
    pool.ask(oracle, pool.questions(STRATEGIES["random"], 30, look, rng))
    small = pool.write(tmp_path / "small")
    for name, mask in zip(pool.names, small["mask"], strict=True):
        labels = pool.labels(name)
        assert (labels != UNLABELLED).sum() == 30
        truth = oracle.truth(name)[1::2, 1::2]
        assert (labels == truth)[labels != UNLABELLED].all()
        written = SCHEME.remap(storage.read_picture(mask, color=False))
        assert (written == np.where(labels == UNLABELLED, VOID, labels)).all()
    assert (pool.labels("x/1") == VOID).any()  # void is asked for, answered and paid


def test_a_superpixel_is_asked_about_once_and_gets_its_commonest_label(pairs, tmp_path):
    pool = Pool(pairs, SCHEME, (32, 32), AnswerLog(tmp_path / "log", SCHEME), parts=60)
    oracle, rng = annotations.Oracle(pairs, SCHEME), np.random.default_rng(0)
    look = active_learning.blindly(3, (32, 32))
    questions = pool.questions(STRATEGIES["random"], 4, look, rng)
    for asked, segments in zip(questions, pool.segments, strict=True):
        parts = [np.unique(segments.ravel()[annotations.numbers(x)]) for x in asked]
        assert all(len(part) == 1 for part in parts)
        assert len({int(part[0]) for part in parts}) == 4
    pool.ask(oracle, questions)
    frame = pool.names[0]
    labels, truth = pool.log.labels(frame, (64, 64)), oracle.truth(frame)
    for pixels in questions[0]:
        places = annotations.numbers(pixels)
        (said,) = np.unique(labels.ravel()[places])
        assert (truth.ravel()[places] == said).mean() >= 0.25
        assert said == np.bincount(truth.ravel()[places]).argmax()
    assert annotations.clicks(pool.log.answers) == 12


RECIPE = Recipe(
    backbone=models.SMALL,
    size=(32, 32),
    batch_size=2,
    loss="weighted cross-entropy",
    precision="float32",
    steps=2,
    refresh=0,
)


def test_a_campaign_goes_on_where_it_was_and_its_first_round_is_that_of_all(pairs, tmp_path):
    runs = tmp_path / "runs"

    def run(strategy, name, rounds):
        folder = tmp_path / name
        steps = active_learning.campaign(
            strategy, (4, 8), pairs, SCHEME, RECIPE, 0, folder, runs=runs
        )
        found = [next(steps) for _ in range(rounds)]
        return found, AnswerLog(folder / "answers.jsonl", SCHEME)

    (first, second), log = run("margin", "whole", 2)
    assert (first[0], second[0], len(log.answers)) == (4, 8, 24)
    shutil.copytree(tmp_path / "whole", tmp_path / "broken off")
    for folder in runs.glob("round-1-*"):
        shutil.rmtree(folder)
    for _ in range(5):  # as if killed in the second round
        AnswerLog(tmp_path / "broken off" / "answers.jsonl", SCHEME).undo()
    (_, again), other = run("margin", "broken off", 2)
    assert other.answers == log.answers
    for one, two in zip(second[1].model.weights, again[1].model.weights, strict=True):
        assert (one.numpy() == two.numpy()).all()
    there = set(runs.iterdir())
    assert run("random", "another", 1)[1].answers == log.answers[:12]
    assert set(runs.iterdir()) == there  # and is trained once


def test_a_campaign_s_folder_is_of_one_way_to_ask_in_these_rounds(pairs, tmp_path):
    """Else answers of another strategy, or a part of a round, would pass for what was asked."""

    def run(strategy="random", budgets=(4, 8), seed=0, parts=None, pairs=pairs):
        steps = active_learning.campaign(
            strategy, budgets, pairs, SCHEME, RECIPE, seed, tmp_path / "one", parts=parts
        )
        return [budget for budget, _ in steps]

    assert run(budgets=(4, 6)) == [4, 6]
    log = AnswerLog(tmp_path / "one" / "answers.jsonl", SCHEME)
    assert active_learning.round_ends(tmp_path / "one", log) == {4: 12, 6: 18}
    assert active_learning.round_ends(tmp_path / "one", log.first(17)) == {4: 12}
    assert run(budgets=(4, 6, 8)) == [4, 6, 8]
    for other in ({"strategy": "margin"}, {"seed": 1}, {"parts": 16}):
        with pytest.raises(DataError, match="holds another campaign"):
            run(**{"budgets": (4, 6, 8)} | other)
    with pytest.raises(DataError, match=r"in rounds of \[4, 6, 8\] .*, not of \[4, 7\]"):
        run(budgets=(4, 7))
    with pytest.raises(DataError, match="holds another campaign"):
        run(pairs=pairs.iloc[:2])
    assert run(budgets=(np.int64(4),), seed=np.int64(0)) == [4]
    rounds = tmp_path / "one" / active_learning.ROUNDS
    rounds.unlink()  # as from before there was such a file
    assert run(budgets=(4,)) == [4]
    assert active_learning.round_ends(tmp_path / "one", log) == {4: 12}
    rounds.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        run(budgets=(4,))


def test_superpixels_that_run_out_end_a_round_where_they_did(pairs, tmp_path):
    path, logs = tmp_path / "parts", []
    for _ in range(2):
        asked = active_learning.campaign("random", (6, 8), pairs, SCHEME, RECIPE, 0, path, parts=4)
        assert [budget for budget, _ in asked] == [6, 8]
        logs.append((path / "answers.jsonl").read_bytes())
    log = AnswerLog(path / "answers.jsonl", SCHEME)
    ends = active_learning.round_ends(path, log)
    assert ends[6] < 3 * 6 and ends[6] <= ends[8] == len(log.answers)
    assert logs[0] == logs[1]  # nothing is asked again


class Says:
    """Somebody who gives every pixel the same label."""

    def __init__(self, label: int):
        self.label = label

    def answer(self, frame, pixels):
        return annotations.Answer(frame, pixels, self.label)


def test_what_is_answered_is_what_is_learned(pairs, tmp_path):
    image = np.stack([read_image(path, (32, 32)) for path in pairs["image"]]) / np.float32(255)
    found = {}
    for label in (0, 1):
        pool = Pool(pairs, SCHEME, (32, 32), AnswerLog(tmp_path / f"{label}.jsonl", SCHEME))
        look, rng = active_learning.blindly(3, (32, 32)), np.random.default_rng(0)
        pool.ask(Says(label), pool.questions(STRATEGIES["random"], 20, look, rng))
        learned = recipes.train(
            RECIPE.but(steps=30, average=0, learning_rate=5e-3),
            pool.write(tmp_path / f"{label}"),
            SCHEME,
        )
        found[label] = learned.model.predict(image, verbose=0).mean(axis=(0, 1, 2))
    assert found[0][0] > 0.5 > found[1][0]
    assert found[1][1] > 0.5 > found[0][1]
