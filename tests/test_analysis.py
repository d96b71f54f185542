import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cityseg_utils.analysis import (
    Calibration,
    bootstrap,
    bootstrap_gains,
    boundary_band,
    confusions,
    fit_temperature,
    found_by_size,
    image_table,
    interval,
    row_band,
    sharpen,
    trimap,
)
from cityseg_utils.errors import LabelError, ShapeError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.metrics import ConfusionMatrix

THREE = ClassScheme("three", ("road", "car", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (0, 1, 2))
masks = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, VOID]))


def scored(truth, prediction):
    matrix = ConfusionMatrix.for_scheme(THREE)
    return matrix.update(np.array(truth, np.uint8), np.array(prediction, np.uint8))


# -- images ---------------------------------------------------------------------------------------


def test_the_worst_image_comes_first_with_its_worst_class():
    good = scored([[0, 0, 1, 1]], [[0, 0, 1, 1]])
    bad = scored([[0, 0, 0, 1]], [[0, 0, 2, 0]])  # road 2 of 4, car 0 of 1, sky a false alarm
    table = image_table([good, bad], ["good", "bad"])
    assert table.index.tolist() == ["bad", "good"]
    assert table.loc["bad"].tolist() == [pytest.approx((2 / 4 + 0 + 0) / 3), 2 / 4, "car", 0]
    assert table.loc["good", "mean IoU"] == 1


def test_a_bootstrap_of_equal_images_knows_for_sure():
    result = bootstrap([scored([[0, 0, 1]], [[0, 1, 1]])] * 5)
    assert result.index.tolist() == ["road", "car", "sky", "mean"]
    np.testing.assert_allclose(result.loc["road"], 1 / 2)
    np.testing.assert_allclose(result.loc["mean"], 1 / 2)
    assert result.loc["sky"].isna().all()


def test_a_bootstrap_covers_the_truth_about_as_often_as_it_says():
    """Images whose one class is right in a share of the pixels drawn around 0.6."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        matrices = []
        for share in rng.uniform(0.4, 0.8, 20):
            matrix = ConfusionMatrix(2)
            matrix.counts[0, :2] = round(1000 * share), 1000 - round(1000 * share)
            matrices.append(matrix)
        low, high = bootstrap(matrices, 200, 0.9).loc[0, ["low", "high"]]
        covered += low <= 0.6 <= high
    assert 160 <= covered <= 192  # 180 expected; percentile intervals of 20 images are a bit short


def test_a_bootstrap_is_the_same_again():
    matrices = [scored([[0, 1, 2]], [[0, k, 2]]) for k in (0, 1, 2, 1)]
    assert bootstrap(matrices, seed=3).equals(bootstrap(matrices, seed=3))


def test_the_interval_of_the_mean_iou_is_that_of_the_bootstrap():
    matrices = [scored([[0, 1, 2]], [[0, k, 2]]) for k in (0, 1, 2, 1)]
    before = [matrix.counts.copy() for matrix in matrices]
    expected = bootstrap(matrices, seed=3).loc["mean", ["low", "high"]]
    assert interval(matrices, ConfusionMatrix.mean_iou, seed=3) == pytest.approx(tuple(expected))
    low, high = interval(matrices, ConfusionMatrix.pixel_accuracy)
    assert low < 10 / 12 < high  # two images have 2 of 3 right, two all
    for matrix, counts in zip(matrices, before, strict=True):
        np.testing.assert_array_equal(matrix.counts, counts)


def test_what_is_hard_in_an_image_drops_out_of_a_gain():
    """Of 100 pixels each model finds one more than the other, in images from hard to easy."""
    ones, others = (
        [
            scored([[0] * 100], [[0] * (found + more) + [1] * (100 - found - more)])
            for found in range(10, 90, 10)
        ]
        for more in (0, 1)
    )
    gain = bootstrap_gains(ones, others).loc["road"]
    np.testing.assert_allclose(gain, 0.01, atol=1e-9)
    alone = bootstrap(ones).loc["road"]
    assert alone["high"] - alone["low"] > 0.2
    assert (bootstrap_gains(ones, ones).loc[["road", "car", "mean"]] == 0).all(None)
    with pytest.raises(ValueError, match="8 and 7"):
        bootstrap_gains(ones, others[1:])


def test_confusions_by_hand():
    table = confusions(scored([[0, 0, 0, 1, 1]], [[1, 1, 0, VOID, 1]]))
    assert table.to_numpy().tolist() == [["road", "car", 2, 2 / 3], ["car", "void", 1, 1 / 3]]
    assert confusions(scored([[0]], [[0]])).empty


# -- places ---------------------------------------------------------------------------------------


def test_a_band_by_hand():
    """A border between columns 2 and 3: one pixel of the band on either side, then two."""
    mask = np.repeat([[0, 0, 0, 1, 1, 1, 1]], 3, axis=0)
    assert boundary_band(mask, 1)[1].tolist() == [False, False, True, True, False, False, False]
    assert boundary_band(mask, 2)[1].tolist() == [False, True, True, True, True, False, False]
    assert (boundary_band(mask.T, 2) == boundary_band(mask, 2).T).all()
    assert (boundary_band(mask[:, ::-1], 2) == boundary_band(mask, 2)[:, ::-1]).all()
    assert not boundary_band(np.zeros((3, 3), np.uint8), 5).any()


@given(masks)
def test_wider_bands_hold_narrower_ones(mask):
    bands = [boundary_band(mask, width) for width in (1, 2, 4, 20)]
    for narrow, wide in itertools.pairwise(bands):
        assert (wide | ~narrow).all()
    if len(np.unique(mask)) > 1:
        assert bands[-1].all()


@given(masks, masks)
def test_a_trimap_as_wide_as_the_image_is_the_image(truth, prediction):
    if len(np.unique(truth)) > 1:
        assert (trimap(truth, prediction, 99) == truth).all()


@given(masks, st.integers(1, 8))
def test_row_bands_part_the_image(truth, bands):
    parts = np.stack([row_band(truth, band, bands) for band in range(bands)])
    assert ((parts != VOID).sum(0) == (truth != VOID)).all()
    assert (parts.min(0) == truth).all()


def test_pieces_by_hand():
    """Two cars: one of three pixels, two of them found, and one of a pixel, missed."""
    truth = np.array([[1, 1, 1, 0, 0, 1]], np.uint8)
    prediction = np.array([[1, 1, 0, 0, 0, 0]], np.uint8)
    table = found_by_size(truth, prediction, THREE)
    assert table.to_numpy().tolist() == [["road", 2, 1], ["car", 3, 2 / 3], ["car", 1, 0]]
    cars = found_by_size(truth, prediction, THREE, ["car"])
    assert cars["pixels"].tolist() == [3, 1]


# -- confidence -----------------------------------------------------------------------------------


def drawn(number, temperature, seed=0):
    """Classes drawn from probabilities, and those probabilities at a wrong temperature."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet((0.5, 0.5, 0.5), number)
    truth = (rng.random((number, 1)) > honest.cumsum(1)[:, :-1]).sum(1).astype(np.uint8)
    return truth, sharpen(honest, temperature)


def test_an_honest_model_is_calibrated():
    truth, probabilities = drawn(40_000, 1.0)
    calibration = Calibration().update(truth, probabilities)
    assert calibration.expected_error() < 0.01
    assert calibration.table()["share"].sum() == pytest.approx(1)


def test_one_that_is_too_sure_is_found_out_and_cooled():
    truth, too_sure = drawn(40_000, 0.5)
    assert Calibration().update(truth, too_sure).expected_error() > 0.08
    temperature = fit_temperature(truth, too_sure)
    assert temperature == pytest.approx(2.0, rel=0.05)
    cooled = sharpen(too_sure, temperature)
    assert Calibration().update(truth, cooled).expected_error() < 0.01
    np.testing.assert_array_equal(cooled.argmax(-1), too_sure.argmax(-1))


def test_calibration_by_hand():
    """Confidence 0.9 twice, right once; 0.6 once, right; one void pixel."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    calibration = Calibration(2).update(np.array([0, 1, 1, VOID]), probabilities)
    assert calibration.pixels.tolist() == [0, 3]
    assert calibration.table().loc[1.0].tolist() == pytest.approx([1, 0.8, 2 / 3])
    assert calibration.expected_error() == pytest.approx(0.8 - 2 / 3)


@given(arrays(np.float64, (5, 3), elements=st.floats(0.01, 1)), st.floats(0.2, 5))
def test_sharpened_probabilities_are_probabilities(scores, temperature):
    probabilities = scores / scores.sum(-1, keepdims=True)
    sharp = sharpen(probabilities, temperature)
    np.testing.assert_allclose(sharp.sum(-1), 1)
    np.testing.assert_allclose(sharpen(probabilities, 1.0), probabilities, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError):
        trimap(np.zeros((2, 2)), np.zeros((2, 3)), 1)
    with pytest.raises(ShapeError):
        Calibration().update(np.zeros((2, 2)), np.zeros((2, 3, 4)))
    with pytest.raises(LabelError, match="NaN"):
        Calibration().update(np.zeros(1, int), np.full((1, 2), math.nan))
    with pytest.raises(LabelError, match="all pixels are void"):
        fit_temperature(np.full(3, VOID), np.full((3, 2), 0.5))
