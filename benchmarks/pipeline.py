"""How fast frames of 2048 x 1024 come to a network, beside bare decoding on the same cores.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --memory

For 128 x 128 and 256 x 512: the first epoch, which reads the PNG files; later ones, from memory and
from disk; shards; and the loader of segmentation-models' CamVid example, a ``Sequence``, which
reads frame by frame. With ``--memory``: what 2,975 frames of 256 x 256 add to the process's memory,
beside their bytes, kept and not kept.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
from noting import note

from cityseg_utils import datasets, framework, minicity, pipeline, shards
from cityseg_utils.labels import CITYSCAPES

tf = framework.load_tensorflow()

FILES, TIMES, BATCH, EPOCHS = 48, 4, 8, 5  # each file is several frames: drawing takes longer
BARS = {(128, 128): (0.85, 20), (256, 512): (0.8, 4)}  # first epoch, later ones
TRAIN_FRAMES = 2975  # of Cityscapes


def seconds(action) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def through(batches, epochs: int = 1) -> None:
    """Take all batches, and keep none: memory that is new each time would be measured instead."""
    for _ in range(epochs):
        for _batch in batches:
            pass


def bare(pairs: pd.DataFrame, size: tuple[int, int]) -> float:
    """Read and resize each image and mask by OpenCV, one thread for each core."""

    def read(row):
        wide = size[::-1]
        cv2.resize(cv2.imread(str(row.image)), wide, interpolation=cv2.INTER_AREA)
        mask = cv2.imread(str(row.mask), cv2.IMREAD_UNCHANGED)
        cv2.resize(mask, wide, interpolation=cv2.INTER_NEAREST)

    with ThreadPoolExecutor(framework.cores()) as threads:
        return seconds(lambda: list(threads.map(read, pairs.itertuples())))


class Sequence(tf.keras.utils.Sequence):
    """Batches as in the CamVid example of segmentation-models: read anew, one after the other."""

    def __init__(self, pairs: pd.DataFrame, size: tuple[int, int]):
        self.rows, self.wide = list(pairs.itertuples()), size[::-1]

    def __len__(self) -> int:
        return len(self.rows) // BATCH

    def __getitem__(self, k: int):
        images, masks = zip(*map(self._read, self.rows[k * BATCH : (k + 1) * BATCH]), strict=True)
        return np.stack(images), np.stack(masks)

    def _read(self, row):
        image = cv2.cvtColor(cv2.imread(str(row.image)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(row.mask), 0)
        image, mask = cv2.resize(image, self.wide), cv2.resize(mask, self.wide, interpolation=0)
        classes = [mask == value for value in CITYSCAPES.ids]
        return image, np.stack(classes, axis=-1).astype("float")


def compare(pairs: pd.DataFrame, size: tuple[int, int], folder: Path) -> None:
    """Time all ways to the batches of one size."""
    first_bar, later_bar = BARS[size]
    name = f"{size[1]} x {size[0]}, "
    cold = []
    for _ in range(2):  # in turns, so that what else the machine does slows both
        taken = bare(pairs, size)
        data = pipeline.make_dataset(pairs, CITYSCAPES, size, BATCH)
        cold.append((taken, seconds(lambda: through(data))))  # noqa: B023
    plain, first = np.median(cold, axis=0)
    later = seconds(lambda: through(data, EPOCHS)) / EPOCHS
    on_disk = pipeline.make_dataset(pairs, CITYSCAPES, size, BATCH, cache="disk")
    through(on_disk)
    disk = seconds(lambda: through(on_disk, EPOCHS)) / EPOCHS
    packed = shards.write(pairs, CITYSCAPES, size, folder / f"shards{size[0]}", per_shard=16)
    records = shards.make_dataset(packed, CITYSCAPES, BATCH)
    through(records)
    recorded = seconds(lambda: through(records, EPOCHS)) / EPOCHS
    sequence = Sequence(pairs.iloc[:FILES], size)
    theirs = TIMES * seconds(lambda: [sequence[k] for k in range(len(sequence))])

    decoding, cache = "the speed of bare decoding", "the speed of the cache on disk"
    note(f"{name}first epoch", plain / first, decoding, f"at least {first_bar}", first)
    note(f"{name}later epochs", plain / later, decoding, f"at least {later_bar}", later)
    note(f"{name}later epochs, disk", plain / disk, decoding, "", disk)
    note(f"{name}shards", disk / recorded, cache, "at least 1", recorded)
    note(f"{name}Sequence", plain / theirs, decoding, "", theirs)
    note(f"{name}later epochs", theirs / later, "the speed of the Sequence")


def grown(root: Path, cache: str | None) -> float:
    """Return by how many bytes this process grows with two epochs of Cityscapes' number."""
    pairs = datasets.find_pairs(root)
    pairs = pd.concat([pairs] * (TRAIN_FRAMES // len(pairs) + 1), ignore_index=True)
    pairs = pairs.iloc[:TRAIN_FRAMES].assign(frame=range(TRAIN_FRAMES))
    process = psutil.Process()
    list(pipeline.make_dataset(pairs.iloc[:64], CITYSCAPES, (256, 256), BATCH).take(4))
    before = process.memory_info().rss
    data = pipeline.make_dataset(pairs, CITYSCAPES, (256, 256), BATCH, cache=cache)
    most = 0
    for _ in range(2):
        for k, _batch in enumerate(data):
            if k % 20 == 0:
                most = max(most, process.memory_info().rss - before)
    return most


def main() -> None:
    """Draw frames, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true", help="measure that, and nothing else")
    parser.add_argument("--grown", nargs=2, metavar=("ROOT", "CACHE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grown:
        root, cache = options.grown
        print(grown(Path(root), None if cache == "none" else cache))
        return
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "city"
        if options.memory:
            minicity.generate(root, train=119, val=0, test=0)
            for cache in ("memory", "none"):  # each in a process of its own
                command = [sys.executable, __file__, "--grown", str(root), cache]
                said = subprocess.run(command, check=True, capture_output=True, text=True)
                times = float(said.stdout) / (TRAIN_FRAMES * 256 * 256 * 4)
                bar = "at most 1.5" if cache == "memory" else "at most 0.5"
                note(f"memory of 2,975 frames, cache: {cache}", times, "their bytes", bar)
            return
        minicity.generate(root, train=FILES, val=0, test=0, size=(1024, 2048))
        pairs = pd.concat([datasets.find_pairs(root)] * TIMES, ignore_index=True)
        pairs = pairs.assign(frame=range(len(pairs)))
        for size in BARS:
            compare(pairs, size, Path(folder))


if __name__ == "__main__":
    main()
