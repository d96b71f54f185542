import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import VOID
from cityseg_utils.losses import (
    CrossEntropy,
    DiceLoss,
    SumOfLosses,
    TverskyLoss,
    class_weights,
    soft_counts,
)

tf = load_tensorflow()

CLASSES = 4
WEIGHTS = [1.0, 2.0, 0.5, 4.0]
LOSSES = [
    DiceLoss(),
    CrossEntropy(),
    CrossEntropy(WEIGHTS, 2.0),
    SumOfLosses([CrossEntropy(), DiceLoss()], [1, 0.5]),
    TverskyLoss(),
]
masks = arrays(np.uint8, (2, 4, 4), elements=st.sampled_from([*range(CLASSES), VOID]))
logits = arrays(np.float32, (2, 4, 4, CLASSES), elements=st.floats(-4, 4, width=32))
some = settings(max_examples=30, deadline=None)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)


@every_loss
def test_a_network_of_64_bits_gets_a_loss_of_64_bits(loss):
    """In 32 bits the two pixels would be alike."""
    truth = np.eye(CLASSES)[[[[0, 0]]]]
    sure = np.array([0.5, 0.5 + 1e-12])
    answers = [np.array([[[[x, 1 - x, 0, 0]] * 2]]) for x in sure]
    a, b = (loss.call(tf.constant(truth), tf.constant(x)) for x in answers)
    assert a.dtype == b.dtype == tf.float64 and float(a) > float(b)


def encode(mask):
    """One-hot with zeros for void, by hand."""
    return (np.asarray(mask)[..., None] == np.arange(CLASSES)).astype(np.float32)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def loss_and_gradient(loss, truth, probabilities):
    probabilities = tf.constant(probabilities)
    with tf.GradientTape() as tape:
        tape.watch(probabilities)
        value = loss(truth, probabilities)
    return float(value), tape.gradient(value, probabilities).numpy()


def dice_by_hand(mask, p):
    """Average over the classes in the mask of 1 - 2 sum(t p) / (sum t + sum p)."""
    labelled, losses = mask != VOID, []
    for k in set(mask[labelled]):
        t, q = mask[labelled] == k, p[labelled][:, k].astype(np.float64)
        losses.append(1 - 2 * q[t].sum() / (t.sum() + q.sum()))
    return np.mean(losses) if losses else 0.0


def cross_entropy_by_hand(mask, p):
    labelled = mask != VOID
    likelihood = [p[labelled][i, k] for i, k in enumerate(mask[labelled])]
    return -np.log(likelihood).mean() if likelihood else 0.0


@given(masks, logits, st.sampled_from([0.0, 1.0, 2.0]))
@some
def test_weighted_and_focused_cross_entropy_equals_its_definition(mask, logits, focus):
    p, labelled = softmax(logits).astype(np.float64), mask != VOID
    likelihood = np.array([p[labelled][i, k] for i, k in enumerate(mask[labelled])])
    weights = np.array([WEIGHTS[k] for k in mask[labelled]])
    parts = -np.log(likelihood) * (1 - likelihood) ** focus * weights
    expected = parts.sum() / weights.sum() if labelled.any() else 0
    found = float(CrossEntropy(WEIGHTS, focus)(encode(mask), p.astype(np.float32)))
    assert found == pytest.approx(expected, abs=1e-5)


def test_class_weights_by_hand():
    assert class_weights([100, 25, 1, 0]) == [1, 2, 5, 5]
    assert class_weights([100, 25, 1], largest=20) == [1, 2, 10]


@given(masks, logits)
@some
def test_dice_equals_its_definition(mask, logits):
    p = softmax(logits)
    assert float(DiceLoss()(encode(mask), p)) == pytest.approx(dice_by_hand(mask, p), abs=1e-5)


@given(masks, logits)
@some
def test_cross_entropy_equals_its_definition(mask, logits):
    p = softmax(logits)
    expected = cross_entropy_by_hand(mask, p)
    assert float(CrossEntropy()(encode(mask), p)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(masks, logits)
@some
def test_tversky_of_equal_weights_is_dice_and_of_ones_soft_iou(mask, logits):
    truth, p = encode(mask), softmax(logits)
    dice = float(DiceLoss()(truth, p))
    assert float(TverskyLoss(0.5, 0.5)(truth, p)) == pytest.approx(dice, abs=1e-5)
    labelled, losses = mask != VOID, []
    for k in set(mask[labelled]):
        t, q = (mask[labelled] == k).astype(np.float64), p[labelled][:, k].astype(np.float64)
        losses.append(1 - (t * q).sum() / (t + q - t * q).sum())
    iou = float(TverskyLoss(1, 1)(truth, p))
    assert iou == pytest.approx(np.mean(losses) if losses else 0, abs=1e-5)


def test_tversky_minds_misses_more_than_false_alarms():
    """One pixel of class 1 among three of class 0: missed, or one too many of it."""
    truth = encode([[[0, 0], [0, 1]]])
    missed, false = encode([[[0, 0], [0, 0]]]), encode([[[0, 0], [1, 1]]])
    # 1 - 3 / (3 + 0.3) and 1; 1 - 2 / (2 + 0.7) and 1 - 1 / (1 + 0.3)
    assert float(TverskyLoss()(truth, missed)) == pytest.approx((1 - 3 / 3.3 + 1) / 2, abs=1e-5)
    expected = (1 - 2 / 2.7 + 1 - 1 / 1.3) / 2
    assert float(TverskyLoss()(truth, false)) == pytest.approx(expected, abs=1e-5)


def test_dice_of_four_pixels_by_hand():
    """Class 0: 2 * 1.5 / (2 + 2), class 1: 2 * 1 / (2 + 2), the others absent."""
    truth = encode([[[0, 0], [1, 1]]])
    p = np.float32([[[[0.9, 0.1, 0, 0], [0.6, 0.4, 0, 0]], [[0.3, 0.7, 0, 0], [0.2, 0.3, 0.5, 0]]]])
    expected = 1 - (2 * 1.5 / (2 + 2.0) + 2 * 1.0 / (2 + 1.5)) / 2
    assert float(DiceLoss()(truth, p)) == pytest.approx(expected, abs=1e-5)


def test_soft_counts_by_hand():
    truth = encode([[[0, VOID], [1, 1]]])
    p = np.full((1, 2, 2, CLASSES), 0.25, np.float32)
    intersection, true, predicted = (x.numpy().tolist() for x in soft_counts(truth, p))
    assert intersection == [0.25, 0.5, 0, 0]
    assert true == [1, 2, 0, 0]
    assert predicted == [0.75] * 4


@every_loss
@given(mask=masks, logits=logits, other=logits)
@some
def test_void_pixels_have_no_say_and_no_gradient(loss, mask, logits, other):
    void = mask == VOID
    value, gradient = loss_and_gradient(loss, encode(mask), softmax(logits))
    assert (gradient[void] == 0).all()
    changed = np.where(void[..., None], softmax(other), softmax(logits))
    assert loss_and_gradient(loss, encode(mask), changed)[0] == pytest.approx(value, abs=1e-6)


@every_loss
def test_a_batch_of_void_costs_nothing_and_has_a_finite_gradient(loss):
    truth = encode(np.full((2, 4, 4), VOID))
    value, gradient = loss_and_gradient(loss, truth, np.full(truth.shape, 0.25, np.float32))
    assert value == 0
    assert (gradient == 0).all()


@every_loss
@pytest.mark.parametrize("classes", [1, 4])
def test_a_perfect_prediction_costs_nearly_nothing(loss, classes):
    """Absent classes do not enter: with one class present the loss is near 0, too."""
    truth = encode(np.arange(32).reshape(2, 4, 4) % classes)
    assert float(loss(truth, truth)) == pytest.approx(0, abs=1e-5)


@every_loss
def test_a_wrong_prediction_costs_much_and_can_be_learned_from(loss):
    truth = encode(np.zeros((2, 4, 4)))
    p = np.full(truth.shape, [0.01, 0.97, 0.01, 0.01], np.float32)
    value, gradient = loss_and_gradient(loss, truth, p)
    assert value > 0.9
    assert (gradient[..., 0] < 0).all()
    assert np.isfinite(gradient).all()


@every_loss
def test_sure_and_wrong_is_finite(loss):
    truth, p = encode(np.zeros((1, 2, 2))), encode(np.ones((1, 2, 2)))
    value, gradient = loss_and_gradient(loss, truth, p)
    assert math.isfinite(value)
    assert np.isfinite(gradient).all()


def test_sum_of_losses_is_the_weighted_sum():
    truth = encode([[[0, 1], [2, VOID]]])
    p = softmax(np.random.default_rng(0).normal(size=truth.shape)).astype(np.float32)
    both = SumOfLosses([CrossEntropy(), DiceLoss()], [2, 0.5])(truth, p)
    mask = truth.argmax(-1)
    mask[truth.sum(-1) == 0] = VOID
    expected = 2 * cross_entropy_by_hand(mask, p) + 0.5 * dice_by_hand(mask, p)
    assert float(both) == pytest.approx(expected, rel=1e-4)


def test_a_focus_without_a_gradient_and_weights_for_other_classes_are_refused():
    with pytest.raises(ValueError, match="focus is 0, or 1 or more"):
        CrossEntropy(focus=0.5)
    with pytest.raises(ValueError, match="1 weights for 3 classes"):
        CrossEntropy([3.0])(np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 3), 1 / 3))


def test_sum_of_losses_wants_a_weight_for_each():
    with pytest.raises(ValueError, match="1 weights were given for 2 losses"):
        SumOfLosses([CrossEntropy(), DiceLoss()], [1])


@every_loss
def test_a_loss_can_be_made_again_from_its_configuration(loss):
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    truth = encode([[[0, 1], [2, VOID]]])
    p = softmax(np.random.default_rng(0).normal(size=truth.shape)).astype(np.float32)
    assert again.name == loss.name
    assert float(again(truth, p)) == float(loss(truth, p))
