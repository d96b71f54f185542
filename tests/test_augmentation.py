import numpy as np
import pytest
import tensorflow as tf

from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop

SEED = np.array([3, 1], np.int32)


def painted(height=40, width=60):
    """An image whose red and green say row and column, and a mask that says the same in 8 bits."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([rows / height, columns / width, 0 * rows], axis=-1)
    return image, (rows // 10 * 6 + columns // 10).astype(np.uint8)


def seeds(number):
    return [np.array([k, 7], np.int32) for k in range(number)]


@pytest.mark.parametrize("seed", seeds(12), ids=str)
def test_image_and_mask_stay_aligned(seed):
    """The coordinates painted into both still agree, but for the pixels beside a border."""
    augment = Compose(ScaleAndCrop((24, 36), (1.0, 2.5)), Flip())
    image, mask = (x.numpy() for x in augment(*painted(), seed))
    assert image.shape == (24, 36, 3)
    assert mask.shape == (24, 36)
    assert mask.dtype == np.uint8
    rows, columns = image[..., 0] * 40, image[..., 1] * 60
    border = np.minimum(
        abs(rows / 10 - np.round(rows / 10)), abs(columns / 10 - np.round(columns / 10))
    )
    inside = border > 0.1
    expected = rows // 10 * 6 + columns // 10
    np.testing.assert_array_equal(mask[inside], expected[inside])
    assert inside.mean() > 0.5


def test_without_room_to_move_nothing_changes():
    image, mask = painted()
    same, labels = ScaleAndCrop((40, 60), (1.0, 1.0))(image, mask, SEED)
    np.testing.assert_allclose(same, image, atol=1e-5)
    np.testing.assert_array_equal(labels, mask)


def test_masks_keep_their_values():
    image, mask = painted()
    mask[5:20, 5:20] = 255
    for seed in seeds(10):
        _, cropped = ScaleAndCrop((24, 36), (0.7, 2.0))(image, mask, seed)
        assert set(np.unique(cropped)) <= set(np.unique(mask))


def test_half_are_mirrored():
    image, mask = painted()
    mirrored = 0
    for seed in seeds(200):
        flipped, labels = Flip()(image, mask, seed)
        assert (labels.numpy()[:, 0] == mask[:, 0]).all() == (flipped.numpy()[0, 0, 1] == 0)
        mirrored += flipped.numpy()[0, 0, 1] > 0
    assert 70 < mirrored < 130


def test_colors_leave_the_mask_and_the_range_alone():
    image, mask = painted()
    outcomes = []
    for seed in seeds(20):
        changed, labels = Colors()(image, mask, seed)
        assert labels is mask
        assert 0 <= changed.numpy().min() <= changed.numpy().max() <= 1
        outcomes.append(changed.numpy())
    assert len({outcome.tobytes() for outcome in outcomes}) == 20


def test_colors_make_a_gray_picture_darker_as_often_as_brighter():
    gray, mask = np.full((8, 8, 3), 0.5, np.float32), np.zeros((8, 8), np.uint8)
    means = np.array([Colors()(gray, mask, seed)[0].numpy().mean() for seed in seeds(200)])
    assert 70 < (means > 0.5).sum() < 130
    assert abs(means.mean() - 0.5) < 0.05


def test_no_strength_no_change():
    image, mask = painted()
    np.testing.assert_allclose(Colors(0.0)(image, mask, SEED)[0], image, atol=1e-5)


def test_one_seed_one_outcome_eager_or_in_a_graph():
    augment = Compose(ScaleAndCrop((24, 36)), Flip(), Colors())
    once, again = augment(*painted(), SEED), augment(*painted(), SEED)
    graph = tf.function(augment)(*map(tf.constant, painted()), tf.constant(SEED))
    for first, second, third in zip(once, again, graph, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, third, atol=1e-5)


def test_settings_tell_transforms_apart():
    """They are part of a run's configuration, by their representation."""
    one = Compose(ScaleAndCrop((24, 36), (1, 2)), Flip(), Colors(0.5))
    assert repr(one) == "Compose(ScaleAndCrop((24, 36), (1, 2)), Flip(), Colors(0.5))"
