"""Tables of results in CSV files: added to row by row, each with a checksum, none lost."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import pandas as pd
from filelock import FileLock

from cityseg_utils import storage
from cityseg_utils.errors import DataError

CHECK = "check"  # the last column


def read(path: Path | str, keys: Sequence[str], words: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table, indexed by its keys.

    Parameters
    ----------
    path : Path or str
    keys : sequence of str
        The columns that tell rows from each other.
    words : sequence of str
        Columns that hold no numbers, whatever they look like.

    Raises
    ------
    DataError
        If it cannot be read, or is not what was written: a row is cut, changed or there twice.
    """
    rows = _read_rows(path, keys)
    table = pd.DataFrame(rows).drop(columns=CHECK)
    # Names such as 0.001 or None are no numbers and not missing.
    table = pd.read_csv(
        StringIO(table.to_csv(index=False)),
        float_precision="round_trip",
        dtype=dict.fromkeys(words, str),
        keep_default_na=False,
        na_values="",
    )
    return table.astype(dict.fromkeys(words, str)).set_index(list(keys))


def add(path: Path | str, row: Mapping[str, object], keys: Sequence[str]) -> bool:
    """Add a row, unless there is one with its keys; tell whether it was added.

    The file is never seen half-written, and no process overwrites another's row.

    Raises
    ------
    DataError
        If the file is not what was written.
    StorageError
        If it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        rows = _read_rows(path, keys) if path.exists() else []
        text = pd.DataFrame([row]).to_csv(index=False)
        (new,) = csv.DictReader(StringIO(text))
        if any(_key(new, keys) == _key(old, keys) for old in rows):
            return False
        write(path, [*rows, new])
        return True


def write(path: Path | str, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of words as they are, with their checksums."""
    columns = dict.fromkeys(name for row in rows for name in row if name != CHECK)
    file = StringIO()
    writer = csv.DictWriter(file, [*columns, CHECK], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, CHECK: _checksum(row)} for row in rows)
    storage.write_bytes(path, file.getvalue().encode())


def _read_rows(path: Path | str, keys: Sequence[str]) -> list[dict[str, str]]:
    try:
        lines = list(csv.reader(StringIO(storage.read_bytes(path).decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no table of results: {error}") from error
    columns = lines[0] if lines else []
    if missing := {*keys, CHECK} - set(columns):
        raise DataError(f"{path}: is no table of results: it lacks {', '.join(sorted(missing))}")
    rows, seen = [], set()
    for number, fields in enumerate(lines[1:], 1):
        row = dict(zip(columns, fields, strict=False))
        if len(fields) != len(columns) or row[CHECK] != _checksum(row):
            raise DataError(
                f"{path}: row {number} ({','.join(fields)[:40]}...) is not what was written; get "
                "the table anew, or remove that line: then its run is done again"
            )
        if (key := _key(row, keys)) in seen:
            raise DataError(f"{path}: holds {', '.join(key)} twice; remove one of the two lines")
        seen.add(key)
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: is no table of results: it has no rows")
    return rows


def _key(row: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[name] for name in keys)


def _checksum(row: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits of all that is filled in: a column that comes later is empty."""
    filled = sorted((name, text) for name, text in row.items() if text and name != CHECK)
    return hashlib.sha256(json.dumps(filled).encode()).hexdigest()[:8]
