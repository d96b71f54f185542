"""Frames packed into a few large files, which TensorFlow reads without Python: TFRecord shards.

    python -m cityseg_utils.shards /data/cityscapes /data/shards --size 256 512

A folder of photographs is opened file by file, and decoded in threads of Python. Shards are read
from end to end by TensorFlow alone, so data may be larger than memory, lie on a slow or distant
disk, and be prepared by other machines. A record is a ``tf.train.Example`` with ``image`` and
``mask``, the bytes of ``(H, W, 3)`` and ``(H, W) uint8``, and the frame's ``number``.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import datasets, framework, storage
from cityseg_utils.errors import DataError, StorageError, run_command
from cityseg_utils.labels import ClassScheme
from cityseg_utils.pipeline import WHOLE, Batches, Frames, Part, Source, without_autotune
from cityseg_utils.preprocessing import Size

tf = framework.load_tensorflow()

INDEX = "shards.json"
PER_SHARD = 128
OPEN = 4  # shards at a time
WINDOW = 512  # frames that are shuffled together
_FEATURES = {
    "image": tf.io.FixedLenFeature((), tf.string),
    "mask": tf.io.FixedLenFeature((), tf.string),
    "number": tf.io.FixedLenFeature((), tf.int64),
}


def write(
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    size: Size,
    folder: Path | str,
    per_shard: int = PER_SHARD,
    progress: bool = False,
) -> Path:
    """Write the frames of a split into shards; those that are there already are kept.

    Parameters
    ----------
    pairs : DataFrame
        As from `datasets.find_pairs`, one split of it.
    scheme : ClassScheme
    size : (height, width)
        Of the frames in the shards.
    folder : Path or str
        A new one, or one where this was begun.
    per_shard : int
        Frames in a shard: files of about 100 MB are usual.
    progress : bool
        Show a progress bar.

    Raises
    ------
    DataError
        If a frame cannot be read, or the folder holds shards of other frames.
    StorageError
        If a shard cannot be written.
    """
    folder = Path(folder)
    frames = Frames(pairs, scheme, size, cache=None)
    starts = range(0, len(frames), per_shard)
    numbers = [range(start, min(start + per_shard, len(frames))) for start in starts]
    index = {
        "frames": frames.digest,
        "size": list(frames.size),
        "classes": list(scheme.names),
        "number": len(frames),
        "shards": [f"frames-{k:05d}-of-{len(starts):05d}.tfrecord" for k in range(len(starts))],
        "bytes": [_size_of(some, frames.size) for some in numbers],
    }
    if (folder / INDEX).exists() and _read_index(folder) != index:
        raise DataError(f"{folder}: holds shards of other frames; name a new folder")
    storage.write_bytes(folder / INDEX, json.dumps(index, indent=1).encode())
    todo = [k for k in range(len(starts)) if not _is_whole(folder, index, k)]
    if progress and todo:
        from tqdm.auto import tqdm

        todo = tqdm(todo, desc="packing", unit="shard")
    for k in todo:
        _write_shard(folder / index["shards"][k], frames, numbers[k])
    return folder


def _write_shard(path: Path, frames: Frames, numbers: range) -> None:
    with storage.write_whole(path) as temporary:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for number in numbers:
                    writer.write(_as_record(number, *frames[number]))
        except tf.errors.OpError as error:
            raise StorageError(f"{path}: cannot be written: {error.message}") from None


def _as_record(number: int, image: np.ndarray, mask: np.ndarray) -> bytes:
    def of_bytes(array):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[array.tobytes()]))

    counted = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
    features = {"image": of_bytes(image), "mask": of_bytes(mask), "number": counted}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


def _read_index(folder: Path) -> dict:
    try:
        index = json.loads(storage.read_bytes(folder / INDEX))
        if set(index) != {"frames", "size", "classes", "number", "shards", "bytes"}:
            raise ValueError("it lacks what it should hold")
    except (TypeError, ValueError) as error:
        raise DataError(f"{folder / INDEX}: is damaged: {error}") from error
    return index


def _size_of(numbers: range, size: Size) -> int:
    """Return the bytes of a shard; how long a record is depends on its number's seventh bits."""
    empty = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    lengths = Counter(max(1, -(-number.bit_length() // 7)) for number in numbers)
    around = 16  # bytes: the length, and two checksums
    return sum(
        count * (len(_as_record(2 ** (7 * length - 1), *empty)) + around)
        for length, count in lengths.items()
    )


def _is_whole(folder: Path, index: dict, k: int) -> bool:
    path = folder / index["shards"][k]
    return path.is_file() and path.stat().st_size == index["bytes"][k]


@dataclass(frozen=True)
class Packed:
    """The frames in a folder of shards, as `pipeline.Source` wants to know them."""

    files: tuple[str, ...]
    number: int
    size: Size
    scheme: ClassScheme
    digest: str
    fault: None = None

    def __len__(self) -> int:
        return self.number


class ShardSource(Source):
    """What batches are made of if the frames are in shards; nothing of it runs in Python.

    In an epoch the shards come in another order, four of them by turns, and of their frames 512 at
    a time are shuffled: less thorough than `pipeline.frame_order`, and a function of the seed and
    the epoch like that.
    """

    def config(self) -> dict:
        """Return all that shapes the batches, for JSON; the order is that of these shards."""
        return super().config() | {"shards": [len(self.frames.files), OPEN, WINDOW]}

    def one_epoch(self):
        """Return a ``tf.data.Dataset`` of an epoch: the next one each time that it is begun."""
        epochs = tf.Variable(-1, dtype=tf.int64, trainable=False)
        begun = tf.data.Dataset.range(1).map(lambda _: epochs.assign_add(1))
        batches = begun.flat_map(self._epoch).take(self.steps)
        counted = batches.apply(tf.data.experimental.assert_cardinality(self.steps))
        return without_autotune(counted)

    def from_step(self, step: int, part: Part = WHOLE):
        """Return the endless ``tf.data.Dataset`` of all epochs' batches from that number on.

        Of each batch only a part, if there are several workers: every second frame for two.
        """
        first, begun = divmod(step, self.steps)
        epochs = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        batches = epochs.flat_map(lambda epoch: self._epoch(epoch, part).take(self.steps))
        return without_autotune(batches.skip(begun))

    def _epoch(self, epoch, part: Part = WHOLE):
        files = tf.constant(self.frames.files)
        key = tf.random.experimental.stateless_fold_in([self.seed, 1], epoch)
        if self.shuffle:
            files = tf.random.experimental.stateless_shuffle(files, key)
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset, cycle_length=OPEN, num_parallel_calls=OPEN, deterministic=True
        )
        if self.shuffle:
            windows = records.batch(WINDOW).map(
                lambda x: tf.random.experimental.stateless_shuffle(x, key)
            )
            records = windows.prefetch(1).unbatch()
        worker, workers = part
        records = records.shard(workers, worker)
        if self.augment is not None or self.frames.size != self.size:
            frames = records.map(lambda x: (*self._parse(x), epoch), framework.cores())
            return self.finished(self.batched(frames, workers))
        # Nothing is done to single frames, so a batch is parsed at once, which is faster.
        batches = records.batch(self.batch_size // workers).map(
            lambda x: self._prepare(*self._parse(x), [epoch]), framework.cores()
        )
        return self.finished(batches)

    def _parse(self, records):
        frames, lead = tf.io.parse_example(records, _FEATURES), tf.shape(records)
        height, width = self.frames.size
        images, masks = (tf.io.decode_raw(frames[x], tf.uint8) for x in ("image", "mask"))
        images = tf.reshape(images, tf.concat([lead, [height, width, 3]], 0))
        masks = tf.reshape(masks, tf.concat([lead, [height, width]], 0))
        return images, masks, frames["number"]


def make_dataset(
    folder: Path | str,
    scheme: ClassScheme,
    batch_size: int,
    size: Size | None = None,
    augment: Callable | None = None,
    shuffle: bool = False,
    seed: int = 0,
    normalization: str = "unit",
    mix: Callable | None = None,
) -> Batches:
    """Build the input pipeline of `pipeline.make_dataset` on shards.

    Parameters
    ----------
    folder : Path or str
        As :func:`write` leaves it.
    scheme : ClassScheme
        The one that they were written with.
    batch_size : int
    size : (height, width), optional
        Of the batches, default that of the frames; `augment` gets those of the shards.
    augment, shuffle, seed, normalization, mix
        As for `pipeline.make_dataset`.

    Raises
    ------
    DataError
        If a shard is missing, or they are of other classes.
    """
    folder = Path(folder)
    index = _read_index(folder)
    if tuple(index["classes"]) != scheme.names:
        raise DataError(f"{folder}: holds other classes than {scheme.name!r}: {index['classes']}")
    files = [folder / name for name in index["shards"]]
    if missing := [path.name for k, path in enumerate(files) if not _is_whole(folder, index, k)]:
        raise DataError(
            f"{folder}: lacks {len(missing)} of {len(files)} shards, or they are not whole; write "
            "them again",
            missing,
        )
    frames = Packed(
        tuple(map(str, files)), index["number"], tuple(index["size"]), scheme, index["frames"]
    )
    size = tuple(size or frames.size)
    return Batches(
        ShardSource(frames, size, batch_size, augment, mix, shuffle, seed, normalization)
    )


def main() -> None:
    """Pack a split of a data set, in an order that mixes its cities."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.shards")
    parser.add_argument("data", type=Path, help="the data set")
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--split", default="train")
    options = parser.parse_args()
    pairs, scheme = datasets.open_dataset(options.data)
    pairs = pairs[pairs["split"] == options.split].sample(frac=1, random_state=0)
    print(write(pairs, scheme, tuple(options.size), options.folder, progress=True))


if __name__ == "__main__":
    run_command(main)
