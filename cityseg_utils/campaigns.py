"""The full campaigns behind lesson 14: who asks best, with how many pixels an image.

    python -m cityseg_utils.campaigns random margin --seeds 0 1 2

does the rounds that are not yet in ``active.csv``. Strategies of one seed share their first round.
Streets of MiniCity's val cities are scored on; the oracle answers from the train streets' labels.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from cityseg_utils import (
    active_learning,
    experiments,
    prediction,
    recipes,
    storage,
    studies,
    tables,
)
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.labels import ClassScheme

BUDGETS = (10, 20, 40, 80)  # pixels an image
STEPS = 600
CHANGES = Compose(ScaleAndCrop((96, 192), (1.0, 1.6), points=True), Flip(), Colors(0.3))
# Dice on forty pixels is noise.
RECIPE = studies.PRETRAINED.but(steps=STEPS, loss="weighted cross-entropy", augment=CHANGES)
# What all labels give: the better of two losses counts.
WHOLE = RECIPE.but(augment=Compose(ScaleAndCrop((96, 192), (1.0, 1.6)), Flip(), Colors(0.3)))
CEILINGS = {"all labels": WHOLE, "all labels, Dice": WHOLE.but(loss="dice")}
KEYS = ("strategy", "pixels", "seed")


def run(
    strategy: str,
    seed: int,
    pairs: pd.DataFrame,
    val: pd.DataFrame,
    scheme: ClassScheme,
    results: Path | str,
    recipe: recipes.Recipe = RECIPE,
    budgets: tuple[int, ...] = BUDGETS,
    command: str | None = None,
) -> None:
    """Do a campaign, and add a row for each round to a table; what is there is not done again.

    Parameters
    ----------
    strategy : str
        One of `active_learning.STRATEGIES`.
    seed : int
    pairs : DataFrame
        Frames to ask about, with the masks that the oracle answers from.
    val : DataFrame
    scheme : ClassScheme
    results : Path or str
        The CSV file.
    recipe : Recipe
    budgets : tuple of int
    command : str, optional
        Noted with each row.
    """
    home = storage.home() / "runs" / "campaigns"
    folder = home / f"{strategy.replace(' ', '-')}-{seed}"
    rounds = active_learning.campaign(
        strategy, budgets, pairs, scheme, recipe, seed, folder, runs=home / "trainings"
    )
    for budget, trained in rounds:
        about = {
            "strategy": strategy,
            "pixels": budget,
            "seed": seed,
            "clicks": budget * len(pairs),
        }
        _note(results, about, trained, recipe, val, scheme, command)


def run_whole(name: str, seed: int, pairs, val, scheme, results, command=None) -> None:
    """Train with all labels, as a row beside the campaigns'; parameters as for :func:`run`."""
    runs = storage.home() / "runs" / "campaigns" / "trainings"
    trained = recipes.train(CEILINGS[name], pairs, scheme, seed, runs=runs, name="whole")
    about = {"strategy": name, "pixels": 0, "seed": seed, "clicks": 0}
    _note(results, about, trained, CEILINGS[name], val, scheme, command)


def _note(results, about: dict, trained, recipe, val, scheme, command) -> None:
    matrix = prediction.evaluate(trained.model, val, scheme, recipe.size)
    row = about | {
        "mean IoU": matrix.mean_iou(),
        "pixel accuracy": matrix.pixel_accuracy(),
        "mean Dice": matrix.mean_dice(),
        **{f"IoU {name}": iou for name, iou in matrix.iou().items()},
        "steps": trained.steps,
        "processor seconds": round(trained.processor_seconds, 1),
        "val frames": len(val),
        "recipe": str(recipe),
        "precision": trained.precision,
        "machine": experiments.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": command or "",
    }
    tables.add(results, row, KEYS)


def read(results: Path | str = studies.RESULTS / "active.csv") -> pd.DataFrame:
    """Return the stored rounds, indexed by strategy, pixels an image and seed."""
    return tables.read(results, KEYS, ("strategy",))


def main() -> None:
    """Do some campaigns."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.campaigns")
    parser.add_argument("strategies", choices=[*active_learning.STRATEGIES, *CEILINGS], nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "active.csv")
    options = parser.parse_args()
    train, val, scheme = studies.unseen_cities()
    for seed in options.seeds:
        for name in options.strategies:
            command = f"python -m cityseg_utils.campaigns {name!r} --seeds {seed}"
            do = run_whole if name in CEILINGS else run
            do(name, seed, train, val, scheme, options.results, command=command)
            print(f"{name}, seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
