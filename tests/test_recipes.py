import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityseg_utils import models, prediction, recipes
from cityseg_utils.augmentation import Flip
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import CAMVID, CITYSCAPES
from cityseg_utils.losses import CrossEntropy, DiceLoss, SumOfLosses, TverskyLoss
from cityseg_utils.preprocessing import read_mask
from cityseg_utils.recipes import Recipe, rate

tf = load_tensorflow()

SMALL = Recipe("Linknet", "mobilenetv2", size=(32, 64), batch_size=4, refresh=2, steps=3)


@pytest.fixture(scope="module")
def train_pairs(tiny_city):
    return find_pairs(tiny_city).query("split == 'train'")


@pytest.fixture(scope="module")
def trained(train_pairs):
    return recipes.train(SMALL, train_pairs, CITYSCAPES, seed=0)


def same(one, other):
    return all(
        np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True)
    )


@given(st.sampled_from(recipes.SCHEDULES), st.floats(0, 1.2))
def test_the_rate_never_exceeds_its_peak_nor_vanishes(schedule, progress):
    recipe = Recipe(schedule=schedule, learning_rate=0.01)
    assert 0 < rate(recipe, progress) <= 0.01


def test_the_rate_by_hand():
    constant, cosine, cycle, rising = (Recipe(schedule=name) for name in recipes.SCHEDULES)
    assert [rate(constant, p) for p in (0, 0.5, 1)] == [1e-3] * 3
    assert [rate(cosine, p) for p in (0, 0.5, 1)] == pytest.approx([1e-3, 5.05e-4, 1e-5])
    expected = [1e-4, 5.5e-4, 1e-3, 5.05e-4, 1e-5]
    assert [rate(cycle, p) for p in (0, 0.125, 0.25, 0.625, 1)] == pytest.approx(expected)
    assert [rate(rising, p) for p in (0, 0.5, 1)] == pytest.approx([1e-9, 1e-6, 1e-3])


def test_a_recipe_says_what_differs_from_the_default():
    assert str(Recipe()) == "Recipe()"
    assert str(Recipe(steps=9, augment=Flip())) == "Recipe(augment=Flip(), steps=9)"
    assert Recipe(steps=9).but(steps=7) == Recipe(steps=7)


@pytest.mark.parametrize("what", ["loss", "schedule", "architecture", "precision"])
def test_unknown_words_are_refused_at_once(what):
    with pytest.raises(ValueError, match=f"{what} must be one of"):
        Recipe(**{what: "random"})


@pytest.mark.parametrize(
    ("what", "values"),
    {
        "steps": [0, -1, 2.5, np.nan, np.inf],
        "seconds": [0, -1.0, np.nan, np.inf],
        "learning_rate": [0, -1e-3, np.nan, np.inf],
        "weight_decay": [-1e-4, np.nan],
        "batch_size": [0, -8, 1.5],
        "refresh": [-1, 0.5],
        "repeat": [-0.1, np.nan],
        "average": [-0.1, 1, 1.5, np.nan],
        "batch_norm_momentum": [-0.1, 1, np.nan],
        "size": [(0, 128), (-32, 128), (128,), (128, 100), (100, 128)],
    }.items(),
)
def test_numbers_that_make_no_sense_are_refused_at_once(what, values):
    for value in values:
        with pytest.raises(ValueError, match=what if what != "size" else "size|multiples of 32"):
            Recipe(**{what: value})


def test_pspnet_sees_multiples_of_48():
    assert Recipe("PSPNet", size=(96, 192)).size == (96, 192)
    with pytest.raises(ValueError, match="PSPNet needs multiples of 48"):
        Recipe("PSPNet", size=(64, 128))


@pytest.mark.parametrize("budget", [{}, {"steps": 3, "seconds": 1.0}])
def test_there_is_one_budget(train_pairs, budget):
    with pytest.raises(ValueError, match="either steps"):
        recipes.train(Recipe(**budget), train_pairs, CITYSCAPES)


def test_losses_by_name():
    kinds = {name: recipes.make_loss(Recipe(loss=name), [100, 25, 1]) for name in recipes.LOSSES}
    assert isinstance(kinds["dice"], DiceLoss)
    assert isinstance(kinds["cross-entropy"], CrossEntropy)
    assert isinstance(kinds["cross-entropy + dice"], SumOfLosses)
    assert kinds["focal"].focus == 2
    assert kinds["weighted cross-entropy"].weights == [1, 2, 5]
    assert kinds["weighted cross-entropy + dice"].losses[0].weights == [1, 2, 5]
    assert isinstance(kinds["tversky"], TverskyLoss)
    weighted = Recipe(loss="weighted cross-entropy", largest_weight=8)
    assert recipes.make_loss(weighted, [100, 25, 1]).weights == [1, 2, 8]


def test_pixels_are_counted(train_pairs):
    masks = np.stack([read_mask(path, CITYSCAPES) for path in train_pairs["mask"]])
    expected = [(masks == k).sum() for k in range(19)]
    assert recipes.count_pixels(train_pairs, CITYSCAPES).tolist() == expected


def test_a_training_takes_its_steps_and_leaves_a_float32_model(trained, train_pairs):
    assert trained.steps == 3
    assert len(trained.losses) == 3
    assert np.isfinite(trained.losses).all()
    assert trained.model.layers[3].compute_dtype == "float32"
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    scored = prediction.evaluate(trained.model, train_pairs, CITYSCAPES, SMALL.size)
    assert 0 < scored.pixel_accuracy() < 1


@pytest.mark.slow
def test_one_seed_one_outcome(trained, train_pairs):
    again = recipes.train(SMALL, train_pairs, CITYSCAPES, seed=0)
    np.testing.assert_array_equal(again.losses, trained.losses)
    assert same(again.model, trained.model)
    other = recipes.train(SMALL, train_pairs, CITYSCAPES, seed=1)
    assert not same(other.model, trained.model)


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["seconds", "processor_seconds"])
def test_time_is_a_budget_too(train_pairs, budget):
    """How many steps there is time for is the machine's affair; what they learn is not."""
    shares = []
    timed = SMALL.but(steps=None, precision="float32", **{budget: 0.5})
    result = recipes.train(timed, train_pairs, CITYSCAPES, progress=lambda _, x: shares.append(x))
    assert result.steps == len(shares) >= 2
    assert shares == sorted(shares)
    assert shares[-1] == 1
    in_steps = SMALL.but(steps=result.steps, precision="float32")
    again = recipes.train(in_steps, train_pairs, CITYSCAPES)
    np.testing.assert_array_equal(again.losses, result.losses)
    assert same(again.model, result.model)


@pytest.mark.slow
def test_averaged_weights_lag_behind(trained, train_pairs):
    """After a few steps the average is nearer to the start than the last weights are."""
    recipes.set_seed(0)
    start = recipes.make_model(SMALL, 19).get_weights()
    averaged = recipes.train(SMALL.but(average=0.9), train_pairs, CITYSCAPES, seed=0)
    kernels = [k for k, weight in enumerate(start) if weight.ndim == 4]

    def way(model):
        return sum(np.abs(model.get_weights()[k] - start[k]).sum() for k in kernels)

    assert 0 < way(averaged.model) < 0.7 * way(trained.model)


@pytest.mark.slow
def test_first_weights_are_where_it_starts(trained, train_pairs, tmp_path):
    models.save_weights(trained.model, tmp_path / "first.npz")
    after = SMALL.but(first_weights=tmp_path / "first.npz", learning_rate=1e-9, refresh=0, steps=1)
    result = recipes.train(after, train_pairs, CITYSCAPES)
    for first, last in zip(trained.model.weights, result.model.weights, strict=True):
        if "moving" not in first.name:
            np.testing.assert_allclose(first, last, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "file"),
    [(models.SMALL, models.REFERENCE), ("resnet34", models.FIRST_REFERENCE)],
)
def test_the_reference_is_a_place_to_start_for_other_classes(backbone, file):
    recipe = Recipe(backbone=backbone, first_weights="reference")
    model = recipes.make_model(recipe, CAMVID.num_classes)
    reference = models.build_model(CITYSCAPES.num_classes, (None, None, 3), backbone)
    models.load_weights(reference, file)
    assert model.output_shape[-1] == CAMVID.num_classes
    for ours, theirs in zip(model.weights[:-2], reference.weights[:-2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_auto_is_what_the_machine_asks_for(train_pairs, monkeypatch):
    """Half precision of graphics cards, for which the loss is scaled."""
    monkeypatch.setenv("CITYSEG_PRECISION", "mixed_float16")
    result = recipes.train(SMALL, train_pairs, CITYSCAPES)
    assert result.precision == "mixed_float16"
    assert np.isfinite(result.losses).all()
    with recipes._precision(SMALL):
        assert isinstance(recipes._optimizer(SMALL), tf.keras.mixed_precision.LossScaleOptimizer)


@pytest.mark.slow
def test_a_recipe_that_names_its_precision_keeps_it(train_pairs, monkeypatch):
    monkeypatch.setenv("CITYSEG_PRECISION", "mixed_float16")
    exact = SMALL.but(precision="float32", steps=1, refresh=0)
    assert recipes.train(exact, train_pairs, CITYSCAPES).precision == "float32"


@pytest.mark.slow
def test_a_damaged_frame_is_named_in_a_few_lines(train_pairs, tmp_path):
    damaged = tmp_path / "frame.png"
    damaged.write_bytes(train_pairs["image"].iloc[5].read_bytes()[:500])
    pairs = train_pairs.assign(
        image=[*train_pairs["image"].iloc[:5], damaged, *train_pairs["image"].iloc[6:]]
    )
    with pytest.raises(DataError, match=r"frame\.png") as caught:
        recipes.train(SMALL, pairs, CITYSCAPES)
    assert len(str(caught.value).splitlines()) < 4
    assert caught.value.__suppress_context__


@pytest.mark.slow
def test_fit_notes_every_epoch_and_is_reused(train_pairs, tiny_city, own_home):
    val = find_pairs(tiny_city).query("split == 'val'")
    run, model = recipes.fit(SMALL, train_pairs, val, CITYSCAPES, epochs=2)
    assert list(run.history.index) == [1, 2]
    assert run.folder.is_relative_to(own_home)
    assert not run.reused
    again, same_model = recipes.fit(SMALL, train_pairs, val, CITYSCAPES, epochs=2)
    assert again.reused
    assert same(model, same_model)
    assert model.layers[3].compute_dtype == "float32"


@pytest.mark.slow
def test_fit_follows_the_schedule(train_pairs, tiny_city, own_home, monkeypatch):
    """Eight frames in batches of four for two epochs are four steps."""
    val = find_pairs(tiny_city).query("split == 'val'")
    asked = []
    monkeypatch.setattr(recipes, "rate", lambda _, x: asked.append(x) or 1e-3)
    recipes.fit(SMALL, train_pairs, val, CITYSCAPES, epochs=2)
    assert asked == [0, 0, 0.25, 0.5, 0.75]  # the first builds the optimizer


def test_frames_with_rare_classes_are_repeated(tmp_path, write_picture):
    """Road (id 7) is everywhere, a bus (28) in one frame of four, a car (26) in two."""
    masks = [[[7, 28]], [[7, 26]], [[7, 26]], [[7, 7]]]
    paths = [write_picture(tmp_path / f"{k}.png", mask) for k, mask in enumerate(masks)]
    pairs = pd.DataFrame({"image": paths, "mask": paths})

    def times(threshold):
        repeated = recipes.repeat_rare(pairs, CITYSCAPES, threshold)
        return [int((repeated["mask"] == path).sum()) for path in paths]

    assert times(0.25) == [1, 1, 1, 1]
    assert times(1.0)[0] == 2  # the square root of 1 / 0.25
    assert times(1.0)[3] == 1
    assert sum(times(1.0)[1:3]) in (2, 3, 4)  # 1.41 times each
    assert times(4.0) == [4, *times(4.0)[1:3], 2]
    assert times(1.0) == times(1.0)


def test_encoder_weights_of_one_s_own_are_told_by_their_content(tmp_path):
    plain = Recipe(steps=1)
    told = {recipes.first_weights_digest(plain)}
    assert told == {recipes.first_weights_digest(plain.but(encoder_weights="imagenet"))} == {None}
    own = plain.but(encoder_weights=tmp_path / "encoder.h5")
    for content in (b"one", b"two"):
        own.encoder_weights.write_bytes(content)
        told.add(recipes.first_weights_digest(own))
    assert len(told) == 3
