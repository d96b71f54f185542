"""Folder trees that the course knows: which files of them belong together, by names alone."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from cityseg_utils.errors import DataError
from cityseg_utils.storage import files_below

Frame = tuple[str, str]  # city (CamVid: drive) and the frame's name within it
Row = tuple[Path, Path | None, str, str, str]  # image, mask, split, city, frame

PICTURES = {".png", ".jpg", ".jpeg"}
OTHER_PICTURES = {".bmp", ".gif", ".heic", ".jp2", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
_CITYSCAPES_NAME = re.compile(
    r"(?P<city>.+)_(?P<frame>\d{6}_\d{6})_(?P<kind>leftImg8bit|gtFine_labelIds)"
)
_FOLDER_NAME = re.compile(r'[^\W_][^\x00-\x1f/\\:*?"<>|]*')
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
_RAW, _LABELED = "701_StillsRaw_full", "LabeledApproved_full"  # as CamVid's authors publish it


class Tree:
    """What was found below a folder.

    Attributes
    ----------
    layout : str
        ``"cityscapes"`` or ``"camvid"``.
    sought : str
        Where masks were looked for.
    rows : list of (image, mask or None, split, city, frame)
    faults : list of str
        Files without a partner, or with two.
    """

    def __init__(self, layout: str, sought: str):
        self.layout, self.sought = layout, sought
        self.rows: list[Row] = []
        self.faults: list[str] = []

    def add(
        self,
        images: Iterable[Path],
        masks: Iterable[Path],
        frame_of: Callable[[Path], Frame | None],
        split: str | Callable[[Frame], str],
    ) -> None:
        """Match images and masks of the same frame; those without any mask get none."""
        images, masks = self._by_frame(images, frame_of), self._by_frame(masks, frame_of)
        orphans = [images[frame] for frame in images.keys() - masks.keys() if masks]
        self.faults += [f"{image}: has no mask" for image in orphans]
        orphans = [masks[frame] for frame in masks.keys() - images.keys()]
        self.faults += [f"{mask}: is a mask without an image" for mask in orphans]
        for frame, image in images.items():
            name = split if isinstance(split, str) else split(frame)
            self.rows.append((image, masks.get(frame), split_name(name), *frame))

    def _by_frame(self, paths: Iterable[Path], frame_of: Callable) -> dict[Frame, Path]:
        found: dict[Frame, Path] = {}
        for path in paths:
            if path.suffix.lower() in OTHER_PICTURES:
                self.faults.append(f"{path}: is no PNG or JPEG; convert it")
            if path.suffix.lower() not in PICTURES or (frame := frame_of(path)) is None:
                continue
            frame = tuple(map(composed, frame))
            self.check_city(frame[0], path)
            if frame in found:
                self.faults.append(f"{path}: is of the same frame as {found[frame]}")
            found[frame] = path
        return found

    def check_city(self, city: str, path: Path | str) -> None:
        """Note a city that cannot name a folder, as it does where predictions are written."""
        if not _FOLDER_NAME.fullmatch(city):
            self.faults.append(f"{path}: gives the city {city!r}, which cannot name a folder")


def composed(name: str) -> str:
    """Return a name with each letter in one piece: macOS writes an umlaut as two."""
    return unicodedata.normalize("NFC", name)


def split_name(name: str) -> str:
    """Return what the course calls a split, of which others say Train, valid or testing."""
    return _SPLITS.get(name.strip().lower(), name)


def read_tree(root: Path) -> Tree:
    """Recognise a folder tree by looking, and match its files.

    Raises
    ------
    DataError
        If `root` is no folder, or has no tree that is known.
    OSError
        If a part of it may not be read.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is no folder; set CITYSEG_DATA to the folder of a data set")
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    if "leftImg8bit" in folders:
        return _cityscapes(root)
    if folders >= {_RAW, _LABELED}:
        return _camvid_of_its_authors(root)
    for ending, kind in (("annot", ""), ("_labels", "_L")):
        splits = {name.removesuffix(ending) for name in folders if name.endswith(ending)} - {""}
        if splits:
            return _camvid(root, splits | (folders & _SPLITS.keys()), ending, kind)
    raise DataError(f"{root}: is no data set this course knows. {_expected(root)}")


def _expected(root: Path) -> str:
    text = (
        "Expected leftImg8bit/ and gtFine/ (Cityscapes, MiniCity), train/ and trainannot/ or "
        f"train_labels/ (CamVid), {_RAW}/ and {_LABELED}/ (the same), or pairs.csv and classes.csv "
        f"(your own); found {sorted(path.name for path in root.iterdir())[:8] or 'nothing'}"
    )
    if any((root / "train").glob("*.jp*g")):
        text += (
            ". If train/ holds JPEGs with photograph and labels side by side: JPEG has mixed the "
            "labels' colours, which cannot be undone; get the data set from its authors"
        )
    return text


def _below(folder: Path) -> list[Path]:
    return files_below(folder) if folder.is_dir() else []


# -- Cityscapes -----------------------------------------------------------------------------------


def _cityscapes(root: Path) -> Tree:
    tree = Tree("cityscapes", "gtFine/<split>/<city>/*_gtFine_labelIds.png")
    parts = [root / "leftImg8bit", root / "gtFine"]
    inside = [path for part in parts if part.is_dir() for path in part.iterdir()]
    splits = {path.name for path in inside}
    loose = [path for path in inside if path.is_file() and path.suffix.lower() in PICTURES]
    tree.faults += [f"{path}: lies in no folder of a split, such as train/" for path in loose]
    for split in sorted(name for name in splits if not name.startswith(".")):
        images, masks = (_below(part / split) for part in parts)
        strange = [path for path in images if path.suffix.lower() in PICTURES]
        strange = [path for path in strange if _cityscapes_frame(path) is None]
        tree.faults += [f"{path}: is not named CITY_FRAME_leftImg8bit" for path in strange]
        tree.add(images, masks, _cityscapes_frame, split)
    if not any(mask for _, mask, *_ in tree.rows):
        tree.sought += _instead(root)
    return tree


def _cityscapes_frame(path: Path) -> Frame | None:
    match = _CITYSCAPES_NAME.fullmatch(path.stem)
    return match and (match["city"], match["frame"])


def _instead(root: Path) -> str:
    """Say what label files there are in place of those that are read."""
    if any(path.stem.endswith("_labelTrainIds") for path in _below(root / "gtFine")):
        return "; *_labelTrainIds.png are there, but the course makes train ids of label ids itself"
    if (root / "gtCoarse").is_dir():
        return "; gtCoarse/ is there, but coarse labels are not read: get gtFine_trainvaltest.zip"
    return "; unpack gtFine_trainvaltest.zip beside leftImg8bit/"


# -- CamVid ---------------------------------------------------------------------------------------


def _camvid(root: Path, splits: set[str], ending: str, kind: str) -> Tree:
    """Match SegNet's tree, or that of Semantic-Segmentation-Suite with ``_labels`` and ``_L``."""
    tree = Tree("camvid", f"<split>{ending}/*.png")
    for split in sorted(splits):
        # Some copies call their test files test_00001.png and testannot_00001.png.
        frame_of = partial(_camvid_frame, starts=(f"{split}{ending}_", f"{split}_"), end=kind)
        tree.add(_below(root / split), _below(root / f"{split}{ending}"), frame_of, split)
    return tree


def _camvid_of_its_authors(root: Path) -> Tree:
    tree = Tree("camvid", f"{_LABELED}/*_L.png")
    frame_of = partial(_camvid_frame, end="_L")
    tree.add(_below(root / _RAW), _below(root / _LABELED), frame_of, _segnet_split)
    return tree


def _camvid_frame(path: Path, starts: tuple[str, ...] = (), end: str = "") -> Frame:
    stem = path.stem.removesuffix(end)
    for start in starts:
        stem = stem.removeprefix(start)
    drive, separator, rest = stem.partition("_")
    return (drive, rest) if separator else ("all", stem)


def _segnet_split(frame: Frame) -> str:
    """Return SegNet's split (Badrinarayanan et al., 2017) of a frame; val is one short clip."""
    drive, name = frame
    if drive == "Seq05VD" or (drive == "0001TP" and name >= "008550"):
        return "test"
    return "val" if drive == "0016E5" and "07959" <= name <= "08159" else "train"
