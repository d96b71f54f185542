"""Train on MiniCity alone, score on real photographs: CamVid's val split, 11 classes.

    python benchmarks/transfer.py /path/to/camvid

Predictions of the 19 Cityscapes classes become CamVid's by `labels.CITYSCAPES_TO_CAMVID`; no
photograph is seen in training, and no weights from elsewhere are used. Run it again after it was
stopped and it goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np

from cityseg_utils import datasets, labels, prediction, recipes
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop

RECIPE = recipes.Recipe(
    size=(160, 320),
    augment=Compose(ScaleAndCrop((128, 192), (0.85, 2.0)), Flip(), Colors(1.0)),
    refresh=0,
)


def main() -> None:
    """Draw the scenes, train, predict, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pairs, scheme = datasets.draw_streets(options.scenes, val=40), labels.CITYSCAPES
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    run, model = recipes.fit(RECIPE, train, val, scheme, options.epochs, options.seed, "transfer")
    print(run.history.round(3).to_string())
    print(f"trained for {run.seconds / 60:.0f} min")

    photographs = datasets.find_pairs(options.camvid)
    photographs = photographs[photographs["split"] == "val"]
    merge = labels.merging(scheme, labels.CAMVID, labels.CITYSCAPES_TO_CAMVID)
    for size in ((128, 160), (192, 256), (256, 352), (352, 480)):
        predictions = (
            np.argmax(scores @ merge, axis=-1)
            for scores in prediction.predict(model, photographs["image"], size=size)
        )
        scored = prediction.score(photographs, labels.CAMVID, predictions)
        print(
            f"CamVid val, network sees {size}: {scored.mean_iou():.3f} mIoU, "
            f"{scored.pixel_accuracy():.3f} accuracy",
            flush=True,
        )
        print(scored.iou().round(3).to_dict(), flush=True)


if __name__ == "__main__":
    main()
