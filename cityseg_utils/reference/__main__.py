"""Train the reference model: the small U-Net on many scenes of MiniCity's train cities.

    python -m cityseg_utils.reference --publish

Its encoder keeps what ImageNet knows of photographs; the decoder learns on crops at about native
scale, mirrored and recoloured, in which rare classes come more often. Val is looked at once, at the
end. Stopped and started again, the training goes on. With ``--publish`` the last weights become the
file that `models.load_reference` reads, and what is printed here is put beside it.
"""

import argparse

from cityseg_utils import datasets, models, prediction, recipes, storage
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.labels import CITYSCAPES

RECIPE = recipes.Recipe(
    backbone=models.SMALL,
    encoder_weights="imagenet",
    freeze_encoder=True,
    size=models.REFERENCE_SIZE,
    augment=Compose(ScaleAndCrop((160, 256), (0.6, 1.8), seek=0.5), Flip(), Colors(1.0)),
    repeat=0.4,
    loss="cross-entropy + dice",
    learning_rate=2e-3,
    schedule="one cycle",
    average=0.99,
    refresh=0,
    precision="float32",
)


def main() -> None:
    """Draw the scenes, train, score."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.reference")
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()

    pairs = datasets.draw_streets(options.scenes, val=400)
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    trained = recipes.train(
        RECIPE.but(steps=options.steps),
        train,
        CITYSCAPES,
        options.seed,
        recipes.tell,
        storage.home() / "runs",
        "reference",
    )
    scored = score(trained.model, val)
    report = [
        f"python -m cityseg_utils.reference --scenes {options.scenes} --steps {options.steps} "
        f"--seed {options.seed}",
        f"{trained.processor_seconds / 60:.0f} processor minutes of training, {trained.precision}",
        describe("400 val streets", scored),
        describe("the first 40 of them", score(trained.model, val.iloc[:40])),
        describe("400 train streets", score(trained.model, train.iloc[:: len(train) // 400])),
    ]
    if options.publish:
        models.publish(trained.model)
        small = score(models.load_reference(), val)
        report.append(describe("400 val streets, with 8-bit weights", small))
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
