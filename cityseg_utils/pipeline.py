"""From a data frame of pairs to batches for a network, with tf.data.

Sizes are (height, width).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd

from cityseg_utils import storage
from cityseg_utils.errors import CitysegError, DataError, StorageError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import ClassScheme
from cityseg_utils.preprocessing import Size, affine, read_pair

tf = load_tensorflow()

CACHES = ("memory", "disk", None)


class Frames:
    """The resized frames of a data set, by number; each file is decoded once if they are kept.

    Parameters
    ----------
    pairs : DataFrame
        With the columns ``image`` and ``mask``.
    scheme : ClassScheme
    size : (height, width)
    cache : {"memory", "disk", None}
        Where to keep resized frames. On disk they lie under ``data/cache`` and serve later runs.

    Attributes
    ----------
    epoch : int
        The number of the next pass over the frames; with the seed it decides the order.
    fault : CitysegError or None
        What went wrong in a loading thread in this pass, for TensorFlow replaces the exception.
    """

    def __init__(self, pairs: pd.DataFrame, scheme: ClassScheme, size: Size, cache: str | None):
        if cache not in CACHES:
            raise ValueError(f"cache must be one of {CACHES}, got {cache!r}")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is (height, width), both above 0; got {size}")
        if pairs.empty:
            raise DataError("there are no pairs to load; is the split's name right?")
        if pairs["mask"].isna().any():
            raise DataError(f"{pairs['mask'].isna().sum()} images have no mask to learn from")
        self.images, self.masks = list(pairs["image"]), list(pairs["mask"])
        self.scheme, self.size, self.cache = scheme, tuple(size), cache
        self.epoch = 0
        self.fault: CitysegError | None = None
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._on_disk: tuple[np.ndarray, np.ndarray] | None = None
        self._opening = Lock()  # many threads ask for their first frame at once

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frame `number`: ``(H, W, 3) uint8`` RGB and ``(H, W) uint8`` train ids."""
        if self.cache == "disk":
            images, masks = self._open_disk()
            return images[number], masks[number]
        if number in self._kept:
            return self._kept[number]
        frame = self._decode(number)
        if self.cache == "memory":
            self._kept[number] = frame
        return frame

    def load(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a frame, or note the fault and raise it."""
        try:
            return self[int(number)]
        except CitysegError as error:
            self.fault = error
            raise

    @property
    def digest(self) -> str:
        """A short hash of names, sizes and dates of the files, the classes and the frame size."""
        try:
            paths = map(Path, [*self.images, *self.masks])
            facts = [(path.name, path.stat()) for path in paths]
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts]
        content = (files, self.scheme.names, self.scheme.ids, self.scheme.void_ids, self.size)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]

    def _decode(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(self.images[number], self.masks[number], self.scheme, self.size)

    def _open_disk(self) -> tuple[np.ndarray, np.ndarray]:
        with self._opening:
            if self._on_disk is None:
                folder = storage.home() / "data" / "cache" / self.digest
                if not folder.is_dir():
                    self._write_disk(folder)
                shape = (len(self), *self.size)
                self._on_disk = (
                    np.memmap(folder / "images.u8", np.uint8, "r", shape=(*shape, 3)),
                    np.memmap(folder / "masks.u8", np.uint8, "r", shape=shape),
                )
            return self._on_disk

    def _write_disk(self, folder: Path) -> None:
        try:
            with storage.write_whole(folder) as temporary:
                temporary.mkdir()
                self._write_frames(temporary / "images.u8", temporary / "masks.u8")
        except StorageError:
            if not folder.is_dir():  # else another process was faster, and its files are as good
                raise

    def _write_frames(self, images_file: Path, masks_file: Path) -> None:
        with ThreadPoolExecutor(4) as pool, images_file.open("wb") as images:
            with masks_file.open("wb") as masks:
                for start in range(0, len(self), 64):  # so that few frames wait in memory
                    numbers = range(start, min(start + 64, len(self)))
                    for image, mask in pool.map(self._decode, numbers):
                        images.write(image.tobytes())
                        masks.write(mask.tobytes())


def frame_order(number: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of frames in an epoch, ``(number,) int64``: a function of these three."""
    return np.random.default_rng((seed, epoch)).permutation(number)


def make_dataset(
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    size: Size,
    batch_size: int,
    augment: Callable | None = None,
    shuffle: bool = False,
    seed: int = 0,
    cache: str | None = "memory",
    normalization: str = "unit",
    mix: Callable | None = None,
):
    """Build the input pipeline: load, resize, augment, batch, mix, normalise, one-hot, prefetch.

    Parameters
    ----------
    pairs : DataFrame
        As from `datasets.find_pairs`, one split of it.
    scheme : ClassScheme
    size : (height, width)
    batch_size : int
    augment : callable, optional
        ``augment(image, mask, seed)`` on one frame: ``(H, W, 3) float32`` in 0 .. 1,
        ``(H, W) uint8`` train ids and ``(2,) int32``; returns image and mask.
    shuffle : bool
        Give the frames in another order each epoch, which depends on `seed` and the epoch alone.
    seed : int
    cache : {"memory", "disk", None}
        Where resized frames are kept after the first epoch; with "disk" or None memory is bounded.
    normalization : str
        As for `preprocessing.normalize`.
    mix : callable, optional
        As `augment`, but on a whole batch, such as `augmentation.CutMix`.

    Returns
    -------
    tf.data.Dataset
        Batches of ``(N, H, W, 3) float32`` and one-hot ``(N, H, W, C) float32``, void all zeros.
        Its attribute ``frames`` holds the :class:`Frames`, ``config`` all that shapes the batches.
    """
    frames = Frames(pairs, scheme, size, cache)
    scale, offset = affine(normalization)

    def numbers() -> Iterator[tuple[int, int]]:
        epoch, frames.epoch, frames.fault = frames.epoch, frames.epoch + 1, None
        order = frame_order(len(frames), seed, epoch) if shuffle else range(len(frames))
        for number in order:
            yield number, epoch

    def load(number, epoch):
        image, mask = tf.numpy_function(frames.load, [number], [tf.uint8, tf.uint8], stateful=False)
        image = tf.ensure_shape(image, (*size, 3))  # H W 3
        mask = tf.ensure_shape(mask, size)  # H W
        return image, mask, number, epoch

    def key(number, epoch):
        # A seed of its own for every frame and epoch, whatever the order and the threads.
        fold_in = tf.random.experimental.stateless_fold_in
        return fold_in(fold_in([seed, 0], number), epoch)

    def prepare(image, mask, number, epoch):
        image = tf.cast(image, tf.float32) / 255
        if augment is not None:
            image, mask = augment(image, mask, key(number, epoch))
        return image, mask, number, epoch

    def finish(images, masks, numbers, epochs):
        if mix is not None:
            images, masks = mix(images, masks, key(numbers[0], epochs[0]))
        images = tf.tensordot(images, 255 * scale, 1) + offset
        return images, tf.one_hot(masks, scheme.num_classes)  # 255 has no column: all zeros

    signature = (tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.int64))
    dataset = (
        tf.data.Dataset.from_generator(numbers, output_signature=signature)
        .apply(tf.data.experimental.assert_cardinality(len(frames)))
        .map(load, tf.data.AUTOTUNE)
        .map(prepare, tf.data.AUTOTUNE)
        .batch(batch_size)
        .map(finish, tf.data.AUTOTUNE)
        .prefetch(2)
    )
    dataset.frames = frames
    dataset.config = {
        "frames": len(frames),
        "files": frames.digest,
        "classes": scheme.name,
        "size": list(size),
        "batch_size": batch_size,
        "augment": getattr(augment, "__qualname__", repr(augment)),
        "mix": repr(mix),
        "shuffle": shuffle,
        "seed": seed,
        "normalization": normalization,
    }
    json.dumps(dataset.config)  # a configuration that cannot be stored is an error now, not later
    return dataset
