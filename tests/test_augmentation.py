import cv2
import numpy as np
import pytest
import tensorflow as tf

from cityseg_utils.augmentation import (
    Blur,
    Brightness,
    ClassMix,
    Colors,
    Compose,
    Contrast,
    CutMix,
    Cutout,
    Flip,
    Gamma,
    Hue,
    Noise,
    Rotate,
    Saturation,
    ScaleAndCrop,
    WhiteBalance,
)
from cityseg_utils.labels import VOID

SEED = np.array([3, 1], np.int32)


def painted(height=40, width=60):
    """An image whose red and green say row and column, and a mask that says the same in 8 bits."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([rows / height, columns / width, 0 * rows], axis=-1)
    return image, (rows // 10 * 6 + columns // 10).astype(np.uint8)


def seeds(number):
    return [np.array([k, 7], np.int32) for k in range(number)]


def assert_aligned(image, mask):
    """The coordinates painted into both still agree, but beside borders and where it is void."""
    rows, columns = image[..., 0] * 40, image[..., 1] * 60
    border = np.minimum(
        abs(rows / 10 - np.round(rows / 10)), abs(columns / 10 - np.round(columns / 10))
    )
    # Beside void, and at the edge, a resampled image shows some gray.
    labelled = np.pad((mask != 255).astype(np.uint8), 1)
    labelled = cv2.erode(labelled, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    inside = (border > 0.1) & labelled
    expected = rows // 10 * 6 + columns // 10
    np.testing.assert_array_equal(mask[inside], expected[inside])
    assert inside.mean() > 0.15


MOVES = [
    Compose(ScaleAndCrop((24, 36), (1.0, 2.5)), Flip()),
    ScaleAndCrop((40, 60), (0.6, 1.5)),
    ScaleAndCrop((24, 36), (0.7, 2.0), seek=1.0),
    Rotate(20),
    Cutout(0.6),
]


@pytest.mark.parametrize("augment", MOVES, ids=str)
def test_image_and_mask_stay_aligned(augment):
    for seed in seeds(12):
        image, mask = (x.numpy() for x in augment(*painted(), seed))
        assert mask.dtype == np.uint8
        assert image.shape == (*mask.shape, 3)
        assert_aligned(image, mask)


@pytest.mark.parametrize("augment", [ScaleAndCrop((40, 60), (0.5, 0.5)), Rotate(90)], ids=str)
def test_what_comes_from_outside_is_gray_and_void(augment):
    image, mask = np.zeros((40, 60, 3), np.float32), np.zeros((40, 60), np.uint8)
    image, mask = (x.numpy() for x in augment(image, mask, SEED))
    assert {*np.unique(mask)} == {0, 255}
    inner = cv2.erode((mask == 255).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert inner.any()
    assert (image[inner] == 0.5).all()
    assert (image[mask == 0] < 0.5).all()


def test_seeking_finds_rare_classes():
    image, mask = np.zeros((64, 128, 3), np.float32), np.zeros((64, 128), np.uint8)
    mask[50:52, 100:102] = 7
    mask[:5] = 255

    def share(seek):
        crop = ScaleAndCrop((16, 16), (1.0, 1.0), seek)
        return np.mean([(crop(image, mask, seed)[1].numpy() == 7).any() for seed in seeds(60)])

    assert share(0) < 0.2
    assert 0.3 < share(1) < 0.7  # two classes, chosen evenly


def test_seeking_in_a_frame_of_void():
    image, mask = np.zeros((20, 30, 3), np.float32), np.full((20, 30), 255, np.uint8)
    _, cropped = ScaleAndCrop((8, 8), (1.0, 1.0), seek=1.0)(image, mask, SEED)
    assert (cropped.numpy() == 255).all()


def test_cutout_covers_the_same_window_in_both():
    image, mask = np.zeros((30, 40, 3), np.float32), np.zeros((30, 40), np.uint8)
    for seed in seeds(10):
        covered, labels = (x.numpy() for x in Cutout(0.5)(image, mask, seed))
        np.testing.assert_array_equal(covered[..., 0] == 0.5, labels == 255)
        assert 0.005 < (labels == 255).mean() <= 0.28
    assert (Cutout(0.0)(image, mask, SEED)[1].numpy() == 0).all()


@pytest.mark.parametrize("mix", [CutMix(), ClassMix()], ids=str)
def test_mixing_takes_every_pixel_from_one_of_two_frames(mix):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 5, (3, 12, 16)).astype(np.uint8)
    masks[:, :2] = 255
    images = rng.random((3, 12, 16, 3), np.float32)
    both = np.roll(images, 1, 0), np.roll(masks, 1, 0)
    mixed, labels = (x.numpy() for x in mix(images, masks, SEED))
    foreign = (mixed == both[0]).all(-1)
    np.testing.assert_array_equal(mixed[~foreign], images[~foreign])
    np.testing.assert_array_equal(labels, np.where(foreign, both[1], masks))
    assert 0.05 < foreign.mean() < 0.8
    if isinstance(mix, ClassMix):
        assert not (foreign & (both[1] == 255)).any()
        for k in range(3):  # whole classes
            assert not {*both[1][k][foreign[k]]} & {*both[1][k][~foreign[k]]} - {255}


@pytest.mark.parametrize(
    "look",
    [
        Brightness(0.3),
        Contrast(0.8),
        Saturation(0.9),
        Hue(0.2),
        WhiteBalance(0.3),
        Gamma(0.7),
        Blur(0.9),
        Noise(0.1),
    ],
    ids=str,
)
def test_each_look_changes_the_image_alone(look):
    image, mask = np.random.default_rng(0).random((8, 9, 3), np.float32), np.zeros((8, 9), np.uint8)
    outcomes = [look(image, mask, seed) for seed in seeds(5)]
    assert all(labels is mask for _, labels in outcomes)
    assert len({changed.numpy().tobytes() for changed, _ in outcomes}) == 5
    assert all(0 <= changed.numpy().min() <= changed.numpy().max() <= 1 for changed, _ in outcomes)
    np.testing.assert_allclose(type(look)(0.0)(image, mask, SEED)[0], image, atol=1e-5)


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


@pytest.mark.parametrize("seek", [0.0, 1.0])
def test_a_window_within_the_frame_shows_nothing_from_outside(seek):
    """Not even a line of it at the edge, where a window that seeks a class often lies."""
    image, mask = np.zeros((352, 480, 3), np.float32), np.zeros((352, 480), np.uint8)
    mask[:, -5:] = mask[-5:] = 1
    for seed in seeds(60):
        crop = ScaleAndCrop((224, 288), (0.65, 1.2), seek)
        image_, labels = (x.numpy() for x in crop(image, mask, seed))
        assert labels.max() <= 1
        assert image_.max() == 0


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


@pytest.mark.parametrize("augment", [*MOVES, Noise(0.1), Colors()], ids=str)
def test_one_seed_one_stream(augment):
    for seed in seeds(3):
        once, again = augment(*painted(), seed), augment(*painted(), seed)
        for first, second in zip(once, again, strict=True):
            np.testing.assert_array_equal(first, second)
    assert any((augment(*painted(), seed)[0] != once[0]).numpy().any() for seed in seeds(2))


def test_settings_tell_transforms_apart():
    """They are part of a run's configuration, by their representation."""
    one = Compose(ScaleAndCrop((24, 36), (1, 2)), Flip(), Colors(0.5))
    crop = "ScaleAndCrop(size=(24, 36), scales=(1, 2), seek=0.0)"
    assert repr(one) == f"Compose({crop}, Flip(), Colors(strength=0.5))"


def test_single_labels_are_moved_and_not_sampled():
    mask = np.full((40, 60), VOID, np.uint8)
    places = [(3, 5), (20, 30), (39, 59), (11, 47)]
    for k, place in enumerate(places):
        mask[place] = k
    image = np.zeros((40, 60, 3), np.float32)
    for k, place in enumerate(places):
        image[place] = (k + 1) / 4
    crop = ScaleAndCrop((40, 60), (1.0, 1.0), points=True)
    same = crop(tf.constant(image), tf.constant(mask), (0, 1))[1].numpy()
    assert (same == mask).all()
    for seed in range(10):  # enlarged: what is inside is there once, where its colour is
        crop = ScaleAndCrop((40, 60), (2.0, 3.0), points=True)
        picture, labels = (
            x.numpy() for x in crop(tf.constant(image), tf.constant(mask), (0, seed))
        )
        for row, column in np.argwhere(labels != VOID):
            assert (labels == labels[row, column]).sum() == 1
            around = picture[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            assert around.max() > 0
    small = ScaleAndCrop((20, 30), (0.5, 0.5), points=True)
    labels = small(tf.constant(image), tf.constant(mask), (0, 1))[1].numpy()
    assert set(labels[labels != VOID]) == {0, 1, 2, 3}  # by sampling, three of four would be lost
