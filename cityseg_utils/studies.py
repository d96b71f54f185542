"""The full comparisons behind lessons 08 to 11: what was asked, of which recipes, on which data.

    python -m cityseg_utils.studies augmentation --seeds 0 1 2

does the runs that are not yet in ``results/augmentation.csv``, some minutes each.
"""

import argparse
from dataclasses import dataclass

import pandas as pd

from cityseg_utils import datasets, experiments, minicity, storage
from cityseg_utils.augmentation import (
    ClassMix,
    Colors,
    Compose,
    CutMix,
    Cutout,
    Flip,
    Rotate,
    ScaleAndCrop,
)
from cityseg_utils.labels import CITYSCAPES, ClassScheme
from cityseg_utils.recipes import Recipe

RESULTS = storage.home() / "results"
BASE = Recipe(size=(96, 192), steps=500)
CROP = ScaleAndCrop((96, 192), (0.75, 2.0))


@dataclass(frozen=True)
class Study:
    """A question, and the recipes that answer it; the first is the baseline.

    Attributes
    ----------
    data : str
        "MiniCity": the embedded data, train and val. "CamVid dusk": CamVid's two train drives by
        day, scored on the one at dusk (0001TP), which was recorded elsewhere too.
    """

    question: str
    data: str
    recipes: dict[str, Recipe]


STUDIES = {
    "augmentation": Study(
        "Which changes of the train frames help on streets of unseen cities?",
        "MiniCity",
        {
            "none": BASE,
            "flip": BASE.but(augment=Flip()),
            "scale and crop": BASE.but(augment=CROP),
            "rotate": BASE.but(augment=Rotate(10)),
            "colours": BASE.but(augment=Colors(0.5)),
            "cutout": BASE.but(augment=Cutout()),
            "CutMix": BASE.but(mix=CutMix()),
            "ClassMix": BASE.but(mix=ClassMix()),
            "flip, crop, colours": BASE.but(augment=Compose(CROP, Flip(), Colors(0.3))),
        },
    ),
}


def open_data(name: str, camvid=None) -> tuple[pd.DataFrame, pd.DataFrame, ClassScheme]:
    """Return train pairs, val pairs and classes of one of the data sets that studies name."""
    if name == "MiniCity":
        root, scheme = storage.home() / "data" / "minicity", CITYSCAPES
        if not minicity.is_complete(root):
            minicity.generate(root, progress=True)
        pairs = datasets.find_pairs(root)
        return pairs[pairs["split"] == "train"], pairs[pairs["split"] == "val"], scheme
    pairs, scheme = datasets.open_dataset(camvid)
    train = pairs[pairs["split"] == "train"]
    dusk = train["city"] == "0001TP"
    return train[~dusk], train[dusk], scheme


def main() -> None:
    """Do the runs of one study."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.studies")
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--camvid", help="the folder of CamVid, for the studies on it")
    options = parser.parse_args()
    study = STUDIES[options.study]
    data = open_data(study.data, options.camvid)
    results = RESULTS / f"{options.study}.csv"
    experiments.run(study.recipes, options.seeds, *data, results, experiments.LiveTable())


if __name__ == "__main__":
    main()
