"""What all benchmarks share: a measured ratio is printed, and noted if a table is wanted."""

import os
import time
from pathlib import Path

from cityseg_utils import experiments, tables

TABLE = "CITYSEG_BENCHMARKS"  # names the CSV file; `all.py` sets it
KEYS = ("benchmark", "what")


def note(what: str, ratio: float, of: str, bar: str = "", seconds: float | None = None) -> None:
    """Print a ratio to a named peer or limit of the same run, and note it.

    Parameters
    ----------
    what : str
        What was measured.
    ratio : float
    of : str
        The peer or limit, such as "bare decoding".
    bar : str
        What the ratio should be, such as "at least 0.85".
    seconds : float, optional
        The measured time itself, which depends on the machine.
    """
    taken = "" if seconds is None else f"{seconds:9.4f} s"
    print(f"{what:44} {taken:>12}  {ratio:7.2f} times {of}{f' ({bar})' if bar else ''}", flush=True)
    if not os.environ.get(TABLE):
        return
    benchmark, command = os.environ["CITYSEG_BENCHMARK"].split(": ", 1)
    row = {
        "benchmark": benchmark,
        "what": what,
        "ratio": round(ratio, 3),
        "of": of,
        "bar": bar,
        "seconds": "" if seconds is None else round(seconds, 5),
        "machine": experiments.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
    }
    tables.add(Path(os.environ[TABLE]), row, KEYS)
