"""The full campaigns behind lesson 14: who asks best, with how many answers an image.

    python -m cityseg_utils.campaigns random margin --seeds 0 1 2
    python -m cityseg_utils.campaigns random margin --superpixels
    python -m cityseg_utils.campaigns random margin --camvid /path/to/camvid
    python -m cityseg_utils.campaigns random margin --taught

do the rounds that are not yet in ``active.csv``. Strategies of one seed share their first round.
The oracle answers from the train frames' labels; scored are MiniCity's val cities, or a drive of
CamVid that nothing was asked about.
"""

import argparse
import shlex
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pandas as pd

from cityseg_utils import (
    active_learning,
    annotations,
    experiments,
    prediction,
    recipes,
    storage,
    studies,
    tables,
)
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop
from cityseg_utils.labels import ClassScheme
from cityseg_utils.recipes import Recipe
from cityseg_utils.semi_supervised import MeanTeacher

BUDGETS = (10, 20, 40, 80)  # answers an image
TAUGHT_WITH = 40
SUPERPIXELS = 200  # of a frame
DRIVE = "0006R0"
# Dice on forty pixels is noise.
RECIPE = studies.PRETRAINED.but(steps=600, loss="weighted cross-entropy")
# Lesson 13's method on all other pixels of the frames; single pixels are nothing to paste.
TEACHER = MeanTeacher(own_frames=True, paste=False, weight=0.5)
# Whole masks: loss, and of how many frames. Four of them take a person as long as eighty clicks in
# each of 120, if a frame takes ninety minutes and a click two and a half seconds.
WHOLE = {
    "all labels": ("weighted cross-entropy", None),
    "all labels, Dice": ("dice", None),
    "4 whole frames, Dice": ("dice", 4),
}
LONGER = 2.3  # times the steps, more than a teacher costs: 1.3 times its processor time
KEYS = ("data", "unit", "learner", "strategy", "answers", "seed")


@dataclass(frozen=True)
class Ground:
    """Where a campaign is fought.

    Parameters
    ----------
    data : str
        What a row calls it.
    pairs : DataFrame
        Frames to ask about, with the masks that the oracle answers from.
    val : DataFrame
        What to score on, at the recipe's size.
    scheme : ClassScheme
    recipe : Recipe
        Its `augment` keeps single pixels.
    """

    data: str
    pairs: pd.DataFrame
    val: pd.DataFrame
    scheme: ClassScheme
    recipe: Recipe

    @property
    def home(self) -> Path:
        """The folder of its logs and trainings."""
        return storage.home() / "runs" / "campaigns" / self.data.replace(", ", "-")

    def folder(self, strategy: str, unit: str, seed: int) -> Path:
        """Return the folder of a campaign's log."""
        return self.home / f"{strategy.replace(' ', '-')}-{unit}-{seed}"


def changes(size, points: bool) -> Compose:
    """Return the changes of labelled frames, for single pixels or for whole masks."""
    return Compose(ScaleAndCrop(size, (1.0, 1.6), points=points), Flip(), Colors(0.3))


def minicity() -> Ground:
    """Return MiniCity's train streets, to be scored on 400 of its val cities."""
    recipe = RECIPE.but(augment=changes(RECIPE.size, points=True))
    return Ground("MiniCity", *studies.unseen_cities(), recipe)


def camvid(folder: Path) -> Ground:
    """Return CamVid's train frames but those of one drive, which is scored on."""
    size = (128, 160)
    recipe = RECIPE.but(size=size, augment=changes(size, points=True))
    return Ground(f"CamVid, without {DRIVE}", *studies.unseen_drive(folder, DRIVE), recipe)


def run(
    strategy: str,
    seed: int,
    ground: Ground,
    results: Path | str,
    budgets: tuple[int, ...] = BUDGETS,
    parts: int | None = None,
    command: str = "",
    asked_anew: bool = False,
) -> Path:
    """Do a campaign, and add a row for each round to a table; what is there is not done again.

    Parameters
    ----------
    strategy : str
        One of `active_learning.STRATEGIES`.
    seed : int
    ground : Ground
    results : Path or str
        The CSV file.
    budgets : tuple of int
    parts : int, optional
        Ask about superpixels, so many a frame; default about pixels.
    command : str
        Noted with each row.
    asked_anew : bool
        Do all rounds even if their rows are there, for the sake of the log.

    Returns
    -------
    Path
        The folder with the campaign's log.
    """
    unit = "pixel" if parts is None else "superpixel"
    folder = ground.folder(strategy, unit, seed)
    keys = [(ground.data, unit, "labels alone", strategy, n, seed) for n in budgets]
    if not asked_anew and _are_noted(results, keys):
        return folder
    rounds = active_learning.campaign(
        strategy,
        budgets,
        ground.pairs,
        ground.scheme,
        ground.recipe,
        seed,
        folder,
        parts=parts,
        runs=ground.home / "trainings",
    )
    for answers, trained in rounds:
        key = (ground.data, unit, "labels alone", strategy, answers, seed)
        _note(results, key, ground, ground.recipe, trained, command)
    return folder


def go_on(
    strategy: str,
    seed: int,
    ground: Ground,
    results: Path | str,
    answers: int = TAUGHT_WITH,
    method: MeanTeacher = TEACHER,
    command: str = "",
) -> None:
    """Train anew from the first answers of a campaign: with a teacher, and for as long without.

    Parameters as for :func:`run`, but for `answers`, an image, and `method`, which labels all other
    pixels; it sees frames of the ground's size, enlarged and mirrored.
    """
    folder, number = ground.folder(strategy, "pixel", seed), len(ground.pairs) * answers
    log = annotations.AnswerLog(folder / "answers.jsonl", ground.scheme)
    if len(log.answers) < number:
        run(strategy, seed, ground, results, _up_to(answers), command=command, asked_anew=True)
        log = annotations.AnswerLog(folder / "answers.jsonl", ground.scheme)
    known = log.first(number)
    pool = active_learning.Pool(ground.pairs, ground.scheme, ground.recipe.size, known)
    small, runs = pool.write(folder / "taught"), ground.home / "trainings"
    looks = Compose(ScaleAndCrop(ground.recipe.size, (1.0, 1.5)), Flip())
    method = replace(method, augment=looks)
    for learner, recipe in {
        "with a teacher": ground.recipe.but(method=method),
        "labels alone for longer": ground.recipe.but(steps=round(LONGER * ground.recipe.steps)),
    }.items():
        trained = recipes.train(recipe, small, ground.scheme, seed, runs=runs, name="taught")
        key = (ground.data, "pixel", learner, strategy, answers, seed)
        _note(results, key, ground, recipe, trained, command)


def _up_to(answers: int) -> tuple[int, ...]:
    return (*(budget for budget in BUDGETS if budget < answers), answers)


def train_whole(
    name: str, seed: int, ground: Ground, results: Path | str, command: str = ""
) -> None:
    """Train with whole masks, as a row beside the campaigns'; one of `WHOLE`."""
    key = (ground.data, "whole frame", "labels alone", name, 0, seed)
    if _are_noted(results, [key]):
        return
    (loss, frames), runs = WHOLE[name], ground.home / "trainings"
    recipe = ground.recipe.but(loss=loss, augment=changes(ground.recipe.size, points=False))
    pairs = ground.pairs if frames is None else ground.pairs.sample(frames, random_state=seed)
    trained = recipes.train(recipe, pairs, ground.scheme, seed, runs=runs, name="whole")
    _note(results, key, ground, recipe, trained, command)


def _are_noted(results: Path | str, keys: list[tuple]) -> bool:
    return Path(results).exists() and set(keys) <= set(read(results).index)


def _note(results, key: tuple, ground: Ground, recipe: Recipe, trained, command: str) -> None:
    matrix = prediction.evaluate(trained.model, ground.val, ground.scheme, recipe.size)
    row = dict(zip(KEYS, key, strict=True)) | {
        "mean IoU": matrix.mean_iou(),
        "pixel accuracy": matrix.pixel_accuracy(),
        "mean Dice": matrix.mean_dice(),
        **{f"IoU {name}": iou for name, iou in matrix.iou().items()},
        "steps": trained.steps,
        "processor seconds": round(trained.processor_seconds, 1),
        "train frames": len(ground.pairs),
        "val frames": len(ground.val),
        "recipe": str(recipe),
        "precision": trained.precision,
        "machine": experiments.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
    }
    tables.add(results, row, KEYS)


def planned(
    names: list[str], seeds: list[int], data: str, superpixels: bool = False, taught: bool = False
) -> dict[tuple, float]:
    """Return the keys of the rows that campaigns lead to, and how many times a round each costs."""
    unit = "superpixel" if superpixels else "pixel"
    budgets = BUDGETS[:3] if superpixels else _up_to(TAUGHT_WITH) if taught else BUDGETS
    first = next((name for name in names if name not in WHOLE), None)
    rows = {}
    for seed, name in product(seeds, names):
        if name in WHOLE:
            rows[data, "whole frame", "labels alone", name, 0, seed] = 1.0
            continue
        for answers in budgets:  # the first round is trained once for all strategies
            shared = answers == budgets[0] and name != first
            rows[data, unit, "labels alone", name, answers, seed] = 0.0 if shared else 1.0
        if taught:
            for learner in ("with a teacher", "labels alone for longer"):
                rows[data, unit, learner, name, TAUGHT_WITH, seed] = LONGER
    return rows


def _say_cost(rows: dict[tuple, float], ground: Ground, results: Path) -> None:
    done = set(read(results).index) if results.exists() else set()
    todo = {key: times for key, times in rows.items() if key not in done}
    minutes = 0.0
    if todo:
        args = ground.recipe, ground.pairs, ground.val, ground.scheme
        minutes = sum(todo.values()) * experiments.seconds_for(*args) / 60
    print(f"{len(todo)} rows to do, {minutes:.0f} processor minutes of training", flush=True)


def read(results: Path | str = studies.RESULTS / "active.csv") -> pd.DataFrame:
    """Return the stored rounds, indexed by `KEYS`."""
    return tables.read(results, KEYS, KEYS[:4])


def main() -> None:
    """Do some campaigns."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.campaigns")
    parser.add_argument("strategies", choices=[*active_learning.STRATEGIES, *WHOLE], nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--superpixels", action="store_true", help="ask about them, not pixels")
    parser.add_argument("--taught", action="store_true", help="with a teacher, and for longer")
    parser.add_argument("--camvid", type=Path, help="CamVid's folder; default MiniCity")
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "active.csv")
    options = parser.parse_args()
    if options.taught and options.superpixels:
        parser.error("--taught is for pixels")
    ground = camvid(options.camvid) if options.camvid else minicity()
    kind = options.superpixels, options.taught
    _say_cost(
        planned(options.strategies, options.seeds, ground.data, *kind), ground, options.results
    )
    for seed in options.seeds:
        for name in options.strategies:
            command = f"python -m cityseg_utils.campaigns {shlex.quote(name)} --seeds {seed}"
            command += " --camvid /path/to/camvid" if options.camvid else ""
            if name in WHOLE:
                train_whole(name, seed, ground, options.results, command)
            elif options.taught:
                go_on(name, seed, ground, options.results, command=f"{command} --taught")
            elif options.superpixels:
                command += " --superpixels"
                do = {"budgets": BUDGETS[:3], "parts": SUPERPIXELS}
                run(name, seed, ground, options.results, **do, command=command)
            else:
                run(name, seed, ground, options.results, command=command)
            print(f"{name}, seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
