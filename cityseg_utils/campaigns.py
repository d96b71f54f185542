"""The full campaigns behind lesson 14: who asks best, with how many answers an image.

    python -m cityseg_utils.campaigns random margin --seeds 0 1 2
    python -m cityseg_utils.campaigns random margin --superpixels
    python -m cityseg_utils.campaigns random margin --camvid /path/to/camvid
    python -m cityseg_utils.campaigns random margin --taught
    python -m cityseg_utils.campaigns random margin --worth 15

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
from cityseg_utils.errors import run_command
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
CLICK = 2.5  # seconds
# The processor time of 1500 steps of lesson 13's method on fifteen whole masks.
AS_LONG_AS_PASTED = 1800
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
    minutes : int
        That a person needs for the labels of a whole frame: of Cityscapes ninety, of CamVid sixty
        (Richter and others, "Playing for data", ECCV 2016).
    """

    data: str
    pairs: pd.DataFrame
    val: pd.DataFrame
    scheme: ClassScheme
    recipe: Recipe
    minutes: int = 90

    @property
    def home(self) -> Path:
        """The folder of its logs and trainings."""
        return storage.home() / "runs" / "campaigns" / self.data.replace(", ", "-")

    def folder(self, strategy: str, unit: str, seed: int) -> Path:
        """Return the folder of a campaign's log."""
        return self.home / f"{strategy.replace(' ', '-')}-{unit}-{seed}"

    def worth(self, frames: int) -> int:
        """Return the answers an image, to the ten, that take as long as whole labels of frames."""
        return max(10, 10 * round(frames * 60 * self.minutes / CLICK / len(self.pairs) / 10))

    def is_asked(self, strategy: str, unit: str, seed: int, answers: int) -> bool:
        """Tell whether a campaign's log is here, up to so many answers an image."""
        folder = self.folder(strategy, unit, seed)
        log = annotations.AnswerLog(folder / "answers.jsonl", self.scheme)
        return answers in active_learning.round_ends(folder, log)


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
    return Ground(f"CamVid, without {DRIVE}", *studies.unseen_drive(folder, DRIVE), recipe, 60)


def taught(ground: Ground, method: MeanTeacher = TEACHER) -> dict[str, Recipe]:
    """Return the recipes with a teacher, and for as long without; it labels all other pixels."""
    looks = Compose(ScaleAndCrop(ground.recipe.size, (1.0, 1.5)), Flip())
    return {
        "with a teacher": ground.recipe.but(method=replace(method, augment=looks)),
        "labels alone for longer": ground.recipe.but(steps=round(LONGER * ground.recipe.steps)),
    }


def as_long_as_pasted(ground: Ground) -> dict[str, Recipe]:
    """Return the recipe that stands beside lesson 13's in the benchmark."""
    steps = AS_LONG_AS_PASTED
    return {f"labels alone, {steps} steps": ground.recipe.but(steps=steps)}


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
    answers: int,
    learners: dict[str, Recipe],
    command: str = "",
    val: pd.DataFrame | None = None,
) -> None:
    """Train other recipes anew from the first answers of a campaign, a row each.

    Parameters as for :func:`run`, but for `answers`, an image, `learners`, as from :func:`taught`,
    and `val`, other frames to score on than the ground's.
    """
    keys = {x: (ground.data, "pixel", x, strategy, answers, seed) for x in learners}
    if _are_noted(results, list(keys.values())):
        return
    folder = ground.folder(strategy, "pixel", seed)
    if not ground.is_asked(strategy, "pixel", seed, answers):
        run(strategy, seed, ground, results, _up_to(answers), command=command, asked_anew=True)
    log = annotations.AnswerLog(folder / "answers.jsonl", ground.scheme)
    known = log.first(active_learning.round_ends(folder, log)[answers])
    pool = active_learning.Pool(ground.pairs, ground.scheme, ground.recipe.size, known)
    small, runs = pool.write(folder / "taught"), ground.home / "trainings"
    scored = ground if val is None else replace(ground, val=val)
    for learner, recipe in learners.items():
        trained = recipes.train(recipe, small, ground.scheme, seed, runs=runs, name="taught")
        _note(results, keys[learner], scored, recipe, trained, command)


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
    names: list[str],
    seeds: list[int],
    data: str,
    unit: str = "pixel",
    budgets: tuple[int, ...] = BUDGETS,
    learners: dict[str, float] | None = None,
) -> dict[tuple, float]:
    """Return the keys of the rows that campaigns lead to, and how many times a round each costs.

    `learners` are those that go on from the last budget, with their costs.
    """
    first = next((name for name in names if name not in WHOLE), None)
    rows = {}
    for seed, name in product(seeds, names):
        if name in WHOLE:
            rows[data, "whole frame", "labels alone", name, 0, seed] = 1.0
            continue
        for answers in budgets:  # the first round is trained once for all strategies
            shared = answers == budgets[0] and name != first
            rows[data, unit, "labels alone", name, answers, seed] = 0.0 if shared else 1.0
        for learner, times in (learners or {}).items():
            rows[data, unit, learner, name, budgets[-1], seed] = times
    return rows


def _say_cost(rows: dict[tuple, float], ground: Ground, results: Path) -> None:
    done = set(read(results).index) if results.exists() else set()
    todo = rows.keys() - done
    again = _asked_again(rows, todo, ground)
    minutes = 0.0
    if todo:
        args = ground.recipe, ground.pairs, ground.val, ground.scheme
        minutes = sum(rows[key] for key in todo | again) * experiments.seconds_for(*args) / 60
    print(f"{len(todo)} rows to do, {minutes:.0f} processor minutes of training", flush=True)
    if again:
        print(f"among them {len(again)} stored rounds, whose answers are not here", flush=True)


def _asked_again(rows: dict[tuple, float], todo: set[tuple], ground: Ground) -> set[tuple]:
    """Return the stored rounds that have to be done anew, as what is to do goes on from them."""
    again, last = set(), {}
    for _, unit, _, strategy, answers, seed in todo:
        campaign = strategy, unit, seed
        last[campaign] = max(answers, last.get(campaign, 0))
    for key in rows.keys() - todo:
        _, unit, _, strategy, answers, seed = key
        campaign = strategy, unit, seed
        if answers <= last.get(campaign, -1) and not ground.is_asked(*campaign, answers):
            again.add(key)
    return again


def read(results: Path | str = studies.RESULTS / "active.csv") -> pd.DataFrame:
    """Return the stored rounds, indexed by `KEYS`."""
    return tables.read(results, KEYS, KEYS[:4])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m cityseg_utils.campaigns")
    parser.add_argument("strategies", choices=[*active_learning.STRATEGIES, *WHOLE], nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--superpixels", action="store_true", help="ask about them, not pixels")
    kind.add_argument("--taught", action="store_true", help="with a teacher, and for longer")
    kind.add_argument(
        "--worth", type=int, metavar="FRAMES", help="as many answers as whole labels of these cost"
    )
    parser.add_argument("--camvid", type=Path, help="CamVid's folder; default MiniCity")
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "active.csv")
    parser.add_argument("--cost", action="store_true", help="say it, and do nothing")
    options = parser.parse_args(arguments)
    if options.worth is not None and options.worth < 1:
        parser.error(f"--worth is a number of frames, above 0; got {options.worth}")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Do some campaigns, and say before what they cost."""
    options = _options(arguments)
    ground = camvid(options.camvid) if options.camvid else minicity()
    val = ground.val
    unit, budgets, learners, flag = "pixel", BUDGETS, {}, ""
    if options.superpixels:
        unit, budgets, flag = "superpixel", BUDGETS[:3], " --superpixels"
    if options.taught:
        budgets, learners, flag = _up_to(TAUGHT_WITH), taught(ground), " --taught"
    if options.worth:
        budgets, flag = _up_to(ground.worth(options.worth)), f" --worth {options.worth}"
        learners = as_long_as_pasted(ground)
        if not options.camvid:  # the streets that lesson 13's runs are scored on
            val = val.iloc[slice(*studies.STUDIES["few labels"].scored)]
    rounds = {
        learner: (LONGER if recipe.method else 1) * recipe.steps / ground.recipe.steps
        for learner, recipe in learners.items()
    }
    rows = planned(options.strategies, options.seeds, ground.data, unit, budgets, rounds)
    _say_cost(rows, ground, options.results)
    if options.cost:
        return
    for seed in options.seeds:
        for name in options.strategies:
            command = f"python -m cityseg_utils.campaigns {shlex.quote(name)} --seeds {seed}"
            command += " --camvid /path/to/camvid" if options.camvid else ""
            if name in WHOLE:
                train_whole(name, seed, ground, options.results, command)
                continue
            do = {"parts": SUPERPIXELS} if options.superpixels else {}
            do |= {"command": command + flag}
            run(name, seed, ground, options.results, budgets, **do)
            more = budgets[-1], learners, command + flag, val
            go_on(name, seed, ground, options.results, *more)
            print(f"{name}, seed {seed}: done", flush=True)


if __name__ == "__main__":
    run_command(main)
