"""Propose ``pairs.csv`` and ``classes.csv`` for loose folders of photographs and label maps.

    python -m cityseg_utils.propose IMAGES MASKS FOLDER

Names and colours of the classes, and what is void, are then put in by hand.
"""

import argparse
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import storage
from cityseg_utils.datasets import save_pairs, split_pairs
from cityseg_utils.errors import CitysegError, DataError, run_command
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.layouts import OTHER_PICTURES, PICTURES
from cityseg_utils.own import CLASSES, PAIRS
from cityseg_utils.preprocessing import check_pair


def propose(images: Path | str, masks: Path | str, folder: Path | str) -> Path:
    """Look at loose photographs and label maps, and write both tables.

    A mask belongs to the image of its name, perhaps with an ending that all masks share, such as
    ``_mask``. Frames of one subfolder, or else with one name before the last ``_``, are a group.
    Whole groups are dealt to splits; with fewer than three, the first 70 % of all frames are train
    and the last 15 % test. Every value in the masks is a class with a name to be replaced, but 255,
    which is void.

    Raises
    ------
    DataError
        If an image or mask has no partner or is no PNG or JPEG, a file is damaged or no label map,
        image and mask do not lie on each other, two frames would have one name, or the folder has
        such tables.
    """
    images, masks, folder = Path(images), Path(masks), Path(folder)
    for name in (PAIRS, CLASSES):
        if (folder / name).exists():
            raise DataError(
                f"{folder / name}: is there already; remove it or choose another folder"
            )
    rows = _matched(_named(images), _named(masks), masks)
    faults = []
    for _, image, mask in rows:
        try:
            check_pair(image, mask)
        except CitysegError as error:
            faults.append(str(error))
    if faults:
        raise DataError(f"{images}: {len(faults)} pairs cannot be used:", faults)
    found = ClassScheme.from_masks(mask for _, _, mask in rows)
    classes = [k for k, raw in enumerate(found.ids) if raw != VOID]
    scheme = ClassScheme(
        folder.resolve().name,
        *(tuple(column[k] for k in classes) for column in (found.names, found.colors, found.ids)),
        (VOID,) if VOID in found.ids else (),
    )
    table = pd.DataFrame(rows, columns=["key", "image", "mask"])
    groups = [key.rpartition("/")[0] or key.rpartition("_")[0] or "all" for key in table["key"]]
    # What may name a folder.
    table["city"] = [re.sub(r"[^\w.-]+|_", " ", group).strip(" .-") or "all" for group in groups]
    table["frame"] = [key.rpartition("/")[2] for key in table["key"]]
    return save_pairs(folder, table.assign(split=_splits(table["city"])), scheme)


def _named(folder: Path) -> dict[str, Path]:
    """Return all pictures below a folder by their path in it, without suffix."""
    found = {}
    files = storage.files_below(folder)
    if others := sorted(str(path) for path in files if path.suffix.lower() in OTHER_PICTURES):
        raise DataError(f"{folder}: holds pictures that are no PNG or JPEG; convert them:", others)
    for path in files:
        if path.suffix.lower() in PICTURES:
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise DataError(f"{path}: has the name of {found[key]}")
            found[key] = path
    if not found:
        raise DataError(f"{folder}: holds no PNG or JPEG files")
    return found


def _matched(images: dict[str, Path], masks: dict[str, Path], folder: Path) -> list[tuple]:
    first = next(iter(masks))
    fits = [key for key in images if first.startswith(key)]
    ending = first.removeprefix(max(fits, key=len)) if fits else ""
    named = {key.removesuffix(ending): path for key, path in masks.items() if key.endswith(ending)}
    faults = [f"{images[key]}: has no mask" for key in images.keys() - named.keys()]
    faults += [f"{named[key]}: has no image" for key in named.keys() - images.keys()]
    faults += [f"{path}: has no image" for key, path in masks.items() if not key.endswith(ending)]
    if faults:
        raise DataError(f"{folder}: {len(faults)} files have no partner:", sorted(faults))
    return [(key, images[key], named[key]) for key in sorted(images)]


def _splits(groups: pd.Series) -> list[str]:
    if groups.nunique() >= 3:
        table = pd.DataFrame({"city": groups, "frame": range(len(groups))})
        return split_pairs(table).sort_values("frame")["split"].tolist()
    places = np.arange(len(groups)) / len(groups)
    return np.select([places < 0.7, places < 0.85], ["train", "val"], "test").tolist()


def main() -> None:
    """Parse the command line, write the tables, and say what a person has to put in."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.propose", description=__doc__)
    for name, what in (("images", "photographs"), ("masks", "label maps"), ("folder", "to write")):
        parser.add_argument(name, type=Path, help=what)
    folder = propose(**vars(parser.parse_args()))
    print(f"{folder / PAIRS}: look at the splits; neighbouring frames must not be in two of them")
    print(f"{folder / CLASSES}: put in names and colours, and 1 under void for ids that are none")
    print(f"then: CITYSEG_DATA={shlex.quote(str(folder))} make course")


if __name__ == "__main__":
    run_command(main)
