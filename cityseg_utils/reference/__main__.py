"""Train the reference model: U-Net-R34 on many scenes of MiniCity's train cities.

    python -m cityseg_utils.reference --scenes 1200 --epochs 24 --publish

It sees crops at native scale and half of them mirrored, and is scored on the 40 whole scenes of
the two val cities. Stopped and started again, it goes on. With ``--publish`` the weights of the
last epoch become the file that `models.load_reference` reads; the history and what is printed here
are put beside it.
"""

import argparse
import shutil

from cityseg_utils import datasets, minicity, storage
from cityseg_utils.framework import load_tensorflow, set_seed

tf = load_tensorflow()

from cityseg_utils import augmentation, losses, models, pipeline, training  # noqa: E402
from cityseg_utils.labels import CITYSCAPES  # noqa: E402


def main() -> None:
    """Draw the scenes, train, score."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.reference")
    parser.add_argument("--scenes", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    set_seed(options.seed)

    root = storage.home() / "data" / f"minicity-{options.scenes}"
    minicity.generate(root, train=options.scenes, val=40, test=0, progress=True)
    pairs = datasets.find_pairs(root)
    train_pairs, val_pairs = (pairs[pairs["split"] == split] for split in ("train", "val"))
    frames = {"scheme": CITYSCAPES, "size": models.REFERENCE_SIZE, "batch_size": 8}
    augment = augmentation.Compose(
        augmentation.ScaleAndCrop((160, 256), (0.7, 1.6)),
        augmentation.Flip(),
        augmentation.Colors(0.3),
    )
    train = pipeline.make_dataset(
        train_pairs, **frames, augment=augment, shuffle=True, seed=options.seed
    )
    val = pipeline.make_dataset(val_pairs, **frames)

    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = models.build_model(CITYSCAPES.num_classes, (None, None, 3), batch_norm_momentum=0.9)
    steps = len(train) * options.epochs
    model.compile(
        tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(1e-3, steps, 0.01)),
        losses.SumOfLosses([losses.CrossEntropy(), losses.DiceLoss()]),
        metrics=[training.MeanIoU(CITYSCAPES.num_classes)],
    )
    run = training.fit(model, train, val, options.epochs, name="reference")
    tf.keras.mixed_precision.set_global_policy("float32")
    model = models.build_model(CITYSCAPES.num_classes, (None, None, 3))
    models.load_weights(model, run.folder / "last.npz")
    report = [
        f"python -m cityseg_utils.reference --scenes {options.scenes} --epochs {options.epochs} "
        f"--seed {options.seed}",
        f"{run.seconds / 60:.0f} min of training and validation",
        describe("val, last epoch", scored := score(model, val_pairs)),
    ]
    if options.publish:
        models.publish(model)
        report.append(
            describe("the same with 8-bit weights", score(models.load_reference(), val_pairs))
        )
        shutil.copy(run.folder / "history.csv", models.REFERENCE.parent)
    report = "\n".join([*report, "", scored.table().round(3).to_string(), ""])
    print(report)
    if options.publish:
        storage.write_bytes(models.REFERENCE.with_name("log.txt"), report.encode())


def score(model, pairs):
    """Return the confusion matrix over whole frames at native size."""
    return training.evaluate(model, pairs, CITYSCAPES, size=models.REFERENCE_SIZE)


def describe(what: str, matrix) -> str:
    """Return one line of scores."""
    return f"{what}: {matrix.mean_iou():.4f} mIoU, {matrix.pixel_accuracy():.4f} accuracy"


if __name__ == "__main__":
    main()
