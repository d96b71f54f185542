"""Train on MiniCity alone, score on real photographs: CamVid, 11 classes.

    python benchmarks/transfer.py /path/to/camvid frozen --seed 0

Predictions of the 19 Cityscapes classes become CamVid's by `labels.CITYSCAPES_TO_CAMVID`; no label
of a photograph is seen in training. Scored are val and two drives of train, and each at several
sizes; a row of each goes to ``transfer.csv``. Run it again after it was stopped and it goes on
where it was. ``reference`` trains nothing: it is the model that comes with the course.

    python benchmarks/transfer.py /path/to/camvid pasted --unseen 0006R0 --seed 0

learns from CamVid's train pictures, too, but for those of one drive, which is scored beside val.
"""

import argparse
import shlex
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import datasets, labels, models, prediction, recipes, storage, studies, tables
from cityseg_utils.adversarial import Adversarial
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.semi_supervised import MeanTeacher

# Random weights and many steps, as long as there was nothing else.
RESNET34 = recipes.Recipe(
    size=(160, 320),
    augment=Compose(ScaleAndCrop((128, 192), (0.85, 2.0)), Flip(), Colors(1.0)),
    refresh=0,
    steps=2400,
)
SMALL = recipes.Recipe(
    backbone=models.SMALL,
    encoder_weights="imagenet",
    size=(192, 384),
    augment=Compose(ScaleAndCrop((128, 160), (0.5, 1.2)), Flip(), Colors(0.6)),
    learning_rate=2e-3,
    schedule="one cycle",
    average=0.99,
    refresh=0,
    precision="float32",
    steps=600,
)
FROZEN = SMALL.but(freeze_encoder=True)
TRAININGS = {
    "resnet34": (RESNET34, 1600),
    "random": (SMALL.but(encoder_weights=None), 480),
    "imagenet": (SMALL, 480),
    "frozen": (FROZEN, 480),
    # New averages of drawings: what "refreshed", below, does with photographs.
    "frozen refreshed": (FROZEN.but(refresh=30), 480),
    # The processor time of "pasted", below, without a photograph.
    "frozen for longer": (FROZEN.but(steps=900), 480),
}
# With photographs without labels; BatchNorm's averages are of these, if anything is.
PHOTOGRAPHS = {
    "size": (128, 160),
    "augment": Compose(ScaleAndCrop((128, 160), (1.0, 1.6)), Flip(), Colors(0.3)),
    "refresh_on": "unlabelled",
}
RIVAL = Adversarial(against="source", weight=0.001, **PHOTOGRAPHS)
IDLE = Adversarial(against="source", weight=0.0, warm=1.0, **PHOTOGRAPHS)
PASTED = MeanTeacher(rare_first=True, share=True, threshold=0.9, strong_on="mixture", **PHOTOGRAPHS)
ADAPTED = {
    "refreshed": (FROZEN.but(method=IDLE, refresh=30), 480),
    "adversarial": (FROZEN.but(method=RIVAL), 480),
    "pasted": (FROZEN.but(method=PASTED, refresh=30), 480),
}
DRIVES = ("0001TP", "0006R0")
SIZES = ((128, 160), (192, 256), (256, 352), (352, 480))
KEYS = ("training", "seed", "scored on", "network sees")


def main() -> None:
    """Draw the streets, train, predict, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("training", choices=[*TRAININGS, *ADAPTED, "reference"])
    parser.add_argument("--unseen", choices=DRIVES, help="the drive not even whose pictures count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--streets", type=int, help="fewer drawn streets, to try it out")
    parser.add_argument("--steps", type=int, help="fewer steps, to try it out")
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "transfer.csv")
    options = parser.parse_args()
    if (options.training in ADAPTED) != (options.unseen is not None):
        parser.error(f"--unseen is for, and needed by, {', '.join(ADAPTED)}")

    photographs = datasets.find_pairs(options.camvid)
    train_pairs = photographs[photographs["split"] == "train"]  # a drive's rest may be in test
    drives = [options.unseen] if options.unseen else DRIVES
    others = train_pairs[~train_pairs["city"].isin(drives)].assign(mask=None)
    model, row = train(options, others)
    scored_on = {"val": photographs[photographs["split"] == "val"]}
    scored_on |= {name: train_pairs[train_pairs["city"] == name] for name in drives}
    for what, pairs in scored_on.items():
        for size in SIZES:
            scored = score(model, pairs, size)
            found = {
                "scored on": what,
                "network sees": f"{size[0]}x{size[1]}",
                "frames": len(pairs),
                "mean IoU": scored.mean_iou(),
                "pixel accuracy": scored.pixel_accuracy(),
                **{f"IoU {name}": iou for name, iou in scored.iou().items()},
            }
            print(f"{what} at {found['network sees']}: {scored.mean_iou():.3f} mIoU", flush=True)
            tables.add(options.results, row | found, KEYS)


def train(options, photographs):
    """Return the model, and what a row says of its training."""
    training, seed = options.training, options.seed
    command = f"python benchmarks/transfer.py /path/to/camvid {shlex.quote(training)}"
    name = training
    if options.unseen:
        command += f" --unseen {options.unseen}"
        name += f", without {options.unseen}"
    row = {"training": name, "seed": seed, "date": time.strftime("%Y-%m-%d")}
    row["command"] = f"{command} --seed {seed}"
    if training == "reference":
        return models.load_reference(), row
    recipe, streets = (TRAININGS | ADAPTED)[training]
    recipe, streets = recipe.but(steps=options.steps or recipe.steps), options.streets or streets
    pairs, runs = datasets.draw_streets(streets), storage.home() / "runs"
    if recipe.method is not None:
        pairs = pd.concat([pairs, photographs], ignore_index=True)
    trained = recipes.train(
        recipe, pairs, labels.CITYSCAPES, seed, recipes.tell, runs, f"transfer-{training}"
    )
    row |= {"streets": streets, "steps": trained.steps, "precision": trained.precision}
    return trained.model, row | {"processor seconds": round(trained.processor_seconds)}


def score(model, pairs, size):
    """Score photographs that the network sees at some size, in CamVid's classes."""
    merge = labels.merging(labels.CITYSCAPES, labels.CAMVID, labels.CITYSCAPES_TO_CAMVID)
    scores = prediction.predict(model, pairs["image"], size=size)
    predictions = (np.argmax(likely @ merge, axis=-1) for likely in scores)
    return prediction.score(pairs, labels.CAMVID, predictions)


if __name__ == "__main__":
    main()
