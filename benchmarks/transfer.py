"""Train on MiniCity alone, score on real photographs: CamVid's val split, 11 classes.

    python benchmarks/transfer.py ../shared/data/camvid

Predictions of the 19 Cityscapes classes become CamVid's by `labels.CITYSCAPES_TO_CAMVID`; no
photograph is seen in training, and no weights from elsewhere are used. Run it again after it was
stopped and it goes on where it was.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from cityseg_utils import datasets, labels, minicity, storage
from cityseg_utils.framework import load_tensorflow, set_seed

tf = load_tensorflow()

from cityseg_utils import augmentation, losses, models, pipeline, training  # noqa: E402


def main() -> None:
    """Draw the scenes, train, predict, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    set_seed(options.seed)

    root = storage.home() / "data" / f"minicity-{options.scenes}"
    minicity.generate(root, train=options.scenes, val=40, test=0, progress=True)
    pairs = datasets.find_pairs(root)
    scheme = labels.CITYSCAPES
    augment = augmentation.Compose(
        augmentation.ScaleAndCrop((128, 192), (0.85, 2.0)),
        augmentation.Flip(),
        augmentation.Colors(1.0),
    )
    frames = {"scheme": scheme, "size": (160, 320), "batch_size": 8}
    train = pairs[pairs["split"] == "train"]
    train = pipeline.make_dataset(train, **frames, augment=augment, shuffle=True, seed=options.seed)
    val = pairs[pairs["split"] == "val"]
    val = pipeline.make_dataset(
        val, **frames, augment=augmentation.ScaleAndCrop((128, 192), (1, 1))
    )

    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = models.build_model(scheme.num_classes, (None, None, 3), batch_norm_momentum=0.9)
    steps = int(train.cardinality()) * options.epochs
    model.compile(
        tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(1e-3, steps, 0.02)),
        losses.SumOfLosses([losses.CrossEntropy(), losses.DiceLoss()]),
        metrics=[training.MeanIoU(scheme.num_classes)],
    )
    started = time.perf_counter()
    run = training.fit(model, train, val, options.epochs, name="transfer")
    models.load_weights(model, run.folder / "last.npz")
    print(run.history.round(3).to_string())
    print(f"trained for {run.seconds / 60:.0f} min ({time.perf_counter() - started:.0f} s now)")

    photographs = datasets.find_pairs(options.camvid)
    photographs = photographs[photographs["split"] == "val"]
    merge = labels.merging(scheme, labels.CAMVID, labels.CITYSCAPES_TO_CAMVID)
    for size in ((128, 160), (192, 256), (256, 352), (352, 480)):
        predictions = (
            np.argmax(scores @ merge, axis=-1)
            for scores in training.predict(model, photographs["image"], size=size)
        )
        scored = training.score(photographs, labels.CAMVID, predictions)
        print(
            f"CamVid val, network sees {size}: {scored.mean_iou():.3f} mIoU, "
            f"{scored.pixel_accuracy():.3f} accuracy",
            flush=True,
        )
        print(scored.iou().round(3).to_dict(), flush=True)


if __name__ == "__main__":
    main()
