"""What a leaking split and the best of many epochs add to a score, beside the same score without.

    python benchmarks/tricks.py --seeds 0 1 2

Leak: a network learns from every other frame of twelve drives, and is scored on the frames in
between, on other drives through the same cities, and on streets of other cities. Best of many: a
network is scored after each of sixty epochs on forty streets; what was the best there is scored on
other streets, too. A row of each goes to ``tricks.csv``; what is there is not done again.
"""

import argparse
import shlex
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from cityseg_utils import datasets, models, prediction, recipes, storage, studies, tables
from cityseg_utils.minicity import CITIES
from cityseg_utils.minicity.drive import drive
from cityseg_utils.runs import RunFolder

RECIPE = studies.CHANGED
RUNS = storage.home() / "runs" / "tricks"
EPOCHS = 60  # of 15 steps
SCHEDULES = {"one cycle": RECIPE, "constant rate": RECIPE.but(schedule="constant")}
DRIVES, FRAMES, RATE = 12, 20, 2.0  # frames a second: 3.5 metres from one to the next
KEYS = ("training", "weights of", "scored on", "seed")
TRICKS = ("drives", *SCHEDULES)
ROWS = {"drives": 3, **dict.fromkeys(SCHEDULES, 4)}  # of a training


def filmed(drives: range, name: str, frames: int = FRAMES) -> pd.DataFrame:
    """Write drives through the train cities in the Cityscapes layout; return their frames."""
    root = storage.home() / "data" / name
    cities = CITIES["train"]
    for k in drives:
        city = cities[k % len(cities)]
        picture = root / "leftImg8bit" / "train" / city
        mask = root / "gtFine" / "train" / city
        files = [f"{city}_{k:06d}_{frame:06d}" for frame in range(frames)]
        if (mask / f"{files[-1]}_gtFine_labelIds.png").exists():
            continue
        for file, frame in zip(files, drive(city, frames, seed=k, rate=RATE), strict=True):
            storage.write_png(picture / f"{file}_leftImg8bit.png", frame.image)
            storage.write_png(mask / f"{file}_gtFine_labelIds.png", frame.labels)
    return datasets.find_pairs(root)


def leak(seed: int):
    """Yield the scores of one training on frames that it has neighbours of, and on others."""
    seen = filmed(range(DRIVES), "drives")
    between = seen.groupby("city").cumcount() % 2 == 1
    others = filmed(range(DRIVES, 2 * DRIVES), "other-drives", FRAMES // 2)
    _, streets, scheme = studies.unseen_cities()
    trained = recipes.train(RECIPE, seen[~between], scheme, seed, runs=RUNS, name="leak")
    scored = {
        "frames in between": seen[between],
        "other drives": others,
        "other cities": streets.iloc[40:],
    }
    for name, frames in scored.items():
        matrix = prediction.evaluate(trained.model, frames, scheme, RECIPE.size)
        yield ("drives", "last", name), matrix


def best_of_many(schedule: str, seed: int):
    """Yield the scores of the last epoch and of the best one, where it was chosen and elsewhere."""
    recipe = SCHEDULES[schedule]
    train, streets, scheme = studies.unseen_cities()
    chosen_on, others = streets.iloc[:40], streets.iloc[40:]
    run, model = recipes.fit(recipe, train, chosen_on, scheme, EPOCHS, seed, name="best-of-many")
    folder = RunFolder(run.folder)
    for weights, file in {"last": folder.last, "best": folder.best}.items():
        models.load_weights(model, file)
        for name, frames in {"where it was chosen": chosen_on, "other streets": others}.items():
            matrix = prediction.evaluate(model, frames, scheme, recipe.size)
            yield (schedule, weights, name), matrix


def main() -> None:
    """Train and score what is not in the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tricks", choices=[*TRICKS, []], nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "tricks.csv")
    options = parser.parse_args()
    done = set()
    if options.results.exists():
        rows = Counter(tables.read(options.results, KEYS, KEYS[:3]).index.droplevel([1, 2]))
        done = {key for key, number in rows.items() if number == ROWS[key[0]]}
    todo = [
        (trick, seed)
        for seed in options.seeds
        for trick in options.tricks or TRICKS
        if (trick, seed) not in done
    ]
    print(f"{len(todo)} trainings of {RECIPE.steps} steps and their scores", flush=True)
    for trick, seed in todo:
        scores = leak(seed) if trick == "drives" else best_of_many(trick, seed)
        for (training, weights, scored_on), matrix in list(scores):
            row = dict(zip(KEYS, (training, weights, scored_on, seed), strict=True)) | {
                "mean IoU": matrix.mean_iou(),
                "pixel accuracy": matrix.pixel_accuracy(),
                "recipe": str(SCHEDULES.get(trick, RECIPE)),
                "date": time.strftime("%Y-%m-%d"),
                "command": f"python benchmarks/tricks.py {shlex.quote(trick)} --seeds {seed}",
            }
            tables.add(options.results, row, KEYS)
            print(training, weights, scored_on, seed, f"{row['mean IoU']:.4f}", flush=True)


if __name__ == "__main__":
    main()
