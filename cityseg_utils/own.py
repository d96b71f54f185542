"""Streets of one's own: a folder with ``pairs.csv`` and ``classes.csv``.

`propose` makes both for loose folders of photographs and label maps.
"""

import codecs
import csv
import os
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import storage
from cityseg_utils.errors import DataError, LabelError
from cityseg_utils.labels import ClassScheme
from cityseg_utils.layouts import Tree, composed, split_name

PAIRS, CLASSES = "pairs.csv", "classes.csv"
_YES, _NO = {"1", "true", "yes"}, {"", "0", "false", "no"}


def is_here(root: Path) -> bool:
    """Tell whether a folder has a ``pairs.csv``."""
    return os.access(root / PAIRS, os.F_OK)  # False, too, where one may not look


def read_table(root: Path) -> Tree:
    """Read ``pairs.csv``: columns ``image``, ``mask``, ``split``, and if wanted more.

    Paths are relative to `root`; an image without a mask leaves it empty. ``city`` is any group of
    frames that belong together, such as a drive; the only other column serves if there is none.
    ``frame`` is the image's name if there is no such column.

    Raises
    ------
    DataError
        If it is no such table.
    """
    table = _read(root / PAIRS, ["image", "mask", "split"])
    others = [name for name in table if name not in ("image", "mask", "split", "frame")]
    group = "city" if "city" in others else others[0] if len(others) == 1 else None
    tree = Tree("own", f"the column mask of {PAIRS}")
    for number, row in zip(table.index, table.to_dict("records"), strict=True):
        image, mask = root / row["image"], root / row["mask"] if row["mask"] else None
        for path, what in ((image, row["image"]), (mask, row["mask"])):
            if path is not None and (not what or not path.is_file()):
                hint = "; write / in place of \\" if "\\" in what else ""
                tree.faults.append(f"{root / PAIRS}, line {number}: {what!r} is not there{hint}")
        if not row["split"]:
            tree.faults.append(f"{root / PAIRS}, line {number}: has no split")
        city = composed(row[group]) if group else "all"
        tree.check_city(city, f"{root / PAIRS}, line {number}")
        frame = composed(row.get("frame") or image.stem)
        tree.rows.append((image, mask, split_name(row["split"]), city, frame))
    return tree


def read_classes(root: Path) -> ClassScheme:
    """Read ``classes.csv``: columns ``id, name, red, green, blue, void``, perhaps ``category``.

    Without that column every class is a category of its own.

    Each row says what one raw id of the label maps means: a class, in the order of train ids, or
    void (1, true or yes), which needs no name.

    Raises
    ------
    DataError
        If it is no such table.
    LabelError
        If the table contradicts itself.
    """
    path = root / CLASSES
    table = _read(path, ["id", "name", "red", "green", "blue", "void"])
    words = table["void"].str.lower().str.strip()
    if not words.isin(_YES | _NO).all():
        raise DataError(f"{path}: void is 1 or 0, found {sorted(set(words) - _YES - _NO)}")
    void = words.isin(_YES)
    try:
        ids, colors = (
            table["id"].astype(int),
            table.loc[~void, ["red", "green", "blue"]].astype(int),
        )
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: ids and colours are whole numbers: {error}") from error
    if not colors.isin(range(256)).all(axis=None):
        raise DataError(f"{path}: colours lie in 0..255")
    if not (names := table.loc[~void, "name"]).all() or names.empty:
        raise DataError(f"{path}: every class needs a name, and there must be one")
    try:
        return ClassScheme(
            root.resolve().name,
            tuple(names),
            tuple(map(tuple, colors.to_numpy().tolist())),
            tuple(ids[~void].tolist()),
            tuple(ids[void].tolist()),
            tuple(table.loc[~void, "category" if "category" in table else "name"]),
        )
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from None


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table of texts, as a spreadsheet writes it, too; its index counts lines."""
    data = storage.read_bytes(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: is in UTF-16; save it as CSV in UTF-8")
    text = data.decode("utf-8-sig", "surrogateescape")
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        lines = dict((reader.line_num, line) for line in reader if any(line))
    except csv.Error as error:
        raise DataError(f"{path}: is no table of commas and lines: {error}") from error
    first = lines.pop(min(lines)) if lines else []
    if len(set(first)) < len(first):
        raise DataError(f"{path}: two columns have the same name, in {first}")
    if missing := set(columns) - set(first):
        raise DataError(
            f"{path}: lacks the columns {sorted(missing)}; its first line must name "
            f"{','.join(columns)}, with commas between them; it names {first}"
        )
    for number, line in lines.items():
        if len(line) != len(first):
            raise DataError(f"{path}: line {number} has {len(line)} columns, not {len(first)}")
    return pd.DataFrame(list(lines.values()), list(lines), first, dtype=object)


def same_names(frames: Iterable[tuple[Path, str, str, str]]) -> list[str]:
    """Return a sentence for each frame (image, split, city, frame) that has the name of another.

    By their names frames are told apart where answers and predictions are kept. And the same frame
    in two splits would be learned and scored.
    """
    known, faults = {}, []
    for image, split, city, frame in frames:
        if (name := f"{city}_{frame}") in known:  # so files are called that are made of them
            other, its_split = known[name]
            where = "" if split == its_split else f" (one in {its_split}, one in {split})"
            faults.append(
                f"{image}: what is made of it would be called {name}, as that of {other}{where}; "
                "remove one of them, or rename it if it is another picture"
            )
        known.setdefault(name, (image, split))
    return faults


def save_pairs(folder: Path | str, pairs: pd.DataFrame, scheme: ClassScheme) -> Path:
    """Write a folder that `datasets.open_dataset` opens: ``pairs.csv`` and ``classes.csv``.

    Pictures stay where they are; their paths are written relative to the folder.

    Parameters
    ----------
    folder : Path or str
    pairs : DataFrame
        As from `datasets.find_pairs`.
    scheme : ClassScheme
        What the ids in the masks mean.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If a column is missing, two frames have one name, or masks hold colours, of which
        ``classes.csv`` cannot tell.
    StorageError
        If the tables cannot be written.
    """
    folder = Path(folder)
    if missing := {"image", "mask", "split", "city", "frame"} - set(pairs):
        raise DataError(f"the pairs lack the columns {sorted(missing)}")
    if faults := same_names(pairs[["image", "split", "city", "frame"]].itertuples(index=False)):
        raise DataError(
            f"{folder}: {len(faults)} frames have the name of another; give them names of their "
            "own in the columns city and frame:",
            faults,
        )
    for path in pairs["mask"].dropna() if scheme.file_colors else ():
        if storage.read_header(path).channels == 3:
            raise DataError(
                f"{path}: holds colours, of which {CLASSES} cannot tell. Write ids first: "
                "storage.write_png(new, scheme.unmap(preprocessing.read_mask(old, scheme)))"
            )
    base = folder.resolve()

    def relative(path: Path | None) -> str:
        missing = path is None or pd.isna(path)
        if missing:
            return ""
        path = Path(path)  # a link stays one
        return Path(os.path.relpath(path.parent.resolve() / path.name, base)).as_posix()

    paths = {name: pairs[name].map(relative) for name in ("image", "mask")}
    classes = scheme.to_frame().drop(columns="color")
    classes[["red", "green", "blue"]] = np.reshape(scheme.colors, (-1, 3))
    classes["void"] = 0
    if scheme.categories:
        classes["category"] = scheme.categories
    void = pd.DataFrame({"id": scheme.void_ids, "name": "void", "void": 1})
    void[["red", "green", "blue"]] = 0
    classes = pd.concat([classes, void]) if len(void) else classes
    order = ["id", "name", "red", "green", "blue", "void", *classes.columns[6:]]
    _write(folder / CLASSES, classes[order])
    _write(folder / PAIRS, pairs[["image", "mask", "split", "city", "frame"]].assign(**paths))
    return folder


def _write(path: Path, table: pd.DataFrame) -> None:
    text = table.to_csv(index=False, lineterminator="\r\n")  # so that both are quoted in names
    storage.write_bytes(path, text.encode("utf-8", "surrogateescape"))
