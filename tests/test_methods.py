"""Learning from frames without labels, and against a discriminator."""

import shutil

import numpy as np
import pandas as pd
import pytest

from cityseg_utils import adversarial, recipes, training
from cityseg_utils.adversarial import Adversarial
from cityseg_utils.augmentation import ClassMix, CutMix
from cityseg_utils.datasets import find_pairs, hide_masks
from cityseg_utils.errors import DataError, ShapeError
from cityseg_utils.framework import load_tensorflow, set_seed
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.losses import DiceLoss
from cityseg_utils.pipeline import make_dataset
from cityseg_utils.recipes import Recipe
from cityseg_utils.semi_supervised import MeanTeacher

tf = load_tensorflow()

SIZE, CLASSES = (8, 16), 3
RECIPE = Recipe(
    backbone="efficientnetlite0",
    size=(32, 64),
    batch_size=2,
    loss="dice",
    average=0.8,
    refresh=2,
    steps=3,
)


@pytest.fixture(scope="module")
def train_pairs(tiny_city):
    return find_pairs(tiny_city).query("split == 'train'").reset_index(drop=True)


def network(classes=CLASSES):
    """A small network with BatchNorm."""
    set_seed(0)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", input_shape=(*SIZE, 3)),
            layers.BatchNormalization(momentum=0.9),
            layers.Conv2D(classes, 1, activation="softmax"),
        ]
    )


def learner(method, warm=0, classes=CLASSES):
    model = method.build(network(classes), 10, 0, np.array([100, 50, 1]))
    model.warm_steps = warm
    model.compile(tf.keras.optimizers.Adam(0.01), DiceLoss())
    return model


def sets(pairs):
    """Data sets of MiniCity, four frames with labels and four without."""
    labelled, others = MeanTeacher().frames(hide_masks(pairs, 4))
    options = {"scheme": CITYSCAPES, "size": SIZE, "batch_size": 2, "shuffle": True}
    return {
        "labelled": make_dataset(labelled, **options),
        "unlabelled": make_dataset(others, unlabelled=True, **options),
    }


def fit(model, data, runs, **options):
    run = training.fit(model, data, steps=6, runs=runs, progress=False, **options)
    return model, run


def batches(seed=0, number=2):
    """A labelled batch, in which the first column is void, and one without labels."""
    rng = np.random.default_rng(seed)
    images, others = (tf.constant(rng.random((number, *SIZE, 3)), tf.float32) for _ in range(2))
    truth = tf.one_hot(rng.integers(0, CLASSES, (number, *SIZE)), CLASSES).numpy()
    truth[:, :, 0] = 0
    return {
        "labelled": (images, tf.constant(truth)),
        "unlabelled": (others, tf.zeros((number, *SIZE, CLASSES))),
    }


def weights(model):
    return [x.numpy() for x in model.trainable_weights]


def all_equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


METHODS = {
    "paste": MeanTeacher(rare_first=True),
    "cutmix": MeanTeacher(mix=CutMix(own=True), paste=False, loss="dice"),
    "truth": Adversarial(),
    "confident": Adversarial(confident=0.2, soften=0.9),
    "source": Adversarial(against="source"),
}


# -- what trains what ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_before_it_begins_only_the_network_learns_and_only_from_labels(name):
    model, plain = learner(METHODS[name], warm=2), network()
    plain.compile(tf.keras.optimizers.Adam(0.01), DiceLoss())
    rival = getattr(model, "discriminator", None)
    before = weights(rival) if rival else []
    for seed in range(2):
        data = batches(seed)
        model.train_step(data)
        plain.train_step(data["labelled"])
    assert all_equal(model.predictor.get_weights(), plain.get_weights())
    assert all_equal(weights(rival) if rival else [], before)
    model.train_step(batches(2))
    plain.train_step(batches(2)["labelled"])
    assert not all_equal(weights(model.predictor), weights(plain))


@pytest.mark.parametrize(
    "method",
    [
        MeanTeacher(weight=0),
        MeanTeacher(mix=CutMix(own=True), paste=False, weight=0),
        Adversarial(weight=0),
        Adversarial(against="source", weight=0),
    ],
    ids=["paste", "cutmix", "truth", "source"],
)
def test_with_weight_0_the_rest_runs_and_changes_nothing(method, train_pairs, tmp_path):
    """Trainable weights are those of labels alone to the last bit, BatchNorm's when refreshed."""
    data = sets(train_pairs)
    model, run = fit(learner(method, 2, CITYSCAPES.num_classes), data, tmp_path, refresh=2)
    plain = network(CITYSCAPES.num_classes)
    plain.compile(tf.keras.optimizers.Adam(0.01), DiceLoss())
    plain, plain_run = fit(plain, data["labelled"], tmp_path, refresh=2)
    np.testing.assert_array_equal(run.losses, plain_run.losses)
    assert all_equal(model.predictor.get_weights(), plain.get_weights())
    last = run.history.iloc[-1]
    assert last.get("agreement", last.get("told apart")) > 0


@pytest.mark.parametrize("name", METHODS)
def test_labels_that_are_all_void_teach_nothing(name):
    model, data = learner(METHODS[name]), batches()
    images, truth = data["labelled"]
    before = weights(model.predictor)
    logs = model.alone(data | {"labelled": (images, tf.zeros_like(truth))})
    assert float(logs["loss"]) == 0
    assert all_equal(weights(model.predictor), before)


# -- the teacher -----------------------------------------------------------------------------------


def test_the_teacher_is_the_average_of_its_students():
    model = learner(MeanTeacher(momentum=0.8))
    expected = [x.copy() for x in model.predictor.get_weights()]
    for seed in range(4):
        model.train_step(batches(seed))
        for mine, its in zip(expected, model.predictor.get_weights(), strict=True):
            mine += np.float32(1 - 0.8) * (its - mine)
    for mine, its in zip(expected, model.teacher.get_weights(), strict=True):
        np.testing.assert_allclose(its, mine, rtol=2e-6, atol=1e-7)


def test_what_is_kept_with_the_same_momentum_is_the_teacher(train_pairs, tmp_path):
    model = learner(MeanTeacher(momentum=0.8), 2, CITYSCAPES.num_classes)
    fit(model, sets(train_pairs), tmp_path, average=0.8)
    for mine, its in zip(model.predictor.weights, model.teacher.weights, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_a_fixed_teacher_stays_as_the_first_round_left_it():
    model, teachers = learner(MeanTeacher(fixed=True), warm=2), []
    for seed in range(4):
        model.train_step(batches(seed))
        teachers.append(model.teacher.get_weights())
    assert not all_equal(teachers[0], teachers[1])
    assert all_equal(teachers[1], teachers[2])
    assert all_equal(teachers[1], teachers[3])


# -- mixing ----------------------------------------------------------------------------------------


def painted(values):
    """Pictures, ``(N, H, W, 3)``, whose every pixel tells its frame and place."""
    number = len(values)
    places = np.arange(number * SIZE[0] * SIZE[1]).reshape(number, *SIZE, 1) / 1e4
    return tf.constant(np.repeat(places + np.reshape(values, (-1, 1, 1, 1)), 3, -1), tf.float32)


@pytest.mark.parametrize("mix", [ClassMix(), CutMix(own=True)], ids=["classes", "windows"])
@pytest.mark.parametrize("paste", [True, False], ids=["of labelled frames", "of others"])
def test_pictures_labels_and_weights_are_mixed_alike(mix, paste):
    model = learner(MeanTeacher(mix=mix, paste=paste, strong=None, threshold=0.4))
    images, others = painted([10, 20]), painted([30, 40])
    truth = batches()["labelled"][1]
    mixed, labels, weights, sure = model.mixture(images, truth, others)
    teacher = model.teacher(others, training=False).numpy()
    guesses, sure_of = teacher.argmax(-1), teacher.max(-1) >= np.float32(0.4)
    assert float(sure) == pytest.approx(sure_of.mean())
    of_others = np.isclose(mixed, others).all(-1)
    assert of_others.any() and not of_others.all()
    if paste:
        donor, true = images.numpy(), truth.numpy().argmax(-1)
        donor_weights = np.ones_like(sure_of)
        assert of_others[:, :, 0].all()  # void is never pasted
    else:
        donor, true, donor_weights = (np.roll(x, 1, 0) for x in (others, guesses, sure_of))
    np.testing.assert_allclose(np.where(of_others[..., None], others, donor), mixed)
    np.testing.assert_array_equal(np.where(of_others, guesses, true), labels)
    np.testing.assert_array_equal(np.where(of_others, sure_of, donor_weights), weights)


@pytest.mark.parametrize("strong_on", ["others", "mixture"])
def test_colours_change_before_or_after_pasting(strong_on):
    model = learner(MeanTeacher(strong=darken, strong_on=strong_on))
    images, truth = batches()["labelled"]
    mixed = model.mixture(images, truth, painted([3, 4]))[0]
    of_others = (mixed > 1).numpy().all(-1)  # half of 3 or 4 is more than any labelled pixel has
    pasted = images.numpy() / (2 if strong_on == "mixture" else 1)
    expected = np.where(of_others[..., None], painted([3, 4]) / 2, pasted)
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    assert of_others.any() and not of_others.all()


def darken(image, mask, seed):
    return image / 2, mask


def test_whole_classes_are_pasted_and_rare_ones_more_often():
    donors = tf.constant(np.arange(64).reshape(1, 8, 8) // 22, tf.uint8)  # 0, 1, 2
    pasted = np.zeros(3)
    for key in range(400):
        where = ClassMix((0.5, 0.25, 0.0)).where(donors, tf.constant([0, key])).numpy()
        shares = [where[donors == k].mean() for k in range(3)]
        assert set(shares) <= {0.0, 1.0}
        pasted += shares
    assert pasted[2] == 0
    assert pasted[:2] / 400 == pytest.approx([0.5, 0.25], abs=0.08)
    assert learner(MeanTeacher(rare_first=True)).mix == ClassMix((0.25, 0.25, 0.5))


def test_windows_of_their_own_differ():
    donors = tf.zeros((6, 32, 64), tf.uint8)
    shared, own = (CutMix(own=x).where(donors, tf.constant([1, 2])).numpy() for x in (False, True))
    assert (shared == shared[:1]).all()
    assert len({x.tobytes() for x in own}) == 6
    assert (own.mean((1, 2)) > 0.05).all() and (own.mean((1, 2)) < 0.55).all()


def test_void_that_a_window_brings_along_costs_nothing():
    answer = tf.constant([[[[0.5, 0.5], [0.1, 0.9]]]])
    labels, ones = tf.constant([[[0, 255]]], tf.uint8), tf.ones((1, 1, 2))
    loss = learner(MeanTeacher()).mixed_loss(labels, answer, ones)
    assert float(loss) == pytest.approx(np.log(2) / 2)


def test_unsure_pixels_count_less():
    answer = tf.constant([[[[0.5, 0.5], [0.1, 0.9]]]])
    labels, half = tf.constant([[[0, 0]]], tf.uint8), tf.constant([[[1.0, 0.5]]])
    model = learner(MeanTeacher())
    expected = (np.log(2) + 0.5 * np.log(10)) / 2
    assert float(model.mixed_loss(labels, answer, half)) == pytest.approx(expected)
    model = learner(MeanTeacher(loss="dice"))
    # Of the first pixel alone: 1 - 2 * 0.5 / (1 + 0.5).
    only_first = tf.constant([[[1.0, 0.0]]])
    assert float(model.mixed_loss(labels, answer, only_first)) == pytest.approx(1 / 3, abs=1e-5)


# -- the discriminator -----------------------------------------------------------------------------


def test_the_discriminator_learns_a_toy_rule():
    """Columns are the first kind, rows the second."""
    set_seed(0)
    model = learner(Adversarial(shrink=1, rate=1e-3))
    rng = np.random.default_rng(0)
    for _ in range(150):
        columns = np.repeat(rng.integers(0, CLASSES, (8, 1, 16)), 16, 1)
        rows = np.repeat(rng.integers(0, CLASSES, (8, 16, 1)), 16, 2)
        first, second = (tf.one_hot(x, CLASSES) for x in (columns, rows))
        _, told_apart = model.teach(first, second)
    assert float(told_apart) > 0.95
    assert (
        float(tf.reduce_mean(model.judge(first))) > 0 > float(tf.reduce_mean(model.judge(second)))
    )


def test_a_softened_truth_is_no_sharper_than_the_answer():
    truth = tf.constant([[[[1.0, 0, 0], [0, 1, 0], [0, 0, 0]]]])
    answer = tf.constant([[[[0.95, 0.04, 0.01], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]]])
    soft = adversarial.soften(truth, answer, 0.9).numpy()[0, 0]
    np.testing.assert_allclose(soft[0], [0.95, 0.04, 0.01], rtol=1e-4)
    np.testing.assert_allclose(soft[1], [0.1 * 6 / 7, 0.9, 0.1 / 7], rtol=1e-4)
    np.testing.assert_array_equal(soft[2], 0)


def test_the_discriminator_sees_no_void():
    model, seen = learner(METHODS["truth"]), []
    judge = model.judge
    model.judge = lambda maps: (seen.append(maps.numpy()), judge(maps))[1]
    model.together(batches())
    assert len(seen) == 3
    for maps in seen:
        assert (maps[:, :, 0] == 0).all()
        assert (maps[:, :, 1:].sum(-1) > 0.99).all()


def test_only_the_network_is_pushed_to_fool_and_only_the_other_to_tell_apart():
    model = learner(Adversarial(weight=1000.0))
    before = weights(model.predictor), weights(model.discriminator)
    model.discriminator_optimizer.learning_rate = 0.0
    model.together(batches())
    assert not all_equal(weights(model.predictor), before[0])
    assert all_equal(weights(model.discriminator), before[1])
    before = weights(model.predictor)
    model.discriminator_optimizer.learning_rate = 0.1
    model.optimizer.learning_rate = 0.0
    model.together(batches())
    assert all_equal(weights(model.predictor), before)


# -- as a recipe -----------------------------------------------------------------------------------


def test_a_recipe_trains_with_frames_whose_mask_files_are_gone(train_pairs, tmp_path):
    folder = shutil.copytree(train_pairs["image"][0].parents[3], tmp_path / "city")
    full, val = (find_pairs(folder).query(f"split == '{split}'") for split in ("train", "val"))
    pairs = hide_masks(full, 4)
    for path in full["mask"][pairs["mask"].isna()]:
        path.unlink()
    recipe = RECIPE.but(method=MeanTeacher(batch_size=2, refresh_on="unlabelled"))
    run, model = recipes.fit(recipe.but(steps=None), pairs, val, CITYSCAPES, epochs=1, seed=1)
    assert run.result["steps"] == 2
    assert 0 < run.history["val_mean_iou"].item() < 1
    assert model.output_shape[-1] == CITYSCAPES.num_classes


def test_a_method_says_what_differs_from_the_default():
    assert repr(MeanTeacher()) == "MeanTeacher()"
    assert repr(MeanTeacher(weight=0.5, batch_size=2)) == "MeanTeacher(batch_size=2, weight=0.5)"
    assert repr(Adversarial(soften=0.9)) == "Adversarial(soften=0.9)"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MeanTeacher(batch_size=1), "batch_size must be 2 or more"),
        (lambda: MeanTeacher(threshold=1.1), "threshold must be from 0 to 1"),
        (lambda: MeanTeacher(momentum=-0.1), "momentum must be from 0 to 1"),
        (lambda: MeanTeacher(loss="hinge"), "loss must be one of"),
        (lambda: MeanTeacher(strong_on="all"), "strong_on must be"),
        (lambda: MeanTeacher(share=True, loss="dice"), "weighs pixels"),
        (lambda: MeanTeacher(mix=CutMix(), rare_first=True), "rare_first=True is for"),
        (lambda: Adversarial(warm=2), "warm must be from 0 to 1"),
        (lambda: Adversarial(against="all"), "against must be one of"),
        (lambda: Adversarial(confident=float("nan")), "confident must be from 0 to 1"),
        (lambda: Adversarial(against="source", soften=0.9), "sees the truth"),
        (lambda: Recipe(method=Adversarial(), seconds=9), "a budget of steps"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_frames_that_must_not_be_learned_from_are_refused(train_pairs, tiny_city, tmp_path):
    method = MeanTeacher()
    half = hide_masks(train_pairs, 4)
    cases = {
        "every frame has a mask": train_pairs,
        "not one frame has a mask": train_pairs.assign(mask=None),
        "with and without their mask": pd.concat([train_pairs, half[half["mask"].isna()].iloc[:1]]),
        "of the test split": find_pairs(tiny_city),
    }
    for says, pairs in cases.items():
        with pytest.raises(DataError, match=says):
            recipes.train(RECIPE.but(method=method), pairs, CITYSCAPES, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert Adversarial().frames(half)[1].empty
    labelled, own = MeanTeacher(own_frames=True).frames(half)
    assert list(own["image"]) == list(labelled["image"]) and own["mask"].isna().all()


def test_other_classes_are_refused():
    with pytest.raises(ShapeError, match="tells 3 classes apart, and the labelled frames have 19"):
        data = batches()
        images, _ = data["labelled"]
        learner(MeanTeacher()).train_step(data | {"labelled": (images, tf.zeros((2, *SIZE, 19)))})


def test_masks_are_hidden_as_the_seed_says(train_pairs):
    kept = [
        set(np.flatnonzero(hide_masks(train_pairs, number, seed)["mask"].notna()))
        for number, seed in [(3, 0), (3, 0), (5, 0), (3, 1)]
    ]
    assert len(kept[0]) == 3 and kept[0] == kept[1] and kept[0] < kept[2] and kept[0] != kept[3]
    with pytest.raises(DataError, match="8 frames have a mask; 9 cannot keep theirs"):
        hide_masks(train_pairs, 9)
