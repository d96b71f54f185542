import json
import subprocess
import sys

import numpy as np
import pytest

from cityseg_utils import framework, losses, minicity, pipeline, shards, training
from cityseg_utils.augmentation import Flip
from cityseg_utils.datasets import open_dataset
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CAMVID

SIZE = (32, 64)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    root = minicity.generate(tmp_path_factory.mktemp("city"), 10, 0, 1, size=(64, 128))
    pairs, scheme = open_dataset(root)
    return pairs[pairs["split"] == "train"], scheme


@pytest.fixture(scope="module")
def folder(train, tmp_path_factory):
    return shards.write(*train, SIZE, tmp_path_factory.mktemp("shards"), per_shard=3)


def frames_of(batches):
    return sorted(image.tobytes() for images, _ in batches for image in np.asarray(images))


def equal(some, others):
    some, others = list(some), list(others)
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_one_epoch_has_the_batches_of_the_files(train, folder):
    packed = shards.make_dataset(folder, train[1], 4)
    files = pipeline.make_dataset(*train, SIZE, 4)
    assert packed.element_spec == files.element_spec
    assert len(packed) == len(files) == 3
    assert frames_of(packed) == frames_of(files)
    labels = [
        sorted(mask.tobytes() for _, masks in x for mask in masks.numpy()) for x in (packed, files)
    ]
    assert labels[0] == labels[1]


def test_no_python_runs_in_the_graph(train, folder):
    def ops(batches):
        return pipeline.tf.data.Dataset._as_serialized_graph(batches.source.from_step(0)).numpy()

    assert b"PyFunc" in ops(pipeline.make_dataset(*train, SIZE, 4))
    for augment in (None, Flip()):
        assert b"PyFunc" not in ops(shards.make_dataset(folder, train[1], 4, augment=augment))


def test_no_epoch_waits_for_a_search_for_threads(train, folder):
    for batches in (
        pipeline.make_dataset(*train, SIZE, 4),
        shards.make_dataset(folder, train[1], 4),
    ):
        for dataset in (batches, batches.source.from_step(0), batches.take(1)):
            assert dataset.options().autotune.enabled is False


def test_a_training_on_shards_is_another_one_than_on_files(train, folder, tmp_path):
    more = shards.write(*train, SIZE, tmp_path, per_shard=5)
    configs = [shards.make_dataset(x, train[1], 4).config for x in (folder, more)]
    configs.append(pipeline.make_dataset(*train, SIZE, 4).config)
    assert all(a != b for k, a in enumerate(configs) for b in configs[:k])


def test_a_shard_that_is_cut_is_not_read_and_written_again(train, tmp_path):
    shards.write(*train, SIZE, tmp_path, per_shard=3)
    (first,) = tmp_path.glob("frames-00000*")
    whole = first.read_bytes()
    for length in (0, len(whole) // 3, len(whole) - 100):
        first.write_bytes(whole[:length])
        with pytest.raises(DataError, match="or they are not whole") as error:
            shards.make_dataset(tmp_path, train[1], 4)
        assert error.value.faults == (first.name,)
    shards.write(*train, SIZE, tmp_path, per_shard=3)
    assert first.read_bytes() == whole


def test_a_damaged_shard_of_the_right_length_is_told_in_words(train, tmp_path):
    shards.write(*train, SIZE, tmp_path, per_shard=3)
    for path in tmp_path.glob("*.tfrecord"):
        content = bytearray(path.read_bytes())
        content[100] ^= 255
        path.write_bytes(content)
    tf = framework.load_tensorflow()
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(train[1].num_classes, 1)])
    model.build((None, *SIZE, 3))
    model.compile("sgd", "mse")
    batches = shards.make_dataset(tmp_path, train[1], 4)
    with pytest.raises(
        DataError, match=f"{tmp_path}: one of the shards is damaged .*delete the folder"
    ):
        training.fit(model, batches, steps=1, runs=tmp_path / "runs", progress=False)


@pytest.mark.parametrize("numbers", [range(3), range(126, 130), range(16380, 16390)])
def test_how_long_a_shard_is_told_beforehand(numbers, tmp_path):
    writer = pipeline.tf.io.TFRecordWriter(str(tmp_path / "shard"))
    with writer:
        for number in numbers:
            frame = np.ones((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
            writer.write(shards._as_record(number, *frame))
    assert (tmp_path / "shard").stat().st_size == shards._size_of(numbers, (4, 6))


def test_a_full_disk_is_said(train, tmp_path):
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, 2**15))
from cityseg_utils import shards, storage
from cityseg_utils.datasets import open_dataset
pairs, scheme = open_dataset({str(train[0]["image"].iloc[0].parents[3])!r})
try:
    shards.write(pairs[pairs["split"] == "train"], scheme, (64, 128), {str(tmp_path / "shards")!r})
except storage.StorageError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "refused:" in done.stdout, done.stderr
    assert list((tmp_path / "shards").iterdir()) == [tmp_path / "shards" / shards.INDEX]


def test_epochs_differ_in_order_and_have_all_frames(train, folder):
    packed = shards.make_dataset(folder, train[1], 4, shuffle=True)
    first, second = list(packed), list(packed)
    assert frames_of(first) == frames_of(second)
    assert not np.array_equal(first[0][0], second[0][0])
    equal(shards.make_dataset(folder, train[1], 4, shuffle=True), first)
    other = list(shards.make_dataset(folder, train[1], 4, shuffle=True, seed=1))
    assert not np.array_equal(first[0][0], other[0][0])


@pytest.mark.parametrize("step", [0, 2, 3, 7])
def test_it_goes_on_where_it_was(train, folder, step):
    source = shards.make_dataset(folder, train[1], 4, augment=Flip(), shuffle=True).source
    equal(source.from_step(step).take(5), source.from_step(0).take(step + 5).skip(step))


def test_changed_frames_are_seen_at_the_size_of_the_shards(train, folder):
    sizes = []

    def look(image, mask, seed):
        sizes.append(tuple(image.shape))
        return image, mask

    batches = shards.make_dataset(folder, train[1], 4, size=(16, 32), augment=look)
    assert next(iter(batches))[0].shape == (4, 16, 32, 3)
    assert sizes[0] == (*SIZE, 3)


def test_what_was_killed_in_between_goes_on(train, folder, tmp_path):
    shards.write(*train, SIZE, tmp_path, per_shard=3)
    (second,) = tmp_path.glob("frames-00001*")
    second.unlink()
    with pytest.raises(DataError, match="lacks 1 of 4 shards"):
        shards.make_dataset(tmp_path, train[1], 4)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tfrecord")}
    shards.write(*train, SIZE, tmp_path, per_shard=3)
    assert second.read_bytes() == (folder / second.name).read_bytes()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_other_frames_want_another_folder(train, folder):
    pairs, scheme = train
    for other, size in ((pairs.iloc[1:], SIZE), (pairs, (32, 32))):
        with pytest.raises(DataError, match="shards of other frames"):
            shards.write(other, scheme, size, folder, per_shard=3)


def test_other_classes_and_a_damaged_index_are_refused(folder, tmp_path, train):
    with pytest.raises(DataError, match="holds other classes than 'CamVid'"):
        shards.make_dataset(folder, CAMVID, 4)
    for text in (json.dumps({"frames": "x"})[:-3], "{}", "[]", "7"):
        (tmp_path / shards.INDEX).write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            shards.make_dataset(tmp_path, train[1], 4)


@pytest.mark.slow
def test_a_training_takes_them(folder, train, tmp_path):
    framework.set_seed(0)
    batches = shards.make_dataset(folder, train[1], 4, shuffle=True)
    layer = pipeline.tf.keras.layers.Conv2D(train[1].num_classes, 1, activation="softmax")
    model = pipeline.tf.keras.Sequential([pipeline.tf.keras.Input((*SIZE, 3)), layer])
    model.compile("sgd", losses.DiceLoss())
    run = training.fit(model, batches, steps=4, runs=tmp_path, keep="last", progress=False)
    assert len(run.losses) == 4
    whole = model.get_weights()
    framework.set_seed(0)
    layer = pipeline.tf.keras.layers.Conv2D(train[1].num_classes, 1, activation="softmax")
    alike = pipeline.tf.keras.Sequential([pipeline.tf.keras.Input((*SIZE, 3)), layer])
    alike.compile("sgd", losses.DiceLoss())
    for images, masks in batches.source.from_step(0).take(4):
        alike.train_on_batch(images, masks)
    for a, b in zip(whole, alike.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_the_command(tmp_path):
    root = minicity.generate(tmp_path / "city", 6, 1, 0, size=(64, 128))
    command = [sys.executable, "-m", "cityseg_utils.shards", root, tmp_path / "shards"]
    done = subprocess.run(
        [*command, "--size", "32", "64"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.tfrecord"))) == 1
    pairs, scheme = open_dataset(root)
    batches = shards.make_dataset(tmp_path / "shards", scheme, 6)
    in_order = pipeline.make_dataset(pairs.query("split == 'train'"), scheme, (32, 64), 6)
    (ours, _), (theirs, _) = next(iter(batches)), next(iter(in_order))
    ours, theirs = ([frame.numpy().tobytes() for frame in frames] for frames in (ours, theirs))
    assert ours != theirs and sorted(ours) == sorted(theirs)  # its cities are mixed
