"""Shrink a data set once to the size that a network sees, so that no epoch decodes more.

    python -m cityseg_utils.shrinking /data/cityscapes /data/cityscapes-small --size 512 1024

The tree and the names stay as they are, so `datasets.open_dataset` opens the small one, too. Scores
are to be counted on the large one, at the frames' own size.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from joblib import Parallel, delayed

from cityseg_utils import datasets, own, storage
from cityseg_utils.errors import CitysegError, DataError, StorageError, run_command
from cityseg_utils.labels import ClassScheme
from cityseg_utils.layouts import PICTURES
from cityseg_utils.preprocessing import Size, check_pair, read_image, read_mask, resize_image

NOTE = "shrunk.json"


def shrink(
    root: Path | str, target: Path | str, size: Size, jobs: int = -1, progress: bool = False
) -> Path:
    """Write every frame of a data set anew, smaller; what is there already is kept.

    A frame is there when its files are, and are younger than those that they were made from. A mask
    gets the raw ids of its classes, and for void the first one that the classes have. What was made
    from what is noted in ``shrunk.json``. Until all frames are there, nobody opens the new folder.

    Parameters
    ----------
    root : Path or str
        A data set that `datasets.open_dataset` opens.
    target : Path or str
        Another folder.
    size : (height, width)
        Of the new pictures, which are PNG files; no frame is made larger.
    jobs : int
        Processes; -1: as many as there are CPU cores.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DataError
        If the data set cannot be opened, lies in part outside its folder, has smaller frames, or
        the new folder holds another one's, of another size, or frames that the data set has no
        more. Frames that cannot be read are reported together, at the end, after all others were
        written.
    StorageError
        If a file cannot be written.
    ValueError
        If a side of `size` is below 1.
    """
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size is (height, width), both above 0; got {size}")
    root, target = Path(root).resolve(), Path(target).resolve()
    if target == root or root in target.parents or target in root.parents:
        raise DataError(f"{target}: is or holds the data set itself, or lies in it; name another")
    pairs, scheme = datasets.open_dataset(root)
    small = pairs.assign(
        **{name: [_place(path, root, target) for path in pairs[name]] for name in ("image", "mask")}
    )
    work = list(zip(pairs["image"], pairs["mask"], small["image"], small["mask"], strict=True))
    _check_places(small)
    _claim(target, {"from": str(root), "size": list(size), "ids": [scheme.ids, scheme.void_ids]})
    _refuse_strangers(target, small)
    with storage.unfinished(target, "not all frames were shrunk; shrink the data set once more"):
        todo = [files for files in work if not _is_done(*files)]
        written = Parallel(jobs, return_as="generator_unordered")(
            delayed(_shrink)(*files, scheme, tuple(size)) for files in todo
        )
        if progress and todo:
            from tqdm.auto import tqdm

            written = tqdm(written, total=len(todo), desc="shrinking", unit="frame")
        if faults := sorted(fault for fault in written if fault):
            raise DataError(f"{root}: {len(faults)} frames cannot be shrunk:", faults)
        if own.is_here(root):
            own.save_pairs(target, small, scheme)
    return target


def _place(path: Path | None, root: Path, target: Path) -> Path | None:
    if path is None:
        return None
    place = Path(path).parent.resolve() / Path(path).name  # a link stays one
    if root not in place.parents:
        raise DataError(f"{path}: lies outside {root}; copy it there first")
    return target / place.relative_to(root).with_suffix(".png")


def _check_places(small) -> None:
    """Refuse two files that would become one, as a photograph and its mask of the same name."""
    places = [path for path in (*small["image"], *small["mask"]) if path is not None]
    if twice := sorted({str(path) for path, number in Counter(places).items() if number > 1}):
        raise DataError("files of the same name but for the ending would become one:", twice)


def _refuse_strangers(target: Path, small) -> None:
    """Refuse pictures that the data set no longer has, as they would be opened with the others."""
    known = {path for path in (*small["image"], *small["mask"]) if path is not None}
    found = {path for path in storage.files_below(target) if path.suffix.lower() in PICTURES}
    if strange := sorted(map(str, found - known)):
        raise DataError(f"{target}: remove what the data set does not have (any more):", strange)


def _claim(target: Path, made: dict) -> None:
    """Note what the folder is made from, or refuse one that was made from something else."""
    made = json.loads(json.dumps(made, default=int))
    note = target / NOTE
    if not note.exists():
        there = storage.files_below(target) if target.exists() else []
        if any(path.suffix.lower() in PICTURES for path in there):
            raise DataError(f"{target}: holds other pictures; name a new folder")
        storage.write_bytes(note, json.dumps(made, indent=1).encode())
        return
    try:
        found = json.loads(storage.read_bytes(note))
    except ValueError as error:
        raise DataError(f"{note}: is damaged: {error}") from error
    if found != made:
        raise DataError(
            f"{target}: holds frames that were made otherwise ({found}); name a new folder"
        )


def _is_done(image, mask, new_image, new_mask) -> bool:
    return all(
        new.is_file() and new.stat().st_mtime_ns >= _changed(Path(old))
        for old, new in ((image, new_image), (mask, new_mask))
        if old is not None
    )


def _changed(path: Path) -> int:
    """Return when a file was written or put there: who unpacks one keeps its old date."""
    return max(path.stat().st_mtime_ns, path.stat().st_ctime_ns)


def _shrink(image, mask, new_image, new_mask, scheme: ClassScheme, size: Size) -> str | None:
    """Write a frame; return what is wrong with it, if anything."""
    try:
        picture = read_image(image)
        found = picture.shape[:2]
        if found[0] < size[0] or found[1] < size[1]:
            return f"{image}: is {found[0]} x {found[1]}, smaller than {size[0]} x {size[1]}"
        if mask is not None:
            check_pair(image, mask)
            storage.write_png(new_mask, scheme.unmap(read_mask(mask, scheme, size)))
        storage.write_png(new_image, resize_image(picture, size))
    except StorageError:
        raise
    except CitysegError as error:  # it names the file
        return str(error)
    return None


def main() -> None:
    """Shrink a data set."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.shrinking")
    parser.add_argument("root", type=Path, help="the data set")
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--jobs", type=int, default=-1)
    options = parser.parse_args()
    shrink(options.root, options.target, tuple(options.size), options.jobs, progress=True)
    print(options.target)


if __name__ == "__main__":
    run_command(main)
