"""Train the reference model: U-Net-R34 on many scenes of MiniCity's train cities.

    python -m cityseg_utils.reference --scenes 1200 --epochs 24 --more 4 --publish

It sees crops at about native scale, half of them mirrored, and is scored on the 40 whole scenes of
the two val cities. Stopped and started again, it goes on. With ``--publish`` the weights of the
last epoch become the file that `models.load_reference` reads; the history and what is printed here
are put beside it.
"""

import argparse

import pandas as pd

from cityseg_utils import datasets, models, prediction, recipes, storage
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.labels import CITYSCAPES

RECIPE = recipes.Recipe(
    size=models.REFERENCE_SIZE,
    augment=Compose(ScaleAndCrop((160, 256), (0.7, 1.6)), Flip(), Colors(0.3)),
    refresh=0,
)
# After that, streets with trucks, buses and trains come more often, and crops seek rare classes.
RARE = RECIPE.but(
    augment=Compose(ScaleAndCrop((160, 256), (0.7, 1.6), seek=0.5), Flip(), Colors(0.3)),
    repeat=0.4,
    learning_rate=5e-4,
)


def main() -> None:
    """Draw the scenes, train, score."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.reference")
    parser.add_argument("--scenes", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--more", type=int, default=4, help="epochs that seek rare classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()

    pairs = datasets.draw_streets(options.scenes, val=40)
    train_pairs, val_pairs = (pairs[pairs["split"] == split] for split in ("train", "val"))
    data = train_pairs, val_pairs, CITYSCAPES
    first, _ = recipes.fit(RECIPE, *data, options.epochs, options.seed, "reference")
    rare = RARE.but(first_weights=first.folder / "last.npz")
    run, model = recipes.fit(rare, *data, options.more, options.seed, "reference-rare")
    report = [
        f"python -m cityseg_utils.reference --scenes {options.scenes} --epochs {options.epochs} "
        f"--more {options.more} --seed {options.seed}",
        f"{(first.seconds + run.seconds) / 60:.0f} min of training and validation",
        describe("val, last epoch", scored := score(model, val_pairs)),
    ]
    if options.publish:
        models.publish(model)
        report.append(
            describe("the same with 8-bit weights", score(models.load_reference(), val_pairs))
        )
        history = pd.concat([first.history, run.history]).reset_index(drop=True)
        storage.write_bytes(models.REFERENCE.with_name("history.csv"), history.to_csv().encode())
    report = "\n".join([*report, "", scored.table().round(3).to_string(), ""])
    print(report)
    if options.publish:
        storage.write_bytes(models.REFERENCE.with_name("log.txt"), report.encode())


def score(model, pairs):
    """Return the confusion matrix over whole frames at native size."""
    return prediction.evaluate(model, pairs, CITYSCAPES, size=models.REFERENCE_SIZE)


def describe(what: str, matrix) -> str:
    """Return one line of scores."""
    return f"{what}: {matrix.mean_iou():.4f} mIoU, {matrix.pixel_accuracy():.4f} accuracy"


if __name__ == "__main__":
    main()
