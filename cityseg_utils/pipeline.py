"""From a data frame of pairs to batches for a network, with tf.data.

Sizes are (height, width).
"""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import datasets, framework, identity, storage
from cityseg_utils.errors import CitysegError, DataError, StorageError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.preprocessing import Size, affine, read_image, read_pair

tf = framework.load_tensorflow()

CACHES = ("memory", "disk", None)
Part = tuple[int, int]  # which worker of how many
WHOLE: Part = (0, 1)
_EMPTY = -1  # the number of a place in a batch that no frame fills


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
    unlabelled : bool
        Whether masks, if there are any, are left aside and every pixel is void.

    Attributes
    ----------
    epoch : int
        The number of the next pass over the frames; with the seed it decides the order.
    fault : CitysegError or None
        What went wrong in a loading thread in this pass, for TensorFlow replaces the exception.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        scheme: ClassScheme,
        size: Size,
        cache: str | None,
        unlabelled: bool = False,
    ):
        if cache not in CACHES:
            raise ValueError(f"cache must be one of {CACHES}, got {cache!r}")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is (height, width), both above 0; got {size}")
        if pairs.empty:
            raise DataError("there are no pairs to load; is the split's name right?")
        if unlabelled:
            pairs = pairs.assign(mask=None)
        elif pairs["mask"].isna().any():
            raise DataError(f"{pairs['mask'].isna().sum()} images have no mask to learn from")
        for path in (*pairs["image"], *pairs["mask"].dropna()):
            if not Path(path).exists():
                raise DataError(f"{path}: there is no such file")
        self.pairs, self.images, self.masks = pairs, list(pairs["image"]), list(pairs["mask"])
        self.scheme, self.size, self.cache = scheme, tuple(size), cache
        self.epoch = 0
        self.fault: CitysegError | None = None
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._on_disk: tuple[np.ndarray, np.ndarray] | None = None
        self._opening = threading.Lock()  # many threads ask for their first frame at once

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
        if number == _EMPTY:
            return np.zeros((*self.size, 3), np.uint8), np.zeros(self.size, np.uint8)
        try:
            return self[int(number)]
        except CitysegError as error:
            self.fault = error
            raise

    @cached_property
    def digest(self) -> str:
        """What tells the frames from others: content of the files, classes and size, hashed."""
        return identity.digest(datasets.digests(self.pairs), self.scheme.meaning, self.size)

    def _decode(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self.masks[number] is None:
            image = read_image(self.images[number], self.size)
            return image, np.full(self.size, VOID, np.uint8)
        return read_pair(self.images[number], self.masks[number], self.scheme, self.size)

    def _open_disk(self) -> tuple[np.ndarray, np.ndarray]:
        with self._opening:
            if self._on_disk is None:
                folder = storage.home() / "data" / "cache" / self.digest
                if folder.is_dir() and not _is_as_written(folder):
                    storage.remove_whole(folder)
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
                images, masks = temporary / "images.u8", temporary / "masks.u8"
                self._write_frames(images, masks)
                written = "\n".join(identity.files([images, masks]))
                storage.write_bytes(temporary / "sha256", written.encode())
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


def _is_as_written(folder: Path) -> bool:
    """Tell whether frames on disk are those that were written there."""
    try:
        found = identity.files([folder / "images.u8", folder / "masks.u8"])
        return storage.read_bytes(folder / "sha256").decode().split() == found
    except (DataError, ValueError):
        return False


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
    unlabelled: bool = False,
    read_size: Size | None = None,
) -> "Batches":
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
    unlabelled : bool
        Whether the frames are to be seen without masks, as those are that have none.
    read_size : (height, width), optional
        Of the frames that `augment` gets, if they are to be read in another size than `size`; they
        have `size` afterwards. Else `augment` gets them in `size`, and what it returns is what the
        network sees, such as smaller crops.

    Returns
    -------
    Batches
        A ``tf.data.Dataset`` of ``(N, H, W, 3) float32`` and one-hot ``(N, H, W, C) float32``, void
        all zeros, which knows its :class:`Source`.
    """
    frames = Frames(pairs, scheme, read_size or size, cache, unlabelled)
    return Batches(
        Source(frames, tuple(size), batch_size, augment, mix, shuffle, seed, normalization)
    )


@dataclass(frozen=True)
class Source:
    """What batches are made of, and what a training needs to know of them.

    Parameters
    ----------
    frames : Frames
    size, batch_size, augment, mix, shuffle, seed, normalization
        As for :func:`make_dataset`.
    limit : int, optional
        The most batches of an epoch.
    """

    frames: Frames
    size: Size
    batch_size: int
    augment: Callable | None = None
    mix: Callable | None = None
    shuffle: bool = False
    seed: int = 0
    normalization: str = "unit"
    limit: int | None = None

    def __post_init__(self):
        # Now, so that an unknown one is an error at once, and AutoGraph has nothing to convert.
        object.__setattr__(self, "_affine", affine(self.normalization))

    @property
    def steps(self) -> int:
        """Batches in an epoch, of which the last may be smaller."""
        steps = -(-len(self.frames) // self.batch_size)
        return steps if self.limit is None else min(steps, self.limit)

    def plainly(self) -> "Source":
        """Return the same frames without augmentation."""
        return dataclasses.replace(self, augment=None, mix=None)

    def config(self) -> dict:
        """Return all that shapes the batches, for JSON.

        Raises
        ------
        identity.Unknown
            If it cannot be told what a function of the user's does.
        """
        settings = {x.name: getattr(self, x.name) for x in dataclasses.fields(self)[2:]}
        return {
            "frames": len(self.frames),
            "files": self.frames.digest,
            "classes": self.frames.scheme.name,
            "size": list(self.size),
            "read size": list(self.frames.size),
            **{name: identity.describe(value) for name, value in settings.items()},
        }

    def one_epoch(self):
        """Return a ``tf.data.Dataset`` of an epoch: the next one each time that it is begun."""

        def numbers() -> Iterator[tuple[int, int]]:
            epoch, self.frames.epoch, self.frames.fault = (
                self.frames.epoch,
                self.frames.epoch + 1,
                None,
            )
            for number in self._order(epoch):
                yield number, epoch

        counted = tf.data.experimental.assert_cardinality(len(self.frames))
        dataset = self._batches(numbers, counted)
        return dataset if self.limit is None else dataset.take(self.limit)

    def from_step(self, step: int, part: Part = WHOLE):
        """Return the endless ``tf.data.Dataset`` of all epochs' batches from that number on.

        Of each batch only a part, if there are several workers: every second frame for two.
        """
        first, begun = divmod(step, self.steps)
        worker, workers = part
        # As many places in each epoch as fill its batches; those that are left over are empty.
        filled = self.steps * self.batch_size

        def numbers() -> Iterator[tuple[int, int]]:
            self.frames.fault = None
            start, epoch = begun * self.batch_size, first
            while True:
                order = np.full(filled, _EMPTY)
                order[: len(self.frames)] = self._order(epoch)[:filled]
                for number in order[start + worker :: workers]:
                    yield number, epoch
                start, epoch = 0, epoch + 1

        return self._batches(numbers, lambda dataset: dataset, workers)

    def _order(self, epoch: int) -> np.ndarray:
        number = len(self.frames)
        return frame_order(number, self.seed, epoch) if self.shuffle else np.arange(number)

    def _batches(self, numbers: Callable[[], Iterator], counted: Callable, workers: int = 1):
        signature = (tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.int64))
        frames = tf.data.Dataset.from_generator(numbers, output_signature=signature)
        loaded = frames.apply(counted).map(self._load, framework.cores())
        return without_autotune(self.finished(self.batched(loaded, workers)))

    def batched(self, frames, workers: int = 1):
        """Return prepared batches of a ``tf.data.Dataset`` of image, mask, number and epoch."""
        prepared = frames.map(self._prepare, framework.cores())
        return prepared.batch(self.batch_size // workers)

    def finished(self, batches):
        """Return what a network gets of prepared batches."""
        return batches.map(self._finish, framework.cores()).prefetch(2)

    def _load(self, number, epoch):
        kinds = [tf.uint8, tf.uint8]
        image, mask = tf.numpy_function(self.frames.load, [number], kinds, stateful=False)
        image = tf.ensure_shape(image, (*self.frames.size, 3))  # H W 3
        mask = tf.ensure_shape(mask, self.frames.size)  # H W
        return image, mask, number, epoch

    def _key(self, number, epoch):
        # A seed of its own for every frame and epoch, whatever the order and the threads.
        fold_in = tf.random.experimental.stateless_fold_in
        return fold_in(fold_in([self.seed, 0], number), epoch)

    def _prepare(self, image, mask, number, epoch):
        image = tf.cast(image, tf.float32) / 255
        if self.augment is not None:
            image, mask = self.augment(image, mask, self._key(number, epoch))
        if self.frames.size != self.size and image.shape[:2] != self.size:
            image = tf.image.resize(image, self.size, "area")
            mask = tf.image.resize(mask[..., None], self.size, "nearest")[..., 0]
        return image, mask, number, epoch

    def _finish(self, images, masks, numbers, epochs):
        if len(self.frames) % self.batch_size:
            full = numbers != _EMPTY
            images, masks = tf.boolean_mask(images, full), tf.boolean_mask(masks, full)
        if self.mix is not None:
            images, masks = self.mix(images, masks, self._key(numbers[0], epochs[0]))
        scale, offset = self._affine
        images = tf.tensordot(images, 255 * scale, 1) + offset
        return images, tf.one_hot(masks, self.frames.scheme.num_classes)  # 255: all zeros


def without_autotune(dataset):
    """Return a ``tf.data.Dataset`` whose numbers of threads are those that were asked for.

    TensorFlow's search for better ones runs in a thread that sleeps, and for which the end of an
    epoch has to wait, now and then for two seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class Batches(tf.data.Dataset):
    """An epoch of batches, anew each time; unlike what TensorFlow makes of it, it knows its source.

    Attributes
    ----------
    source : Source
    frames : Frames
    config : dict
        See :meth:`Source.config`.
    """

    def __init__(self, source: Source):
        self.source, self.frames = source, source.frames
        self._dataset = source.one_epoch()
        super().__init__(self._dataset._variant_tensor)

    @property
    def config(self) -> dict:
        """All that shapes the batches, for JSON."""
        return self.source.config()

    @property
    def element_spec(self):
        """Shapes and types of a batch."""
        return self._dataset.element_spec

    def _inputs(self) -> list:
        return [self._dataset]

    def take(self, count: int, name: str | None = None) -> "Batches":
        """Return the first batches of each epoch alone; their source stays known."""
        limit = self.source.steps if count < 0 else min(count, self.source.steps)
        return Batches(dataclasses.replace(self.source, limit=limit))
