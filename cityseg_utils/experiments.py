"""Fair comparisons: named recipes times seeds, one row of a CSV file per run, resumable."""

import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from IPython.display import display

from cityseg_utils import (
    analysis,
    datasets,
    framework,
    identity,
    plots,
    prediction,
    recipes,
    storage,
    tables,
)
from cityseg_utils.errors import CitysegError, DataError
from cityseg_utils.labels import ClassScheme
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.recipes import Recipe

# Where one looked for them, for one release.
from cityseg_utils.statistics import by_class, gains, means, paired  # noqa: F401

KEYS, _WORDS = ("configuration", "seed"), ("configuration", "settings")
FREQUENT, FOUND = 0.01, 0.1  # a class's share of the pixels, and its IoU
BORDER = 4  # pixels on either side; three above and to the left before 2026-11-28
TRAIN_FRAMES = 40  # so many, evenly chosen, are scored beside those of val
_TIMED = 6  # steps, of which the first compiles
_step_seconds: dict[tuple, float] = {}

SCORES = ["mean IoU", "pixel accuracy", "mean Dice"]


def run(
    configurations: Mapping[str, Recipe],
    seeds: Iterable[int] | Mapping[str, Iterable[int]],
    train: pd.DataFrame | Mapping[str, pd.DataFrame | Callable[[int], pd.DataFrame]],
    val: pd.DataFrame,
    scheme: ClassScheme,
    results: Path | str,
    progress: Callable[[pd.DataFrame, str], None] | None = None,
    command: str | None = None,
    jobs: int | None = None,
) -> pd.DataFrame:
    """Train and score every configuration with every seed, unless that was done before.

    Each run has a Python of its own, so that none inherits memory or state of another, and is
    noted as soon as it is finished. Killed and started again, the runner goes on where each run
    was; two runners with one file share the work.

    Parameters
    ----------
    configurations : mapping of names to Recipes
    seeds : iterable of int, or mapping of names of configurations to iterables of int
        The first seed of all configurations comes first, then the second.
    train : DataFrame, or mapping of names of configurations to DataFrames
        What to learn from; in a mapping also functions of the seed that return it.
    val : DataFrame
        What to score on, at native size.
    scheme : ClassScheme
    results : Path or str
        The CSV file.
    progress : callable, optional
        Called with the table so far and what is done next.
    command : str, optional
        What a reader types to do these runs; noted with each.
    jobs : int, optional
        Runs at a time; default one a core, if memory allows. Several have a core each (on Linux).

    Returns
    -------
    DataFrame
        One row per run that was asked for, with the scores and the IoU of each class; without those
        that another runner is still at.

    Raises
    ------
    DataError
        If the file holds a configuration of one of these names with other settings or data, or is
        not what was written.
    ValueError
        If another Python cannot import a recipe's transforms.
    CitysegError
        Whatever a run raised.
    """
    cells = _cells(configurations, seeds, train, val, scheme)
    results, show = Path(results), progress or (lambda table, now: None)
    todo = [key for key in cells if key not in _wanted(results, cells).index]
    _do(todo, cells, results, jobs or _fitting(), show, command)
    table = _wanted(results, cells)
    show(table, "")
    return table


def _do(todo: list, cells: dict, results: Path, jobs: int, show: Callable, command) -> None:
    """Do runs, some at a time, and note each, unless another runner is at it."""
    cores, going = _free_cores(min(len(todo), jobs)), {}
    with ThreadPoolExecutor(len(cores)) as pool:
        try:
            while todo or going:
                while todo and cores:
                    cell = cells[key := todo.pop(0)]
                    if (lock := _claim(results, cell)) is None:
                        continue
                    if key in _wanted(results, cells).index:  # another one has just done it
                        _release(lock)
                        continue
                    core = cores.pop(0)
                    going[pool.submit(cell.run, core)] = cell, core, lock
                    names = (f"{x.name}, seed {x.seed}" for x, *_ in going.values())
                    show(_wanted(results, cells), "; ".join(names))
                for future in wait(going, return_when=FIRST_COMPLETED).done:
                    cell, core, lock = going.pop(future)
                    cores.append(core)
                    try:
                        row = future.result()
                        _note(results, row | ({"command": command} if command else {}))
                        storage.remove_whole(cell.folder)
                    finally:
                        _release(lock)
        except BaseException:  # one has failed, or all are interrupted; their states are kept
            for cell, _, lock in going.values():
                cell.stop()
                _release(lock)
            raise


def _claim(results: Path, cell: "_Cell") -> FileLock | None:
    """Return the lock of a run, which ends with this process; None if another runner has it."""
    results.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(results.with_name(f".{results.name}.{cell.digest}"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _release(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


@dataclass(frozen=True)
class Cost:
    """What the runs of a study that are not done will cost.

    Attributes
    ----------
    runs : int
    processor_seconds : float
        Of training, on a machine like this one; scoring comes on top.
    jobs : int
        Runs at a time.
    """

    runs: int
    processor_seconds: float
    jobs: int

    def __str__(self) -> str:
        minutes = self.processor_seconds / 60
        at_once = f", {self.jobs} at a time: about {minutes / self.jobs:.0f}" if self.runs else ""
        return f"{self.runs} runs to do, {minutes:.0f} processor minutes of training{at_once}"


def cost(configurations, seeds, train, val, scheme, results, jobs: int | None = None) -> Cost:
    """Say what :func:`run` will cost, by timing a few steps of each recipe that is not done.

    Parameters are those of :func:`run`.
    """
    cells = _cells(configurations, seeds, train, val, scheme)
    done = _wanted(Path(results), cells).index
    todo = [cell for key, cell in cells.items() if key not in done]
    seconds = {}
    for cell in todo:
        if cell.name not in seconds:
            given = cell.recipe.seconds or cell.recipe.processor_seconds
            seconds[cell.name] = given or seconds_for(cell.recipe, cell.train, cell.val, scheme)
    return Cost(len(todo), sum(seconds[cell.name] for cell in todo), jobs or _fitting())


def seconds_for(recipe: Recipe, train, val, scheme) -> float:
    """Time a few steps in another Python; return the processor seconds that all will take.

    Steps of a recipe that differs in their number, rate or schedule alone are not timed again.
    """
    few = recipe.but(steps=_TIMED, seconds=None, processor_seconds=None, refresh=0)
    few = few.but(learning_rate=1e-3, schedule="constant")
    key = str(few), scheme.names, storage.read_header(train["image"].iloc[0]).size
    if key not in _step_seconds:
        with tempfile.TemporaryDirectory() as home:  # two that ask at once do not meet
            timed = _Cell("timed", few, 0, train, val.iloc[:1], scheme, Path(home)).run()
        _step_seconds[key] = timed["processor seconds"] / (_TIMED - 1)
    return _step_seconds[key] * recipe.steps


def _cells(configurations, seeds, train, val, scheme) -> dict:
    if not isinstance(seeds, Mapping):
        seeds = dict.fromkeys(configurations, tuple(seeds))
    rounds = zip_longest(*([(name, seed) for seed in seeds[name]] for name in configurations))
    return {
        (name, seed): _Cell(
            name, configurations[name], seed, _choose(train, name, seed), val, scheme
        )
        for name, seed in filter(None, chain.from_iterable(rounds))
    }


class _Cell:
    """One run: a recipe, a seed and data."""

    def __init__(self, name, recipe, seed, train, val, scheme, home: Path | None = None):
        self.name, self.recipe, self.seed, self.home = name, recipe, seed, home
        self.train, self.val, self.scheme = train, val, scheme
        _check_importable(name, recipe)
        if val.empty or val["mask"].isna().any():
            raise DataError("there are no frames to score on, or some without a mask")
        # Where it starts is told by content, and in whatever precision it is the same.
        start = recipes.first_weights_digest(recipe)
        same = recipe.but(first_weights=None, precision="auto")
        if same.encoder_weights not in (None, "imagenet"):
            same = same.but(encoder_weights="of a file")
        same = identity.describe(same)
        frames = [datasets.digests(train), sorted(map(str, datasets.digests(val)))]
        self.settings = identity.digest(same, start, frames, scheme.meaning)[:12]
        self.digest = identity.digest(name, seed, self.settings)[:12]
        self._child: subprocess.Popen | None = None

    def __getstate__(self) -> dict:
        return {**vars(self), "_child": None}

    def stop(self) -> None:
        """End the run's Python, if there is one."""
        if self._child is not None:
            self._child.kill()

    @property
    def folder(self) -> Path:
        """Where the run is while it goes on."""
        return (self.home or storage.home() / "runs" / "experiments") / self.digest

    def run(self, core: int | None = None) -> dict:
        """Train and score in another Python, on one core if one is named; return the row."""
        command = [sys.executable, "-c", _CHILD, *([str(core)] if core is not None else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as child, ThreadPoolExecutor(1) as reader:
            self._child, said = child, reader.submit(child.stderr.read)
            try:
                pickle.dump(self, child.stdin)
                child.stdin.flush()  # and left open: when it closes, this runner is gone
                outcome = child.stdout.read()
            except BrokenPipeError:
                outcome = b""
            child.wait()
        if child.returncode != 0 or not outcome:
            what = f"{self.name}, seed {self.seed}: {_how_it_ended(child.returncode)}"
            raise CitysegError(f"{what}\n{said.result().decode(errors='replace')[-2000:]}".strip())
        row = pickle.loads(outcome)
        if isinstance(row, Exception):
            raise row
        return row

    def measure(self) -> dict:
        """Train and score in this Python."""
        trained = recipes.train(
            self.recipe, self.train, self.scheme, self.seed, runs=self.folder, name="run"
        )
        labelled = self.train[self.train["mask"].notna()]
        some = labelled.iloc[:: max(1, len(labelled) // TRAIN_FRAMES)]
        matrix, at_borders = self._scored(trained.model, self.val)
        on_train, _ = self._scored(trained.model, some)
        return {
            "configuration": self.name,
            "seed": self.seed,
            **_scores(matrix),
            "mean IoU on train": on_train.mean_iou(),
            # Few streets lack rare classes; of these classes they have all.
            "mean IoU of frequent classes on train": _of_frequent(on_train, matrix),
            "mean IoU at borders": at_borders.mean_iou(),
            **{f"IoU {name}": iou for name, iou in matrix.iou().items()},
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "processor seconds": round(trained.processor_seconds, 1),
            "memory GB": round(_peak_memory(), 2),
            "parameters": trained.model.count_params(),
            "train frames": len(labelled),
            "val frames": len(self.val),
            "recipe": str(self.recipe),
            "settings": self.settings,
            "precision": trained.precision,
            "machine": machine(),
            "date": time.strftime("%Y-%m-%d"),
        }

    def _scored(self, model, pairs: pd.DataFrame) -> tuple[ConfusionMatrix, ConfusionMatrix]:
        """Return the confusion matrix over whole frames, and that along borders alone."""
        answers = prediction.predict(model, pairs["image"], self.recipe.size)
        guesses = [answer.argmax(-1).astype(np.uint8) for answer in answers]
        at_borders = partial(analysis.trimap, width=BORDER)
        return (
            prediction.score(pairs, self.scheme, guesses),
            prediction.score(pairs, self.scheme, guesses, at_borders),
        )


def machine() -> str:
    """Say what a run was done on: its cores, processor and GPUs, as a row of results has it."""
    cores = f"{framework.cores()} of {os.cpu_count()} cores"
    return ", ".join([cores, platform.machine(), *framework.gpu_names()])


def _scores(matrix: ConfusionMatrix) -> dict[str, float]:
    """Return what a run is judged by: all classes, the frequent ones, and how many it finds."""
    iou = matrix.iou()
    return {
        "mean IoU": matrix.mean_iou(),
        "pixel accuracy": matrix.pixel_accuracy(),
        "mean Dice": matrix.mean_dice(),
        "mean IoU of frequent classes": _of_frequent(matrix, matrix),
        "classes found": int((iou[matrix.true_pixels > 0] > FOUND).sum()),
    }


def _of_frequent(matrix: ConfusionMatrix, val: ConfusionMatrix) -> float:
    """Return the mean IoU of the classes that have more than 1 % of val's pixels."""
    share = val.true_pixels / max(1, val.true_pixels.sum())
    return float(matrix.iou()[share > FREQUENT].mean())


_CHILD = "from cityseg_utils.experiments import _work; _work()"


def _work() -> None:
    """Do one run, and end with the runner: its end of our stdin closes when it is killed."""
    if len(sys.argv) > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    cell = pickle.load(sys.stdin.buffer)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    try:
        row = cell.measure()
    except CitysegError as error:
        row = error
    pickle.dump(row, answer)
    answer.close()
    os._exit(0)  # not to wait for the thread


def _how_it_ended(code: int) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return "the run was killed, as the system does when memory is short; do fewer at a time"
    return f"the run broke off ({f'signal {-code}' if code < 0 else f'exit {code}'}):"


def _check_importable(name: str, recipe: Recipe) -> None:
    """Refuse what the Python of a run could not import, or what no file could name."""
    try:
        known = b"__main__" not in pickle.dumps(recipe) and " at 0x" not in repr(recipe)
    except (pickle.PicklingError, AttributeError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"{name}: {recipe} holds a function or class of this notebook, which the Python of its "
            "run cannot import. Write it as a dataclass into a .py file and import it from there"
        )


def _peak_memory() -> float:
    """Return the most memory that this process has used, in GB."""
    if sys.platform == "linux":  # where ru_maxrss begins with what the parent has used
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**20
    import resource  # which Windows has not

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def _fitting(gigabytes: float = 2.5) -> int:
    """Return how many runs this machine has room for: one a core, if memory allows."""
    memory = Path("/proc/meminfo")
    if not memory.exists():
        return framework.cores()
    free = int(memory.read_text().split("MemAvailable:")[1].split()[0]) / 2**20
    return max(1, min(framework.cores(), int(free / gigabytes)))


def _free_cores(number: int) -> list[int | None]:
    """Return a core for each of so many runs; a single one has no core of its own, but all."""
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    return [mine[k % len(mine)] if number > 1 else None for k in range(max(1, number))]


def _choose(train, name: str, seed: int) -> pd.DataFrame:
    frames = train if isinstance(train, pd.DataFrame) else train[name]
    return frames(seed) if callable(frames) else frames


def read(results: Path | str) -> pd.DataFrame:
    """Return a results file, indexed by configuration and seed.

    Raises
    ------
    DataError
        If there is none, or it is no table of results, or not what was written.
    """
    if not Path(results).exists():
        raise DataError(
            f"{results}: there are no results yet. Name the file that they are in, or do the runs "
            "with experiments.run"
        )
    return tables.read(results, KEYS, _WORDS)


def _wanted(results: Path, cells: dict) -> pd.DataFrame:
    if not results.exists():
        return pd.DataFrame(
            columns=[*SCORES, "settings"], index=pd.MultiIndex.from_arrays([[], []])
        )
    table = read(results)
    table = table.loc[[key for key in cells if key in table.index]]
    for key, settings in table["settings"].items():
        if settings != cells[key].settings:
            raise DataError(
                f"{results}: holds {key[0]!r} with another recipe or other data. Give it another "
                "name, or the results another file"
            )
    return table


def _note(results: Path, row: dict) -> None:
    """Add a row, unless a runner with the same recipe, or an older one, has done so."""
    tables.add(results, row, KEYS)


class LiveTable:
    """A `progress` for :func:`run`: a table that grows in a notebook, a line per run elsewhere."""

    def __init__(self):
        self._shown = None

    def __call__(self, table: pd.DataFrame, now: str) -> None:
        """Show what is done so far and what comes next."""
        if not plots.in_notebook():
            for (name, seed), row in table.iloc[-1:].iterrows():
                print(f"{len(table)} done, {name}, seed {seed}: {row['mean IoU']:.3f}", end="; ")
            print("now", now or "nothing more", flush=True)
            return
        rows = table[[*SCORES, *table.columns.intersection(["steps", "seconds"])]].round(3)
        rows = rows.rename_axis(columns=f"now: {now}" if now else "done")
        if self._shown is None:
            self._shown = display(rows, display_id=True)
        else:
            self._shown.update(rows)
