"""The full comparisons behind lessons 08 to 11: what was asked, of which recipes.

    python -m cityseg_utils.studies augmentation --seeds 0 1 2

does the runs that are not yet in ``results/augmentation.csv``, some minutes each.
"""

import argparse
from dataclasses import dataclass

from cityseg_utils import datasets, experiments, storage
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
from cityseg_utils.recipes import Recipe

BASE = Recipe(size=(96, 192), steps=500)
CROP = ScaleAndCrop((96, 192), (0.75, 2.0))


@dataclass(frozen=True)
class Study:
    """A question on MiniCity, and the recipes that answer it; the first is the baseline."""

    question: str
    recipes: dict[str, Recipe]


STUDIES = {
    "augmentation": Study(
        "Which changes of the train frames help on streets of unseen cities?",
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


def main() -> None:
    """Do the runs of one study."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.studies")
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    study = STUDIES[options.study]
    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    results = storage.home() / "results" / f"{options.study}.csv"
    live = experiments.LiveTable()
    experiments.run(study.recipes, options.seeds, train, val, scheme, results, live)


if __name__ == "__main__":
    main()
