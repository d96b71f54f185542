"""MiniCity: street scenes drawn from a seed, in the exact folder tree of Cityscapes.

``catalogue`` says what a city is made of, ``street`` lays out a street and sets things into it,
``geometry`` brings metres to pixels, ``painting`` turns shapes into a picture and its labels; this
module writes the data set. ``python -m cityseg_utils.minicity.measure`` measures it, and ``drive``
lets the camera move.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from cityseg_utils import identity, storage
from cityseg_utils.errors import DataError, StorageError
from cityseg_utils.minicity import painting
from cityseg_utils.minicity.street import make_scene

CITIES = {
    "train": ("ashford", "birkstadt", "corvina", "dunmere"),
    "val": ("elmsund", "farholt"),
    "test": ("greyport", "hollens"),
}
MARKER = "minicity.json"
VERSION = 2  # of the drawing; scenes of different versions are not mixed
DEFAULT = {"train": 120, "val": 40, "test": 40}
_LIMITS = {
    **dict.fromkeys(CITIES, (0, 1_000_000)),  # scenes; their names have six digits
    "height": (32, 1024),
    "width": (64, 2048),
    "seed": (0, math.inf),
}
_FEW = 12  # scenes that are drawn sooner than a second process starts
_KINDS = ("polygons.json", "instanceIds.png", "color.png", "labelIds.png")


def generate(
    root: Path | str,
    train: int = DEFAULT["train"],
    val: int = DEFAULT["val"],
    test: int = DEFAULT["test"],
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    clutter: float = 1.0,
    progress: bool = False,
    jobs: int = -1,
) -> Path:
    """Write a MiniCity under `root`; scenes that are there already are kept.

    A scene is there when it has its picture and its four files of labels and none of them is empty;
    else it is drawn anew. The files are not opened, so that a city that is there costs no time.

    Parameters
    ----------
    root : Path or str
    train, val, test : int
        Scenes per split, dealt round to the split's cities.
    size : (height, width)
        (32, 64) to (1024, 2048); the width is usually twice the height, as in Cityscapes.
    seed : int
        Scene k of a split depends on the seed and k alone, not on how many were asked for.
    clutter : float
        How many people, vehicles and things there are: 0.5 about half, 2 about twice as many;
        above 0, up to 4.
    progress : bool
        Show a progress bar.
    jobs : int
        Processes to draw with, not 0; -1: as many as there are CPU cores.

    Raises
    ------
    ValueError
        If a number is out of range; then nothing is written.
    DataError
        If `root` holds another data set, or a MiniCity of another size, seed, clutter or version,
        or cannot be read.
    StorageError
        If the files cannot be written.
    """
    root, counts, (height, width) = Path(root), {"train": train, "val": val, "test": test}, size
    _check(clutter, jobs, **counts, height=height, width=width, seed=seed)
    size, seed, clutter = (int(height), int(width)), int(seed), float(clutter)
    try:
        _claim(root, {"size": list(size), "seed": seed, "clutter": clutter, "version": VERSION})
        todo = [scene for scene in _scenes(root, counts) if not _is_done(scene[0])]
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error
    # Should this process be killed, the ones it started end when they have been idle for a while.
    draw = Parallel(
        jobs if len(todo) > _FEW else 1, return_as="generator_unordered", idle_worker_timeout=5
    )
    drawn = draw(delayed(_draw)(*scene, seed, size, clutter) for scene in todo)
    if progress and todo:
        from tqdm.auto import tqdm

        drawn = tqdm(drawn, total=len(todo), desc="drawing MiniCity", unit="scene")
    for files in drawn:
        _note_as_drawn(files, {"size": list(size), "seed": seed, "clutter": clutter})
    return root


def _note_as_drawn(files: list[Path], made_with: dict) -> None:
    """Save :func:`digests` to draw a scene again: nobody has changed these files yet."""
    picture, *_, mask = files
    split, _, k = _place(picture)
    answers = {path: _called(made_with, split, k, path) for path in (picture, mask)}
    identity.note(answers, _QUESTION)


def _check(clutter: float, jobs: int, **numbers: int) -> None:
    """Refuse what cannot be drawn, before anything is written."""
    for name, number in numbers.items():
        least, most = _LIMITS[name]
        if not isinstance(number, Integral) or not least <= number <= most:
            raise ValueError(f"{name} is a whole number from {least} to {most}, got {number!r}")
    if not 0 < clutter <= 4:
        raise ValueError(f"clutter is above 0, up to 4, got {clutter}")
    if not isinstance(jobs, Integral) or jobs == 0:
        raise ValueError(f"jobs is a whole number other than 0, got {jobs!r}")


def _draw(files: list[Path], city: str, split: str, k: int, seed, size, clutter) -> list[Path]:
    picture, objects, numbers, colors, mask = files
    scene = make_scene(city, (seed, list(CITIES).index(split), k), size, clutter)
    polygons = painting.polygons_json(scene)
    ids, instances = painting.draw_labels(polygons)
    storage.write_png(picture, painting.paint(scene))
    storage.write_bytes(objects, json.dumps(polygons).encode())
    storage.write_png(numbers, instances)
    storage.write_png(colors, painting.COLORS[ids])
    storage.write_png(mask, ids)
    return files


def digests(paths: Iterable[Path | str]) -> list[str]:
    """Return what tells pictures and masks from others: the SHA-256 of each file.

    A picture or mask (``labelIds``) of a MiniCity of this version is told by seed, size and number
    instead, provided that it shows what is drawn for these: the files of one scene differ between
    machines by how PNG is packed, and a picture by how a processor rounds.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    return identity.remembered(paths, _QUESTION, _content)


_QUESTION = f"content, MiniCity {VERSION}"


def _content(path: Path) -> str:
    return _as_drawn(path) or hashlib.sha256(path.read_bytes()).hexdigest()


def _as_drawn(path: Path) -> str | None:
    """Name a file of a MiniCity that shows what was drawn for its name; None for all others."""
    try:
        made_with = json.loads((path.parents[3] / MARKER).read_bytes())
        split, city, k = _place(path)
        seed, size, clutter = made_with["seed"], tuple(made_with["size"]), made_with["clutter"]
        if made_with["version"] != VERSION:
            return None
        shown = np.asarray(Image.open(path)).astype(int)
    except (OSError, ValueError, LookupError, TypeError, Image.DecompressionBombError):
        return None
    scene = make_scene(city, (seed, list(CITIES).index(split), k), size, clutter)
    if _is_picture(path):
        drawn, most = painting.paint(scene), 2
    else:
        drawn, most = painting.draw_labels(painting.polygons_json(scene))[0], 0
    if shown.shape != drawn.shape or np.abs(shown - drawn).max() > most:
        return None
    return _called(made_with, split, k, path)


def _place(path: Path) -> tuple[str, str, int]:
    """Return the split, the city and the number in the split that a file's name says."""
    split, city = path.parts[-3:-1]
    cities = CITIES[split]
    return split, city, int(path.name.split("_")[1]) * len(cities) + cities.index(city)


def _is_picture(path: Path) -> bool:
    return path.name.endswith("_leftImg8bit.png")


def _called(made_with: dict, split: str, k: int, path: Path) -> str:
    size, seed, clutter = (made_with[name] for name in ("size", "seed", "clutter"))
    kind = "picture" if _is_picture(path) else "mask"
    return f"MiniCity {VERSION} {size} {seed} {clutter} {split} {k} {kind}"


def is_complete(root: Path | str, counts: dict[str, int] = DEFAULT) -> bool:
    """Tell whether every scene of that many per split is there."""
    return all(_is_done(files) for files, *_ in _scenes(Path(root), counts))


def _is_done(files: list[Path]) -> bool:
    return all(path.is_file() and path.stat().st_size for path in files)


def _scenes(root: Path, counts: dict[str, int]) -> Iterator[tuple[list[Path], str, str, int]]:
    """Yield each scene's picture and files of labels, city, split and number in the split."""
    for split, number in counts.items():
        for k in range(number):
            city = CITIES[split][k % len(CITIES[split])]
            stem = f"{split}/{city}/{city}_{k // len(CITIES[split]):06d}_000019"
            labels = [root / "gtFine" / f"{stem}_gtFine_{kind}" for kind in _KINDS]
            yield [root / "leftImg8bit" / f"{stem}_leftImg8bit.png", *labels], city, split, k


def _claim(root: Path, made_with: dict) -> None:
    """Note size and seed in `root`, or check that they are the ones noted there."""
    marker = root / MARKER
    foreign = root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir())
    # Asked after the look into the folder: a call that draws there now wrote its marker first.
    if not marker.exists():
        if foreign:
            raise DataError(f"{root}: is not empty and holds no {MARKER}; choose another folder")
        _write_marker(marker, json.dumps(made_with).encode())
    noted = None
    if marker.is_file():
        with suppress(ValueError, RecursionError):
            noted = json.loads(marker.read_bytes())
    if not isinstance(noted, dict):
        raise DataError(f"{marker}: is damaged; choose another folder or remove {root}")
    if noted != made_with:
        raise DataError(
            f"{root}: holds a MiniCity made with {noted}, now {made_with} is asked for; "
            "choose another folder or remove this one"
        )


def _write_marker(marker: Path, content: bytes) -> None:
    """Write the marker whole, but never over one that another call has just written."""
    try:
        with storage.write_whole(marker) as temporary:
            temporary.write_bytes(content)
            try:
                os.link(temporary, marker)  # fails where one is, as the renaming to come does not
            except OSError:  # or where the file system has no links: then the renaming must do
                if marker.exists():
                    raise
    except StorageError:
        if not marker.exists():
            raise
