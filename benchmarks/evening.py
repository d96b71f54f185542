"""How far an evening of two cores goes, beside the second project's claim: MiniCity's test cities.

    python benchmarks/evening.py

The reference model's recipe, but the encoder learns, too, on more drawn streets and for longer:
some five processor hours. Stopped and started again, it goes on. Then this network and the
reference model are scored on 400 streets of MiniCity's val cities and of its test cities. Nothing
was chosen on the test cities, and what is in ``claim.csv`` is not scored again.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from cityseg_utils import (
    analysis,
    datasets,
    minicity,
    models,
    prediction,
    recipes,
    storage,
    studies,
    tables,
)
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.reference.__main__ import RECIPE

STREETS, STEPS = 8000, 20_000
MEASURES = {
    "mean IoU": ConfusionMatrix.mean_iou,
    "pixel accuracy": ConfusionMatrix.pixel_accuracy,
    "mean Dice": ConfusionMatrix.mean_dice,
}
KEYS = ("network", "scored on", "measure")


def scored_frames(number: int) -> dict[str, pd.DataFrame]:
    """Return so many streets of the val cities and of the test cities, drawn on first use."""
    root = storage.home() / "data" / f"minicity-scored-{number}"
    minicity.generate(root, train=1, val=number, test=number, progress=True)
    return dict(iter(datasets.find_pairs(root).groupby("split")))


def matrices(model, pairs: pd.DataFrame) -> list[ConfusionMatrix]:
    """Return the confusion matrix of each frame, at its own size."""
    predicted = prediction.predict(model, pairs["image"], models.REFERENCE_SIZE)
    return [
        prediction.score(pairs.iloc[[k]], CITYSCAPES, [scores])
        for k, scores in enumerate(predicted)
    ]


def main() -> None:
    """Train, and score what is not in the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streets", type=int, default=STREETS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--scored", type=int, default=400, help="streets of each split")
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "claim.csv")
    options = parser.parse_args()
    done = set(tables.read(options.results, KEYS, KEYS).index) if options.results.exists() else ()
    frames = scored_frames(options.scored)
    for network in ("reference", "evening"):
        todo = [split for split in ("val", "test") if (network, split, "mean IoU") not in done]
        if not todo:
            continue
        cost = {"streets": 3000, "steps": 8000, "processor seconds": 62 * 60}  # as its log says
        model = models.load_reference()
        if network == "evening":
            recipe = RECIPE.but(freeze_encoder=False, steps=options.steps)
            train = datasets.draw_streets(options.streets)
            runs = storage.home() / "runs"
            trained = recipes.train(recipe, train, CITYSCAPES, 0, recipes.tell, runs, "evening")
            model, seconds = trained.model, round(trained.processor_seconds)
            cost = dict(zip(cost, (options.streets, options.steps, seconds), strict=True))
        for split in todo:
            each = matrices(model, frames[split])
            whole = sum(each[1:], start=each[0])
            for name, measure in MEASURES.items():
                low, high = analysis.interval(each, measure)
                row = dict(zip(KEYS, (network, split, name), strict=True)) | {
                    "score": measure(whole),
                    "low": low,
                    "high": high,
                    "frames": len(each),
                    **cost,
                    "date": time.strftime("%Y-%m-%d"),
                    "command": "python benchmarks/evening.py",
                }
                tables.add(options.results, row, KEYS)
                print(f"{network}, {split}: {name} {row['score']:.4f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
