"""Fair comparisons: named recipes times seeds, one row of a CSV file per run, resumable."""

import hashlib
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from scipy import stats

from cityseg_utils import plots, prediction, recipes, storage
from cityseg_utils.errors import CitysegError, DataError
from cityseg_utils.labels import ClassScheme
from cityseg_utils.recipes import Recipe

SCORES = ["mean IoU", "pixel accuracy", "mean Dice"]


def run(
    configurations: Mapping[str, Recipe],
    seeds: Iterable[int],
    train: pd.DataFrame | Mapping[str, pd.DataFrame],
    val: pd.DataFrame,
    scheme: ClassScheme,
    results: Path | str,
    progress: Callable[[pd.DataFrame, str], None] | None = None,
    command: str | None = None,
) -> pd.DataFrame:
    """Train and score every configuration with every seed, unless that was done before.

    Each run has a Python of its own, so that none inherits memory or state of another, and is
    noted as soon as it is finished. Killed and started again, the runner goes on with the run that
    it was at; two runners with one file share the work.

    Parameters
    ----------
    configurations : mapping of names to Recipes
    seeds : iterable of int
        The first seed of all configurations comes first, then the second.
    train : DataFrame, or mapping of names of configurations to DataFrames
        What to learn from.
    val : DataFrame
        What to score on, at native size.
    scheme : ClassScheme
    results : Path or str
        The CSV file.
    progress : callable, optional
        Called with the table so far and what is done next.
    command : str, optional
        What a reader types to do these runs; noted with each.

    Returns
    -------
    DataFrame
        One row per run that was asked for, with the scores and the IoU of each class; without those
        that another runner is still at.

    Raises
    ------
    DataError
        If the file holds a configuration of one of these names with other settings or data.
    ValueError
        If another Python cannot import a recipe's transforms.
    CitysegError
        Whatever a run raised.
    """
    cells = {
        (name, seed): _Cell(name, recipe, seed, _choose(train, name), val, scheme)
        for seed in seeds
        for name, recipe in configurations.items()
    }
    results = Path(results)
    for key, cell in cells.items():
        if key in _wanted(results, cells).index:
            continue
        with _claimed(results.with_name(f".{results.name}.{cell.digest}")) as free:
            table = _wanted(results, cells)
            if not free or key in table.index:  # another runner is at it, or has just done it
                continue
            if progress is not None:
                progress(table, f"{key[0]}, seed {key[1]}")
            _note(results, cell.run() | ({"command": command} if command else {}))
    table = _wanted(results, cells)
    if progress is not None:
        progress(table, "")
    return table


class _Cell:
    """One run: a recipe, a seed and data."""

    def __init__(self, name, recipe, seed, train, val, scheme):
        self.name, self.recipe, self.seed = name, recipe, seed
        self.train, self.val, self.scheme = train, val, scheme
        _check_importable(name, recipe)
        if val.empty or val["mask"].isna().any():
            raise DataError("there are no frames to score on, or some without a mask")
        frames = [sorted(zip(x["city"], x["frame"], strict=True)) for x in (train, val)]
        # One picture tells a data set from the same one drawn at another size.
        shape = storage.read_header(val["mask"].iloc[0]).size
        start = recipes.first_weights_digest(recipe)
        # In whatever precision, it is the recipe of the stored runs, which had this one.
        same = recipe.but(first_weights=None, precision="mixed_bfloat16")
        settings = (repr(same), start, frames, shape)
        self.settings = _digest(*settings, scheme.names, scheme.ids, scheme.void_ids)
        self.digest = _digest(name, seed, self.settings)

    def run(self) -> dict:
        """Train and score in another Python, and return the row of the table."""
        with tempfile.TemporaryDirectory() as folder:
            task, outcome = Path(folder) / "task", Path(folder) / "outcome"
            task.write_bytes(pickle.dumps(self))
            command = [sys.executable, "-c", _CHILD, str(task), str(outcome)]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as child:
                said = child.stderr.read().decode(errors="replace")
            if not outcome.exists():
                what = f"{self.name}, seed {self.seed}: the run broke off"
                raise CitysegError(f"{what}:\n{said[-2000:]}")
            row = pickle.loads(outcome.read_bytes())
        if isinstance(row, Exception):
            raise row
        return row

    def measure(self) -> dict:
        """Train and score in this Python."""
        trained = recipes.train(self.recipe, self.train, self.scheme, self.seed)
        matrix = prediction.evaluate(trained.model, self.val, self.scheme, self.recipe.size)
        return {
            "configuration": self.name,
            "seed": self.seed,
            "mean IoU": matrix.mean_iou(),
            "pixel accuracy": matrix.pixel_accuracy(),
            "mean Dice": matrix.mean_dice(),
            **{f"IoU {name}": iou for name, iou in matrix.iou().items()},
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "memory GB": round(_peak_memory(), 2),
            "parameters": trained.model.count_params(),
            "train frames": len(self.train),
            "val frames": len(self.val),
            "recipe": str(self.recipe),
            "settings": self.settings,
            "precision": trained.precision,
            "machine": f"{_cores()} of {os.cpu_count()} cores, {platform.machine()}",
            "date": time.strftime("%Y-%m-%d"),
        }


_CHILD = "from cityseg_utils.experiments import _work; _work()"


def _work() -> None:
    """Do one run, and end with the runner: its end of our stdin closes when it is killed."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    task, outcome = map(Path, sys.argv[1:])
    cell = pickle.loads(task.read_bytes())
    try:
        row = cell.measure()
    except CitysegError as error:
        row = error
    storage.write_bytes(outcome, pickle.dumps(row))


def _digest(*parts) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _choose(train, name: str) -> pd.DataFrame:
    return train if isinstance(train, pd.DataFrame) else train[name]


@contextmanager
def _claimed(path: Path):
    """Hold a lock that ends with this process, however it ends; yield False if another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def read(results: Path | str) -> pd.DataFrame:
    """Return a results file, indexed by configuration and seed.

    Raises
    ------
    DataError
        If there is none, or it is no table of results.
    """
    if not Path(results).exists():
        raise DataError(
            f"{results}: there are no results yet. Name the file that they are in, or do the runs "
            "with experiments.run"
        )
    content = BytesIO(storage.read_bytes(results))
    try:
        # Names such as 0.001 or None are no numbers and not missing.
        words = {"configuration": str, "settings": str}
        table = pd.read_csv(
            content, float_precision="round_trip", dtype=words, keep_default_na=False, na_values=""
        )
        return table.astype(words).set_index(["configuration", "seed"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{results}: is no table of results: {error}") from error


def _so_far(results: Path) -> pd.DataFrame:
    """Return what a runner finds, which may be no file."""
    if results.exists():
        return read(results)
    return pd.DataFrame(columns=[*SCORES, "settings"], index=pd.MultiIndex.from_arrays([[], []]))


def _wanted(results: Path, cells: dict) -> pd.DataFrame:
    table = _so_far(results)
    table = table.loc[[key for key in cells if key in table.index]]
    for key, settings in table["settings"].items():
        if settings != cells[key].settings:
            raise DataError(
                f"{results}: holds {key[0]!r} with another recipe or other data. Give it another "
                "name, or the results another file"
            )
    return table


def _note(results: Path, row: dict) -> None:
    """Add a row; the file is never seen half-written, and no runner overwrites another's row."""
    with (results.with_name(f".{results.name}.lock")).open("w") as file:
        flock(file, LOCK_EX)
        table = _so_far(results)
        row = pd.DataFrame([row]).set_index(["configuration", "seed"])
        if row.index[0] in table.index:  # of a runner with the same recipe, or an older one
            return
        table = pd.concat([table, row]) if len(table) else row
        storage.write_bytes(results, table.to_csv().encode())


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


# -- what follows from a table --------------------------------------------------------------------


def means(table: pd.DataFrame, score: str = "mean IoU", level: float = 0.95) -> pd.DataFrame:
    """Return mean and t interval over seeds of each configuration: ``mean, low, high, seeds``."""
    groups = table.groupby(level="configuration", sort=False)[score]
    return groups.apply(lambda x: pd.Series(_interval(x.to_numpy(), level))).unstack()


def by_class(table: pd.DataFrame) -> pd.DataFrame:
    """Return the IoU of each class (columns), the mean over seeds of each configuration (rows)."""
    ious = table.filter(regex="^IoU ").rename(columns=lambda name: name.removeprefix("IoU "))
    return ious.groupby(level="configuration", sort=False).mean()


def gains(table: pd.DataFrame, baseline: str, score: str = "mean IoU") -> pd.Series:
    """Return how much each run gains over the baseline's run with the same seed.

    Runs with one seed share first weights and order, as far as the recipes allow, so differences
    within seeds vary less than scores do.

    Returns
    -------
    Series
        By configuration, without the baseline, and seed; only seeds that the baseline has.

    Raises
    ------
    DataError
        If the table has no run of the baseline, or none that shares a seed with it.
    """
    scores = table[score]
    names = list(dict.fromkeys(table.index.get_level_values("configuration")))
    if baseline not in names:
        raise DataError(f"there is no run of {baseline!r} to compare with, only of {names}")
    base = scores.xs(baseline, level="configuration")
    others = scores.drop(baseline, level="configuration")
    result = (others - base.reindex(others.index, level="seed")).dropna()
    if result.empty:
        raise DataError(f"no run shares a seed with one of {baseline!r}; do more runs first")
    return result


def paired(
    table: pd.DataFrame, baseline: str, score: str = "mean IoU", level: float = 0.95
) -> pd.DataFrame:
    """Return mean and t interval over seeds of each configuration's `gains`, and a verdict.

    Returns
    -------
    DataFrame
        ``mean, low, high, seeds`` and ``verdict``: "better", "worse" or "no difference seen".
    """
    result = means(gains(table, baseline, score).to_frame(score), score, level)
    result["verdict"] = np.select(
        [result["low"] > 0, result["high"] < 0], ["better", "worse"], "no difference seen"
    )
    return result


def _interval(values: np.ndarray, level: float) -> dict:
    mean = values.mean() if len(values) else np.nan
    half = np.nan
    if len(values) > 1:
        spread = values.std(ddof=1) / np.sqrt(len(values))
        half = stats.t.ppf((1 + level) / 2, len(values) - 1) * spread
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": len(values)}
