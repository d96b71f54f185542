"""Run a folder of handed-in notebooks, and tell which exercises are right.

    python -m cityseg_utils.grade FOLDER --csv grades.csv

Each notebook runs in a Python of its own, with streets of its own and a time limit. What it prints
and what its checks say counts for nothing: only its *answers* leave that Python, as plain numbers,
texts and arrays, and the checks are done here, with what the lesson itself hands them. A function
that is an answer stays there, too; the check calls it across a pipe. So a notebook that hangs,
crashes, forges an output or changes a checker spoils its own row at most.

It is no sandbox: code that was handed in can read and delete what you can. Where you do not trust
your students that far, run it in a container.
"""

import argparse
import base64
import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import exercises, storage
from cityseg_utils.errors import DataError, run_command

LESSONS = Path(__file__).parents[1] / "notebooks"
NOT_REACHED, OPAQUE = "not reached", "cannot be checked"


def grade(folder: Path | str, limit: float = 600, lessons: Path | str = LESSONS) -> pd.DataFrame:
    """Return a row per handed-in notebook and a column per exercise, and what went wrong.

    Parameters
    ----------
    folder : Path or str
        With ``.ipynb`` files; which lesson one is, its title says ("# 05 · ...").
    limit : float
        Seconds for one notebook.
    lessons : Path or str
        The notebooks as they were given out.

    Returns
    -------
    DataFrame
        Index: file names. Columns: ``lesson``, then checks such as ``iou`` with "right", "wrong",
        "untouched", "not reached" or "cannot be checked", ``right`` (their number), and ``remark``.

    Raises
    ------
    DataError
        If the folder holds no notebook, or a lesson as it was given out does not run.
    """
    files = sorted(Path(folder).glob("*.ipynb"))
    if not files:
        raise DataError(f"{folder}: holds no notebook (*.ipynb)")
    given: dict[str, list] = {}
    rows = {}
    for file in files:
        row = rows[file.name] = {"lesson": "", "remark": ""}
        try:
            cells, row["lesson"] = _read(file)
            if row["lesson"] not in given:
                given[row["lesson"]] = _asked(_lesson(Path(lessons), row["lesson"]), limit)
        except _Unreadable as error:
            row["remark"] = str(error)
            continue
        verdicts, row["remark"] = _graded(cells, given[row["lesson"]], limit)
        row.update(verdicts)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")
    checks = [name for name in table if name not in ("lesson", "remark")]
    table["right"] = (table[checks] == exercises.RIGHT).sum(axis=1)
    return table[["lesson", *checks, "right", "remark"]]


class _Unreadable(Exception):
    """A file is no notebook, or of no lesson."""


def _read(file: Path) -> tuple[list[str], str]:
    """Return a notebook's code cells and the number of its lesson."""
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Unreadable(f"is no notebook ({type(error).__name__})") from error
    titles = [re.match(r"# (\d\d) ·", text) for kind, text in sources if kind == "markdown"]
    if not (found := [title for title in titles if title]):
        raise _Unreadable("has no lesson's title, such as '# 05 ·'")
    return [text for kind, text in sources if kind == "code"], found[0][1]


def _lesson(folder: Path, number: str) -> list[str]:
    if not (files := sorted(folder.glob(f"{number}_*.ipynb"))):
        raise _Unreadable(f"is of lesson {number}, which {folder.name} does not hold")
    return _read(files[0])[0]


# -- here: the checks ------------------------------------------------------------------------------


def _asked(cells: list[str], limit: float) -> list[tuple]:
    """Run a lesson as it was given out; return its checks: column, name, arguments."""
    asked, seen = [], Counter()

    def note(message: dict, call: Callable) -> None:
        name = message["check"]
        seen[name] += 1
        column = name.removeprefix("check_") + (f" {seen[name]}" if seen[name] > 1 else "")
        asked.append((column, name, *pickle.loads(base64.b64decode(message["context"]))))

    remark = _converse(cells, note, limit, trusted=True)
    if remark:
        raise DataError(f"the lesson itself does not run: {remark}")
    return asked


def _graded(cells: list[str], asked: list[tuple], limit: float) -> tuple[dict[str, str], str]:
    """Return a verdict for each check, and what is to be said of the notebook."""
    verdicts = {column: NOT_REACHED for column, *_ in asked}
    seen = Counter()

    def judge(message: dict, call: Callable) -> None:
        # The lesson's order tells two uses of one check apart; of more tries the last one counts.
        same = [entry for entry in asked if entry[1] == message.get("check")]
        if not same:
            return
        name = same[0][1]
        column, _, arguments, keywords = same[min(seen[name], len(same) - 1)]
        seen[name] += 1
        written = message.get("answer")
        answer = call if written == {"function": True} else _decoded(written)
        if isinstance(answer, _Opaque):
            verdicts[column] = OPAQUE
            return
        try:
            verdicts[column] = getattr(exercises, name)(answer, *arguments, **keywords).status
        except Exception:  # an answer so odd that its check fails is not right
            verdicts[column] = exercises.WRONG

    return verdicts, _converse(cells, judge, limit)


class _Gone(BaseException):
    """The other Python has ended; no check is to take it for a fault of the function."""


class RaisedThere(Exception):
    """A function that was handed in raised this."""


def _converse(cells: list[str], heard: Callable, limit: float, trusted: bool = False) -> str:
    """Run cells in a Python of their own, answer its checks, return what went wrong there."""
    with tempfile.TemporaryDirectory() as home:
        streets = storage.home() / "data" / "minicity"
        if streets.is_dir():  # a copy, so that nobody can change those of the next one
            shutil.copytree(streets, Path(home) / "data" / "minicity")
        theirs, ours = os.pipe(), os.pipe()  # to them, from them
        process = subprocess.Popen(
            [sys.executable, "-m", "cityseg_utils.grade", "--there", str(theirs[0]), str(ours[1])],
            pass_fds=(theirs[0], ours[1]),
            cwd=home,
            env=os.environ | {"CITYSEG_HOME": home, "MPLBACKEND": "Agg"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs[0]), os.close(ours[1])
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), _kill(process)))
        timer.start()
        with os.fdopen(theirs[1], "w") as speak, os.fdopen(ours[0]) as listen:
            try:
                _tell(speak, {"cells": cells, "trusted": trusted})
                while True:
                    message = _next(listen)
                    if "ended" in message:
                        return str(message["ended"])
                    heard(message, lambda *given: _called(speak, listen, given))
                    _tell(speak, {"done": True})
            except _Gone:
                return f"stopped after {limit:g} s" if late.is_set() else "its Python ended"
            finally:
                timer.cancel()
                _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """End a process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _called(speak, listen, given: tuple):
    """Call the function over there."""
    _tell(speak, {"call": base64.b64encode(pickle.dumps(given)).decode()})
    message = _next(listen)
    if "raised" in message:
        raise RaisedThere(message["raised"])
    return _decoded(message.get("result"))


def _tell(speak, message: dict) -> None:
    try:
        speak.write(json.dumps(message) + "\n")
        speak.flush()
    except OSError as error:
        raise _Gone from error


def _next(listen) -> dict:
    """Return the next message; whoever sends none that can be read, is gone."""
    try:
        message = json.loads(listen.readline())
    except (ValueError, RecursionError) as error:
        raise _Gone from error
    if not isinstance(message, dict) or not {"ended", "check", "result", "raised"} & set(message):
        raise _Gone
    return message


# -- values on their way ---------------------------------------------------------------------------


class _Opaque:
    """Some object that is no plain value."""


def _encoded(value) -> dict:
    """Write a plain value for JSON; what it can do beyond being a value is left behind."""
    if value is None or value is Ellipsis:
        return {"stub": True}
    if isinstance(value, bool | np.bool_):
        return {"bool": bool(value)}
    if isinstance(value, int | float | np.integer | np.floating):
        return {"number": int(value) if isinstance(value, int | np.integer) else float(value)}
    if isinstance(value, str | Path):
        return {"text": str(value)}
    if isinstance(value, list | tuple | set | frozenset):
        kind = "set" if isinstance(value, set | frozenset) else type(value).__name__
        return {kind if kind in ("list", "set") else "tuple": [_encoded(x) for x in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(k), _encoded(v)] for k, v in value.items()]}
    if isinstance(value, pd.DataFrame):
        value = value if value.index.name is None else value.reset_index()
        columns = [value.iloc[:, k].to_list() for k in range(value.shape[1])]
        return {"frame": [_encoded(value.columns.to_list()), _encoded(columns)]}
    if isinstance(value, pd.Series):
        return {"series": [_encoded(value.index.to_list()), _encoded(value.to_numpy())]}
    if hasattr(value, "numpy") and not isinstance(value, type):
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        file = io.BytesIO()
        np.save(file, np.asarray(value), allow_pickle=False)
        return {"array": base64.b64encode(file.getvalue()).decode()}
    return {"function": True} if callable(value) else {"opaque": True}


def _decoded(written):
    """Read what :func:`_encoded` wrote; it comes from code that nobody knows, so no pickle."""
    if not isinstance(written, dict) or len(written) != 1:
        return _Opaque()
    [(kind, value)] = written.items()
    try:
        if kind in ("list", "tuple", "set"):
            return {"list": list, "tuple": tuple, "set": set}[kind](_decoded(x) for x in value)
        if kind == "dict":
            return {_decoded(k): _decoded(v) for k, v in value}
        if kind == "frame":
            return pd.DataFrame(dict(zip(*map(_decoded, value), strict=True)))
        if kind == "series":
            return pd.Series(_decoded(value[1]), _decoded(value[0]))
        if kind == "array":
            return np.load(io.BytesIO(base64.b64decode(value)), allow_pickle=False)
        plain = {"stub": lambda _: None, "bool": bool, "text": str, "number": lambda x: x + 0}
        return plain[kind](value)
    except (LookupError, TypeError, ValueError, EOFError, RecursionError):
        return _Opaque()


# -- there: the notebook ---------------------------------------------------------------------------


def _there(listen, speak) -> None:
    """Run the cells that are told, with checks that only hand on what they are given."""
    from IPython.core.interactiveshell import InteractiveShell

    order = json.loads(listen.readline())

    def hand_on(name: str) -> Callable:
        def check(answer=None, *arguments, **keywords):
            context = pickle.dumps((arguments, keywords)) if order["trusted"] else b""
            _tell(
                speak,
                {
                    "check": name,
                    "answer": _encoded(answer),
                    "context": base64.b64encode(context).decode(),
                },
            )
            while "call" in (told := json.loads(listen.readline())):
                try:
                    result = answer(*pickle.loads(base64.b64decode(told["call"])))
                    _tell(speak, {"result": _encoded(result)})
                except Exception as error:  # a student's function may raise anything
                    _tell(speak, {"raised": f"{type(error).__name__}: {error}"})

        return check

    for name in [name for name in vars(exercises) if name.startswith("check_")]:
        setattr(exercises, name, hand_on(name))
    shell, remark = InteractiveShell.instance(), ""
    for number, source in enumerate(order["cells"]):
        done = shell.run_cell(source)
        error = done.error_before_exec or done.error_in_exec
        if error is not None and not remark:
            remark = f"code cell {number}: {type(error).__name__}: {error}"[:200]
    _tell(speak, {"ended": remark})


def main() -> int:
    """Grade a folder, print the table, write it."""
    if sys.argv[1:2] == ["--there"]:
        with os.fdopen(int(sys.argv[2])) as listen, os.fdopen(int(sys.argv[3]), "w") as speak:
            _there(listen, speak)
        return 0
    parser = argparse.ArgumentParser("python -m cityseg_utils.grade", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, help="write the table there, too")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each notebook")
    options = parser.parse_args()
    table = grade(options.folder, options.limit)
    print(table.fillna("").to_string())
    if options.csv:
        storage.write_bytes(options.csv, table.to_csv().encode())
    return 0


if __name__ == "__main__":
    run_command(main)
