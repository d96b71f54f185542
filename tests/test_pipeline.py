import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cityseg_utils import preprocessing
from cityseg_utils.augmentation import ClassMix, Compose, CutMix, Cutout, Rotate, ScaleAndCrop
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import CitysegError, DataError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.pipeline import Frames, frame_order, make_dataset

tf = load_tensorflow()
pytestmark = pytest.mark.usefixtures("own_home")

SIZE = (32, 64)


@pytest.fixture
def pairs(tiny_city, tmp_path):
    """Five frames, copied so that a test may delete them."""
    shutil.copytree(tiny_city, tmp_path / "city")
    return find_pairs(tmp_path / "city").query("split == 'train'")[:5]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def dataset_of(pairs, batch_size=2, **options):
    return make_dataset(pairs, CITYSCAPES, SIZE, batch_size, **options)


def arrays_of(dataset):
    """One epoch: all images and all one-hot masks."""
    batches = [(images.numpy(), masks.numpy()) for images, masks in dataset]
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def by_hand(pairs, numbers, normalization="unit"):
    images = [preprocessing.read_image(pairs["image"].iloc[k], SIZE) for k in numbers]
    masks = [preprocessing.read_mask(pairs["mask"].iloc[k], CITYSCAPES, SIZE) for k in numbers]
    return (
        preprocessing.normalize(np.stack(images), normalization),
        preprocessing.one_hot(np.stack(masks), 19),
    )


def delete_files(pairs):
    for path in (*pairs["image"], *pairs["mask"]):
        path.unlink()


def test_shapes_types_and_ranges(pairs):
    dataset = dataset_of(pairs)
    batches = list(dataset)
    assert [len(images) for images, _ in batches] == [2, 2, 1]
    assert dataset.cardinality() == 3
    images, masks = batches[0]
    assert (images.shape, images.dtype) == ((2, 32, 64, 3), tf.float32)
    assert (masks.shape, masks.dtype) == ((2, 32, 64, 19), tf.float32)
    assert 0 <= images.numpy().min() < images.numpy().max() <= 1
    assert set(np.unique(masks.numpy().sum(-1))) == {0, 1}


@pytest.mark.parametrize("normalization", ["unit", "standard", "vgg16"])
@pytest.mark.parametrize("cache", ["memory", "disk", None])
def test_values_are_those_of_preprocessing(pairs, normalization, cache):
    images, masks = arrays_of(dataset_of(pairs, cache=cache, normalization=normalization))
    expected_images, expected_masks = by_hand(pairs, range(5), normalization)
    np.testing.assert_allclose(images, expected_images, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(masks, expected_masks)


@pytest.mark.parametrize("cache", ["memory", "disk", None])
def test_order_depends_on_seed_and_epoch_only(pairs, cache):
    one, two = (dataset_of(pairs, shuffle=True, seed=4, cache=cache) for _ in range(2))
    first, second = arrays_of(one), arrays_of(one)
    np.testing.assert_array_equal(first[0], arrays_of(two)[0])
    np.testing.assert_array_equal(second[0], arrays_of(two)[0])
    np.testing.assert_array_equal(first[1], by_hand(pairs, frame_order(5, 4, 0))[1])
    np.testing.assert_array_equal(second[1], by_hand(pairs, frame_order(5, 4, 1))[1])


def test_an_epoch_can_be_taken_up_again(pairs):
    one, two = (dataset_of(pairs, shuffle=True, seed=4) for _ in range(2))
    third = [arrays_of(one) for _ in range(3)][-1]
    two.frames.epoch = 2
    np.testing.assert_array_equal(arrays_of(two)[0], third[0])
    assert two.frames.epoch == 3


def test_frame_order_is_a_permutation_that_seed_and_epoch_change():
    orders = [frame_order(20, *key).tolist() for key in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_without_shuffle_the_order_is_that_of_the_pairs(pairs):
    dataset = dataset_of(pairs)
    for _ in range(2):
        np.testing.assert_array_equal(arrays_of(dataset)[1], by_hand(pairs, range(5))[1])


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_the_second_epoch_opens_no_file(pairs, cache):
    dataset = dataset_of(pairs, cache=cache)
    first = arrays_of(dataset)
    delete_files(pairs)
    second = arrays_of(dataset)
    np.testing.assert_array_equal(second[0], first[0])
    np.testing.assert_array_equal(second[1], first[1])


def test_without_a_cache_every_epoch_opens_the_files(pairs):
    dataset = dataset_of(pairs, cache=None)
    arrays_of(dataset)
    delete_files(pairs)
    with pytest.raises(tf.errors.OpError):
        arrays_of(dataset)
    assert isinstance(dataset.frames.fault, DataError)


def test_the_cache_on_disk_serves_a_second_dataset(pairs, own_home):
    first = arrays_of(dataset_of(pairs, cache="disk"))
    written = {path: path.stat().st_ino for path in own_home.rglob("*.u8")}
    assert len(written) == 2
    np.testing.assert_array_equal(arrays_of(dataset_of(pairs, cache="disk"))[0], first[0])
    assert {path: path.stat().st_ino for path in own_home.rglob("*.u8")} == written


def test_the_cache_on_disk_sees_a_frame_of_equal_size_and_date(pairs, write_picture):
    """As `cp -p` leaves it."""
    path = write_picture(pairs["image"].iloc[0], np.full((64, 128, 3), 102))
    write_picture(path.with_name("other"), np.full((64, 128, 3), 51), "png")
    stat = path.stat()
    arrays_of(dataset_of(pairs, cache="disk"))
    assert path.with_name("other").stat().st_size == stat.st_size
    path.write_bytes(path.with_name("other").read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    images, _ = arrays_of(dataset_of(pairs, cache="disk"))
    np.testing.assert_allclose(images[0], 0.2, rtol=1e-5)


@pytest.mark.parametrize("change", ["other content", "shorter", "gone", "no digest"])
def test_the_cache_on_disk_is_made_anew_when_it_was_changed(pairs, own_home, change):
    first = arrays_of(dataset_of(pairs, cache="disk"))
    (path,) = own_home.rglob("images.u8")
    stat = path.stat()
    if change == "no digest":
        path.with_name("sha256").unlink()
    elif change == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(stat.st_size // (1 + (change == "shorter"))))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    np.testing.assert_array_equal(arrays_of(dataset_of(pairs, cache="disk"))[0], first[0])


def test_the_cache_on_disk_is_made_anew_when_a_file_changes(pairs, own_home, write_picture):
    arrays_of(dataset_of(pairs, cache="disk"))
    path = write_picture(pairs["image"].iloc[0], np.full((64, 128, 3), 51))
    os.utime(path, ns=(1, 1))
    images, _ = arrays_of(dataset_of(pairs, cache="disk"))
    np.testing.assert_allclose(images[0], 0.2, rtol=1e-5)
    assert len(names_in(own_home / "data" / "cache")) == 2


def test_many_threads_may_ask_for_the_first_frame_at_once(pairs, own_home):
    """As tf.data does: whoever comes first writes the cache on disk, nobody fails."""
    for _ in range(5):
        shutil.rmtree(own_home, ignore_errors=True)
        frames, start = Frames(pairs, CITYSCAPES, SIZE, "disk"), threading.Barrier(8)

        def ask(number, frames=frames, start=start):
            start.wait()
            return frames[number % 5][0]

        with ThreadPoolExecutor(8) as pool:
            images = list(pool.map(ask, range(8)))
        np.testing.assert_array_equal(images[0], images[5])


FULL_DISK = """
import resource, sys
from cityseg_utils import errors
import test_pipeline
from cityseg_utils.datasets import find_pairs
pairs = find_pairs(sys.argv[1]).query("split == 'train'")
dataset = test_pipeline.dataset_of(pairs, cache="disk")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    dataset.frames[0]
except errors.StorageError as error:
    print("StorageError", error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_a_cache(tiny_city, own_home, run_python):
    printed = run_python(FULL_DISK, tiny_city)
    assert printed.startswith("StorageError")
    assert "cannot be written" in printed
    assert names_in(own_home / "data" / "cache") == []


def show_seed(image, mask, seed):
    """Instead of augmenting: write the seed into the picture, with the frame's mean beside it."""
    mean = tf.reduce_mean(image)
    hidden = tf.cast(tf.math.floormod(seed, 1000), tf.float32) / 1000
    return tf.ones_like(image) * tf.stack([hidden[0], hidden[1], mean]), mask


def test_the_seed_of_augmentation_depends_on_frame_and_epoch_only(pairs):
    seen = []
    for options in ({}, {"shuffle": True}, {"batch_size": 3, "cache": None}):
        dataset = dataset_of(pairs, augment=show_seed, seed=7, **options)
        for epoch in range(2):
            rows = np.round(arrays_of(dataset)[0][:, 0, 0], 4).tolist()
            seen.append({(epoch, row[2]): tuple(row[:2]) for row in rows})
    assert seen[0] == seen[2] == seen[4]
    assert seen[1] == seen[3] == seen[5]
    assert len({*seen[0].values(), *seen[1].values()}) == 10  # every frame and epoch has its own
    other = arrays_of(dataset_of(pairs, augment=show_seed, seed=8))[0]
    assert not {tuple(row[:2]) for row in np.round(other[:, 0, 0], 4)} & set(seen[0].values())


def test_an_augmentation_may_change_image_and_mask(pairs):
    def mirror(image, mask, seed):
        return image[:, ::-1], mask[:, ::-1]

    images, masks = arrays_of(dataset_of(pairs, augment=mirror))
    expected_images, expected_masks = by_hand(pairs, range(5))
    np.testing.assert_allclose(images, expected_images[:, :, ::-1], atol=1e-5)
    np.testing.assert_array_equal(masks, expected_masks[:, :, ::-1])


@pytest.mark.parametrize("mix", [CutMix(), ClassMix()], ids=str)
def test_mixed_batches_come_again_with_the_seed(pairs, mix):
    moves = Compose(ScaleAndCrop(SIZE, (1.0, 2.0), seek=0.5), Rotate(10), Cutout())
    plain, one, same, other = (
        arrays_of(dataset_of(pairs, augment=moves, batch_size=5, **options))
        for options in ({}, {"mix": mix}, {"mix": mix}, {"mix": mix, "seed": 9})
    )
    for first, second in zip(one, same, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one[1], plain[1])
    assert not np.array_equal(one[1], other[1])
    # Every pixel is that of the frame or of the one before it.
    before = np.roll(plain[1], 1, axis=0)
    assert ((one[1] == plain[1]) | (one[1] == before)).all()


def test_missing_masks_are_refused(pairs):
    pairs = pairs.assign(mask=[*pairs["mask"][:3], None, None])
    with pytest.raises(DataError, match="2 images have no mask"):
        dataset_of(pairs)


def test_no_pairs_are_refused(pairs):
    with pytest.raises(DataError, match="no pairs"):
        dataset_of(pairs[:0])


def test_unknown_cache_is_refused(pairs):
    with pytest.raises(ValueError, match="ram"):
        dataset_of(pairs, cache="ram")


def test_the_configuration_knows_functions_by_their_text(pairs):
    def same(image, mask, seed):
        return image, mask

    assert dataset_of(pairs, augment=same).config != dataset_of(pairs).config
    assert dataset_of(pairs, augment=same).config != dataset_of(pairs, augment=show_seed).config


def test_a_file_that_is_gone_is_named(pairs):
    pairs["mask"].iloc[2].unlink()
    with pytest.raises(CitysegError, match=pairs["mask"].iloc[2].name):
        dataset_of(pairs)


@pytest.mark.parametrize("cache", ["memory", "disk", None])
def test_a_damaged_file_is_noted(pairs, cache):
    path = pairs["image"].iloc[3]
    path.write_bytes(path.read_bytes()[:-20])
    dataset = dataset_of(pairs, cache=cache)
    with pytest.raises(tf.errors.OpError):
        arrays_of(dataset)
    assert isinstance(dataset.frames.fault, DataError)
    assert str(path) in str(dataset.frames.fault)


@pytest.mark.parametrize("cache", ["memory", "disk", None])
def test_a_frame_and_its_mask_of_two_sizes_are_refused(pairs, write_picture, cache):
    """Resized, they would look as if they fitted."""
    image, mask = pairs[["image", "mask"]].iloc[3]
    write_picture(mask, np.full((128, 64), 7))
    frames = dataset_of(pairs, cache=cache).frames
    with pytest.raises(DataError) as caught:
        frames[3]
    said = str(caught.value)
    assert all(words in said for words in (str(image), str(mask), "(64, 128)", "(128, 64)"))


def test_a_fault_is_forgotten_by_the_next_pass(pairs):
    path = pairs["image"].iloc[3]
    content = path.read_bytes()
    dataset = dataset_of(pairs)
    path.write_bytes(content[:-20])
    with pytest.raises(tf.errors.OpError):
        arrays_of(dataset)
    path.write_bytes(content)
    assert len(arrays_of(dataset)[0]) == 5
    assert dataset.frames.fault is None


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_batches_from_any_step_are_those_of_the_epochs(pairs, batch_size):
    options = {"shuffle": True, "seed": 4, "augment": show_seed, "mix": CutMix()}
    dataset = dataset_of(pairs, batch_size, **options)
    expected = [batch for _ in range(3) for batch in dataset]
    for start in (0, 1, len(expected) // 2):
        found = dataset.source.from_step(start).take(len(expected) - start)
        for one, other in zip(found, expected[start:], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])


def test_what_is_taken_of_a_data_set_knows_its_source(pairs):
    dataset = dataset_of(pairs)
    few = dataset.take(2)
    assert few.frames is dataset.frames
    assert few.source.steps == 2
    assert few.config != dataset.config
    assert [len(images) for images, _ in few] == [2, 2]
    assert [len(images) for images, _ in few.source.from_step(1).take(3)] == [2, 2, 2]


def test_a_crop_out_of_larger_frames_is_sharp(pairs):
    """Half of each side of a frame of twice the size: its own pixels, none between them."""
    large = 2 * SIZE[0], 2 * SIZE[1]
    crop = ScaleAndCrop(SIZE, (1.0, 1.0))
    images, masks = arrays_of(dataset_of(pairs, augment=crop, read_size=large, seed=3))
    assert images.shape[1:3] == masks.shape[1:3] == SIZE
    image, mask = preprocessing.read_pair(*pairs.iloc[0][["image", "mask"]], CITYSCAPES, large)
    windows = np.lib.stride_tricks.sliding_window_view(mask, SIZE)
    seen = np.where(masks[0].any(-1), masks[0].argmax(-1), 255)
    places = np.argwhere((windows == seen).all((2, 3)))
    assert len(places) > 0
    errors = [
        np.abs(image[r : r + SIZE[0], c : c + SIZE[1]] / 255 - images[0]).max() for r, c in places
    ]
    assert min(errors) < 0.1  # a window lies between two pixels, at most


def test_frames_that_nothing_crops_come_in_the_network_s_size(pairs):
    large = 2 * SIZE[0], 2 * SIZE[1]
    images, masks = arrays_of(dataset_of(pairs, read_size=large))
    read = preprocessing.read_image(pairs["image"].iloc[0], large).astype(np.float32)
    means = read.reshape(SIZE[0], 2, SIZE[1], 2, 3).mean((1, 3))
    np.testing.assert_allclose(images[0], means / 255, atol=1e-5)
    assert masks.shape[1:3] == SIZE
    assert dataset_of(pairs, read_size=large).config != dataset_of(pairs).config


def test_without_a_read_size_a_crop_of_another_size_stays_what_it_is(pairs):
    crop = ScaleAndCrop((64, 64))
    for read_size, wanted in ((None, (64, 64)), ((32, 48), (32, 32))):
        batches = make_dataset(pairs, CITYSCAPES, (32, 32), 2, augment=crop, read_size=read_size)
        images, labels = next(iter(batches))
        assert images.shape[1:3] == labels.shape[1:3] == wanted


def test_the_source_without_augmentation(pairs):
    dataset = dataset_of(pairs, augment=show_seed, mix=CutMix(), shuffle=True)
    images = np.concatenate([x for x, _ in dataset.source.plainly().one_epoch()])
    np.testing.assert_allclose(images, by_hand(pairs, frame_order(5, 0, 0))[0], atol=1e-5)


def test_the_configuration_tells_what_shapes_the_batches(pairs):
    config = dataset_of(pairs, shuffle=True, seed=3).config
    assert config["frames"] == 5
    assert config["size"] == [32, 64]
    assert (config["seed"], config["shuffle"]) == (3, True)
    assert dataset_of(pairs[:4]).config["files"] != config["files"]
