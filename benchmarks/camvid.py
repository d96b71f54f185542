"""A recipe for CamVid: an hour on 2 cores, no weights from elsewhere.

    python benchmarks/camvid.py /path/to/camvid
    python benchmarks/camvid.py /path/to/camvid --predict /path/to/camvid/test OUT
    python benchmarks/camvid.py /path/to/camvid --holdout 0001TP

The first command trains on drawn streets, then on all of train, and scores val: every frame, native
360 x 480, 11 classes, void left out. The second trains likewise, unless that was done, and writes a
PNG of CamVid's label values (0 sky to 10 bicyclist) for every PNG of a folder, at its own size. The
third is for choosing between recipes: it leaves one drive out of train and scores that. All go on
where they were stopped.

On 2 cores of an AMD EPYC, 48 minutes, seed 0: 0.661 mean IoU on val. With drive 0006R0 left out and
scored: 0.399.
"""

import argparse
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from cityseg_utils import datasets, prediction, recipes, storage, studies
from cityseg_utils.augmentation import Compose, ScaleAndCrop
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CAMVID, CITYSCAPES
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import read_mask

SMALL = studies.CAMVID_FAST.but(steps=None, refresh=0)  # as it was chosen, for longer
# Drawn streets are cheap in labels, many small crops in time; poles and signs need larger ones.
DRAWN = SMALL.but(
    size=(192, 384), augment=Compose(ScaleAndCrop((128, 160), (0.7, 1.8), seek=0.3), *studies.LOOKS)
)
LARGE = SMALL.but(
    size=(352, 480),
    augment=Compose(ScaleAndCrop((224, 288), (0.6, 1.2), seek=0.3), *studies.LOOKS),
    schedule="cosine",
    learning_rate=5e-4,
    refresh=40,
)
EPOCHS = [16, 100, 30]
TRIED = ((192, 256), (256, 352), (352, 480))
SIZES = (TRIED[0], TRIED[2])  # the best choice of these on drive 0006R0, by little


def train(pairs, val, streets: int, epochs: list[int], seed: int, name: str):
    """Go through the phases, each starting from the last one's weights."""
    drawn = datasets.draw_streets(streets)
    # A few frames are enough to see whether it learns; they decide nothing.
    phases = [
        (DRAWN, drawn, drawn.iloc[::60], CITYSCAPES),
        (SMALL, pairs, val.iloc[::25], CAMVID),
        (LARGE, pairs, val.iloc[::25], CAMVID),
    ]
    first, seconds = None, 0.0
    for (recipe, frames, watched, scheme), number in zip(phases, epochs, strict=True):
        recipe = recipe.but(first_weights=first)
        run, model = recipes.fit(recipe, frames, watched, scheme, number, seed, name)
        print(run.history[["loss", "val_mean_iou"]].iloc[::4].round(3).to_string(), flush=True)
        first, seconds = run.folder / "last.npz", seconds + run.seconds
    print(f"{seconds / 60:.0f} min of training, the scores after each epoch included")
    return model


def split(pairs, holdout: str | None):
    """Return what to train on and what to score: val, or the drive that is left out."""
    train_pairs, val = (pairs[pairs["split"] == name] for name in ("train", "val"))
    if holdout:
        chosen = train_pairs["city"] == holdout
        train_pairs, val = train_pairs[~chosen], train_pairs[chosen]
    if train_pairs.empty or val.empty:
        raise DataError(
            f"{len(train_pairs)} frames to train on and {len(val)} to score; there must be some of "
            f"both. The drives are {', '.join(sorted(pairs['city'].unique()))}"
        )
    return train_pairs, val


def predict(model, images):
    """Yield label values, from the mean over the sizes and their mirror images."""
    views = [prediction.predict(model, images, size, mirror=True) for size in SIZES]
    for scores in zip(*views, strict=True):
        yield np.mean(scores, axis=0).argmax(-1).astype(np.uint8)


def list_frames(folder: Path) -> list[Path]:
    """Return the PNGs of a folder."""
    if not (images := sorted(folder.glob("*.png"))):
        raise DataError(f"{folder}: holds no PNG; name the folder that the frames are in")
    return images


def write_predictions(model, images: list[Path], folder: Path) -> None:
    """Write a PNG of label values for each picture."""
    for path, labels in zip(images, predict(model, images), strict=True):
        storage.write_png(folder / path.name, labels)
    print(f"{len(images)} predictions in {folder}")


def report(model, val) -> None:
    """Print how well the model does on some frames, for every choice of sizes to see them in."""
    views = [prediction.predict(model, val["image"], size, mirror=True) for size in TRIED]
    choices = chain.from_iterable(combinations(TRIED, n + 1) for n in range(len(TRIED)))
    matrices = {sizes: ConfusionMatrix.for_scheme(CAMVID) for sizes in choices}
    for path, *scores in zip(val["mask"], *views, strict=True):
        truth, by_size = read_mask(path, CAMVID), dict(zip(TRIED, scores, strict=True))
        for sizes, matrix in matrices.items():
            labels = np.mean([by_size[size] for size in sizes], axis=0).argmax(-1)
            matrix.update(truth, labels.astype(np.uint8))
    for sizes, matrix in matrices.items():
        what = " and ".join(f"{height} x {width}" for height, width in sizes)
        print(f"{what}: {matrix.mean_iou():.4f} mIoU, {matrix.pixel_accuracy():.4f} accuracy")
    print(matrices[SIZES].iou().round(3).to_string())


def main() -> None:
    """Train, then write predictions or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--predict", nargs=2, type=Path, metavar=("FRAMES", "OUT"))
    parser.add_argument("--holdout", metavar="DRIVE", help="0001TP or 0006R0")
    parser.add_argument("--streets", type=int, default=480, help="drawn ones")
    parser.add_argument("--epochs", nargs=3, type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    frames, folder = options.predict or (None, None)
    # All that can be refused is refused before the hour, not after it.
    images = list_frames(frames) if frames else []
    if images and folder.resolve() == frames.resolve():
        raise DataError(f"{folder}: holds the frames; name another folder for the predictions")
    train_pairs, val = split(datasets.find_pairs(options.camvid), options.holdout)
    name = f"camvid-{options.holdout or 'all'}"
    model = train(train_pairs, val, options.streets, options.epochs, options.seed, name)
    if images:
        write_predictions(model, images, folder)
    else:
        report(model, val)


if __name__ == "__main__":
    main()
