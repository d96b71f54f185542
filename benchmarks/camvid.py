"""A recipe for CamVid: an hour on 2 cores, no weights from elsewhere. Not measured yet.

    python benchmarks/camvid.py /path/to/camvid
    python benchmarks/camvid.py /path/to/camvid --holdout 0001TP
    python benchmarks/camvid.py /path/to/camvid --predict FRAMES OUT

The first command trains on all of train and scores val: every frame, native 360 x 480, 11 classes,
void left out. The second is for choosing between recipes: it leaves one drive out of train and
scores that. The third writes a PNG of train ids for every picture in a folder. All go on where they
were stopped.
"""

import argparse
from pathlib import Path

import numpy as np

from cityseg_utils import datasets, recipes, storage, training
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.labels import CAMVID

FRAME = (352, 480)
LOOKS = (Flip(), Colors(0.4))
# Many small pictures first, then fewer large ones.
PHASES = [
    (
        recipes.Recipe(
            size=FRAME,
            augment=Compose(ScaleAndCrop((128, 160), (0.4, 1.0), seek=0.3), *LOOKS),
            loss="weighted cross-entropy + dice",
            schedule="one cycle",
            weight_decay=1e-4,
            refresh=0,
        ),
        60,
    ),
    (
        recipes.Recipe(
            size=FRAME,
            augment=Compose(ScaleAndCrop((256, 320), (0.6, 1.2), seek=0.3), *LOOKS),
            loss="weighted cross-entropy + dice",
            learning_rate=5e-4,
            weight_decay=1e-4,
            refresh=40,
        ),
        12,
    ),
]
SIZES = ((256, 352), (352, 480))


def train(pairs, val, seed: int, name: str):
    """Go through the phases, each starting from the last one's weights."""
    first, seconds = None, 0.0
    for recipe, epochs in PHASES:
        recipe = recipe.but(first_weights=first)
        run, model = recipes.fit(recipe, pairs, val, CAMVID, epochs, seed, name)
        print(run.history[["loss", "val_mean_iou"]].iloc[::4].round(3).to_string(), flush=True)
        first, seconds = run.folder / "last.npz", seconds + run.seconds
    print(f"{seconds / 60:.0f} min of training and validation")
    return model


def predict(model, images):
    """Yield train ids, from the mean over two sizes and their mirror images."""
    images = list(images)
    views = [training.predict(model, images, size, mirror=True) for size in SIZES]
    for scores in zip(*views, strict=True):
        yield np.mean(scores, axis=0).argmax(-1).astype(np.uint8)


def main() -> None:
    """Train, then score or write predictions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--holdout", metavar="DRIVE", help="0001TP or 0006R0")
    parser.add_argument("--predict", nargs=2, type=Path, metavar=("FRAMES", "OUT"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pairs = datasets.find_pairs(options.camvid)
    val = pairs[pairs["split"] == "val"]
    pairs = pairs[pairs["split"] == "train"]
    if options.holdout:
        chosen = pairs["city"] == options.holdout
        pairs, val = pairs[~chosen], pairs[chosen]
    model = train(pairs, val.iloc[::8], options.seed, f"camvid-{options.holdout or 'all'}")
    if options.predict:
        frames, folder = options.predict
        images = sorted(frames.glob("*.png"))
        for path, ids in zip(images, predict(model, images), strict=True):
            storage.write_png(folder / path.name, ids)
        print(f"{len(images)} predictions in {folder}")
        return
    for what, answers in (
        ("one size", training.predict(model, val["image"], FRAME)),
        ("two sizes, mirrored", predict(model, val["image"])),
    ):
        scored = training.score(val, CAMVID, answers)
        print(f"{what}: {scored.mean_iou():.4f} mIoU, {scored.pixel_accuracy():.4f} accuracy")
    print(scored.iou().round(3).to_string())


if __name__ == "__main__":
    main()
