"""A recipe for CamVid: half an hour of one core.

    python benchmarks/camvid.py /path/to/camvid
    python benchmarks/camvid.py /path/to/camvid --weights imagenet
    python benchmarks/camvid.py /path/to/camvid --predict /path/to/camvid/test OUT
    python benchmarks/camvid.py /path/to/camvid --holdout 0001TP --steps 350

The first command trains on all of train and scores val: every frame, native 360 x 480, 11 classes,
void left out. It starts from the course's reference model, which has ImageNet's encoder and learned
from drawn streets; the second has ImageNet's weights alone, and ``--weights none`` none from
elsewhere: then it draws streets and learns from them before. The third trains likewise, unless that
was done, and writes a PNG of CamVid's label values (0 sky to 10 bicyclist) for every picture of a
folder, at its own size; if that folder has its masks beside it, as CamVid's test has, it prints the
score, too. The fourth is how the recipe was chosen: one drive is left out of train and scored, val
is not looked at. ``--without 0016E5`` leaves out the drive that val was cut out of, and scores
val: what is lost tells how much of val's score is owed to its neighbours in train. What is scored
goes to ``camvid_hour.csv``. All go on where they were stopped.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import datasets, models, prediction, recipes, storage, studies, tables
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CAMVID, CITYSCAPES
from cityseg_utils.layouts import PICTURES
from cityseg_utils.preprocessing import read_mask

# Small crops of all sizes, of which three in ten look for a rare class; a loss that sees thin ones.
RECIPE = recipes.Recipe(
    backbone=models.SMALL,
    size=(352, 480),
    augment=Compose(ScaleAndCrop((160, 224), (0.8, 1.8), seek=0.3), Flip(), Colors(0.5)),
    loss="weighted cross-entropy + dice",
    learning_rate=2e-3,
    weight_decay=1e-4,
    schedule="one cycle",
    average=0.99,
    refresh=0,
    precision="float32",
)
# Before, on drawn streets, where there are no weights to start from.
DRAWN = RECIPE.but(
    size=(256, 512),
    augment=Compose(ScaleAndCrop((160, 224), (0.7, 2.0), seek=0.3), Flip(), Colors(0.5)),
)
FIRST = {"reference": {"first_weights": "reference"}, "imagenet": {"encoder_weights": "imagenet"}}
SIZES = ((352, 480), (448, 608), (544, 736))  # the network's answers for these are averaged
KEYS = ("weights", "scored on", "steps", "drawn steps", "seed")


def train(pairs, options, name: str):
    """Return the model, and what a row says of its training."""
    recipe = RECIPE.but(steps=options.steps, **FIRST.get(options.weights, {}))
    runs, seed, drawn_steps, drawn_seconds = storage.home() / "runs", options.seed, 0, 0
    if options.weights == "none":
        drawn = recipes.train(
            DRAWN.but(steps=options.drawn_steps),
            datasets.draw_streets(options.streets),
            CITYSCAPES,
            seed,
            recipes.tell,
            runs,
            "camvid-drawn",
        )
        drawn_steps, drawn_seconds = drawn.steps, round(drawn.processor_seconds)
        first = storage.home() / "camvid-drawn.npz"
        models.save_weights(drawn.model, first)
        recipe = recipe.but(first_weights=first)
    trained = recipes.train(recipe, pairs, CAMVID, seed, recipes.tell, runs, name)
    minutes = (trained.processor_seconds / 60, drawn_seconds / 60)
    print("processor minutes: {:.0f}, and {:.0f} on drawn streets".format(*minutes), flush=True)
    return trained.model, {
        "steps": trained.steps,
        "drawn steps": drawn_steps,
        "processor seconds": round(trained.processor_seconds),
        "processor seconds on drawn streets": drawn_seconds,
        "precision": trained.precision,
    }


def split(pairs, holdout: str | None, without: str | None = None):
    """Return what to train on and what to score: val, or the drive that is left out."""
    train_pairs, val = (pairs[pairs["split"] == name] for name in ("train", "val"))
    chosen = train_pairs["city"] == (holdout or without)
    if holdout:
        val = train_pairs[chosen]
    if without and not chosen.any():
        val = val.iloc[:0]
    train_pairs = train_pairs[~chosen]
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
    """Return the pictures of a folder."""
    images = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in PICTURES)
    if not images:
        raise DataError(f"{folder}: holds no picture; name the folder that the frames are in")
    return images


def write_predictions(model, images: list[Path], folder: Path) -> None:
    """Write a PNG of label values for each picture; score them if their masks lie beside them."""
    for path, labels in zip(images, predict(model, images), strict=True):
        storage.write_png(folder / f"{path.stem}.png", labels)
    print(f"{len(images)} predictions in {folder}")
    masks = [path.parents[1] / f"{path.parent.name}annot" / f"{path.stem}.png" for path in images]
    if all(mask.exists() for mask in masks):
        pairs = pd.DataFrame({"image": images, "mask": masks})
        written = (read_mask(folder / mask.name) for mask in masks)
        describe(images[0].parent.name, prediction.score(pairs, CAMVID, written))


def describe(what: str, scored) -> None:
    """Print scores."""
    print(f"{what}: {scored.mean_iou():.4f} mIoU, {scored.pixel_accuracy():.4f} accuracy")
    print(scored.iou().round(3).to_string())


def main() -> None:
    """Train, then write predictions or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--weights", choices=[*FIRST, "none"], default="reference")
    parser.add_argument("--predict", nargs=2, type=Path, metavar=("FRAMES", "OUT"))
    drive = parser.add_mutually_exclusive_group()
    drive.add_argument("--holdout", metavar="DRIVE", help="0001TP or 0006R0")
    drive.add_argument("--without", metavar="DRIVE", help="leave it out of train, score val")
    parser.add_argument("--steps", type=int, default=2000, help="on photographs, 8 crops each")
    parser.add_argument("--drawn-steps", type=int, default=3000, help="before, if there are none")
    parser.add_argument("--streets", type=int, default=1200, help="drawn ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "camvid_hour.csv")
    options = parser.parse_args()

    frames, folder = options.predict or (None, None)
    # All that can be refused is refused before the hours, not after them.
    images = list_frames(frames.resolve()) if frames else []
    if images and folder.resolve() == frames.resolve():
        raise DataError(f"{folder}: holds the frames; name another folder for the predictions")
    pairs = datasets.find_pairs(options.camvid)
    train_pairs, val = split(pairs, options.holdout, options.without)
    what = options.holdout or ("val" if not options.without else f"val without {options.without}")
    model, row = train(train_pairs, options, f"camvid-{what}")
    if images:
        write_predictions(model, images, folder)
        return
    scored = prediction.score(val, CAMVID, predict(model, val["image"]))
    describe(what, scored)
    row |= {"weights": options.weights, "scored on": what}
    row |= {"seed": options.seed, "frames": len(val), "date": time.strftime("%Y-%m-%d")}
    row |= {"mean IoU": scored.mean_iou(), "pixel accuracy": scored.pixel_accuracy()}
    row |= {f"IoU {name}": iou for name, iou in scored.iou().items()}
    tables.add(options.results, row, KEYS)


if __name__ == "__main__":
    main()
