"""MiniCity: street scenes drawn from a seed, in the exact folder tree of Cityscapes.

``scene`` says what stands where in a street, in metres, and projects it to polygons; ``render``
turns polygons into a picture and a label map; this module writes the data set.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from cityseg_utils import storage
from cityseg_utils.errors import DataError
from cityseg_utils.minicity.render import polygons_json, render
from cityseg_utils.minicity.scene import make_scene

CITIES = {
    "train": ("ashford", "birkstadt", "corvina", "dunmere"),
    "val": ("elmsund", "farholt"),
    "test": ("greyport", "hollens"),
}
MARKER = "minicity.json"
DEFAULT = {"train": 120, "val": 40, "test": 40}


def generate(
    root: Path | str,
    train: int = DEFAULT["train"],
    val: int = DEFAULT["val"],
    test: int = DEFAULT["test"],
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    progress: bool = False,
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
    progress : bool
        Show a progress bar.

    Raises
    ------
    DataError
        If `root` holds another data set, or a MiniCity of another size or seed.
    StorageError
        If the files cannot be written.
    """
    root = Path(root)
    _claim(root, {"size": list(size), "seed": seed})
    todo = [
        x for x in _files(root, {"train": train, "val": val, "test": test}) if not x[1].exists()
    ]
    if progress:
        from tqdm.auto import tqdm

        todo = tqdm(todo, desc="drawing MiniCity", unit="scene")
    for image, mask, city, split, k in todo:
        scene = make_scene(city, (seed, list(CITIES).index(split), k), size)
        picture, ids = render(scene)
        polygons = mask.with_name(mask.name.replace("labelIds.png", "polygons.json"))
        storage.write_bytes(polygons, json.dumps(polygons_json(scene)).encode())
        storage.write_png(image, picture)
        storage.write_png(mask, ids)  # last: a scene with a label map is complete
    return root


def is_complete(root: Path | str, counts: dict[str, int] = DEFAULT) -> bool:
    """Tell whether every scene of that many per split is there."""
    return all(mask.exists() for _, mask, *_ in _files(Path(root), counts))


def _files(root: Path, counts: dict[str, int]) -> Iterator[tuple[Path, Path, str, str, int]]:
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
