"""MiniCity: street scenes drawn from a seed, in the exact folder tree of Cityscapes.

``catalogue`` says what a city is made of, ``street`` lays out a street and sets things into it,
``geometry`` brings metres to pixels, ``painting`` turns shapes into a picture and its labels; this
module writes the data set. ``python -m cityseg_utils.minicity.measure`` measures it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from joblib import Parallel, delayed

from cityseg_utils import storage
from cityseg_utils.errors import DataError
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
_FEW = 12  # scenes that are drawn sooner than a second process starts


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

    Parameters
    ----------
    root : Path or str
    train, val, test : int
        Scenes per split, dealt round to the split's cities.
    size : (height, width)
        The width is usually twice the height, as in Cityscapes.
    seed : int
        Scene k of a split depends on the seed and k alone, not on how many were asked for.
    clutter : float
        How many people, vehicles and things there are: 0.5 about half, 2 about twice as many.
    progress : bool
        Show a progress bar.
    jobs : int
        Processes to draw with; -1: as many as there are CPU cores.

    Raises
    ------
    DataError
        If `root` holds another data set, or a MiniCity of another size, seed, clutter or version.
    StorageError
        If the files cannot be written.
    """
    root = Path(root)
    _claim(root, {"size": list(size), "seed": seed, "clutter": clutter, "version": VERSION})
    counts = {"train": train, "val": val, "test": test}
    todo = [scene for scene in _scenes(root, counts) if not scene[1].exists()]
    # Should this process be killed, the ones it started end when they have been idle for a while.
    draw = Parallel(
        jobs if len(todo) > _FEW else 1, return_as="generator_unordered", idle_worker_timeout=5
    )
    drawn = draw(delayed(_draw)(*scene, seed, size, clutter) for scene in todo)
    if progress and todo:
        from tqdm.auto import tqdm

        drawn = tqdm(drawn, total=len(todo), desc="drawing MiniCity", unit="scene")
    for _ in drawn:
        pass
    return root


def _draw(image: Path, mask: Path, city: str, split: str, k: int, seed, size, clutter) -> None:
    scene = make_scene(city, (seed, list(CITIES).index(split), k), size, clutter)
    polygons = painting.polygons_json(scene)
    ids, instances = painting.draw_labels(polygons)
    storage.write_png(image, painting.paint(scene))
    stem = mask.name.removesuffix("labelIds.png")
    storage.write_bytes(mask.with_name(stem + "polygons.json"), json.dumps(polygons).encode())
    storage.write_png(mask.with_name(stem + "instanceIds.png"), instances)
    storage.write_png(mask.with_name(stem + "color.png"), painting.COLORS[ids])
    storage.write_png(mask, ids)  # last: a scene with a label map is complete


def is_complete(root: Path | str, counts: dict[str, int] = DEFAULT) -> bool:
    """Tell whether every scene of that many per split is there."""
    return all(mask.exists() for _, mask, *_ in _scenes(Path(root), counts))


def _scenes(root: Path, counts: dict[str, int]) -> Iterator[tuple[Path, Path, str, str, int]]:
    for split, number in counts.items():
        for k in range(number):
            city = CITIES[split][k % len(CITIES[split])]
            stem = f"{city}_{k // len(CITIES[split]):06d}_000019"
            image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
            mask = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
            yield image, mask, city, split, k


def _claim(root: Path, made_with: dict) -> None:
    """Note size and seed in `root`, or check that they are the ones noted there."""
    marker = root / MARKER
    if marker.is_file():
        noted = json.loads(marker.read_text())
        if noted != made_with:
            raise DataError(
                f"{root}: holds a MiniCity made with {noted}, now {made_with} is asked for; "
                "choose another folder or remove this one"
            )
    elif root.is_dir() and any(re.match(r"[^.]", p.name) for p in root.iterdir()):
        raise DataError(f"{root}: is not empty and holds no {MARKER}; choose another folder")
    else:
        storage.write_bytes(marker, json.dumps(made_with).encode())
