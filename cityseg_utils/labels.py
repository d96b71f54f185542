"""Class schemes: which classes there are, their names, colours and the ids that files store.

In memory a mask always holds *train ids*: 0 .. num_classes - 1, and :data:`VOID` (255) for pixels
that are neither trained on nor scored. A :class:`ClassScheme` says how the raw ids of the files
become train ids and back.
"""

import colorsys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from cityscapesscripts.helpers.labels import labels as _OFFICIAL

from cityseg_utils.errors import LabelError
from cityseg_utils.storage import read_picture

VOID = 255
_UNKNOWN = -1
# Hues of Okabe and Ito, "Color universal design" (2008), dealt to the categories so that the
# nearest two classes of both Cityscapes and CamVid are far apart for people with dichromacy.
_SAFE_HUES = {
    "flat": (230, 159, 0),
    "construction": (86, 180, 233),
    "object": (0, 114, 178),
    "nature": (240, 228, 66),
    "sky": (0, 158, 115),
    "human": (213, 94, 0),
    "vehicle": (150, 150, 150),
}


@dataclass(frozen=True)
class ClassScheme:
    """A table of classes; class k (its train id) is row k.

    Parameters
    ----------
    name : str
    names : sequence of str
        Class names, unique.
    colors : sequence of (r, g, b)
        0 .. 255 each.
    ids : sequence of int
        The raw id, 0 .. 255, that files store for each class.
    void_ids : sequence of int
        Raw ids that mean "no class"; they become 255.
    categories : sequence of str, optional
        The group that each class belongs to, such as "vehicle".
    file_colors : dict of (r, g, b) to int, optional
        For data whose label files hold colours: the train id, or 255, that each stands for.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]
    void_ids: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    file_colors: Mapping[tuple[int, int, int], int] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        if not len(self.names) == len(self.colors) == len(self.ids):
            raise LabelError(
                f"{self.name}: {len(self.names)} names, {len(self.colors)} colours and "
                f"{len(self.ids)} ids; there must be one of each for every class"
            )
        if len(self.names) > VOID:
            raise LabelError(
                f"{self.name}: has {len(self.names)} classes; 255 at most, 255 is void"
            )
        raw = (*self.ids, *self.void_ids)
        if len(set(raw)) < len(raw) or any(not 0 <= i <= 255 for i in raw):
            raise LabelError(f"{self.name}: raw ids must be unique and lie in 0..255, got {raw}")
        if len(set(self.names)) < len(self.names):
            raise LabelError(f"{self.name}: two classes have the same name")

    def __repr__(self) -> str:
        return f"ClassScheme({self.name!r}, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        """Number of classes, void not counted."""
        return len(self.names)

    @cached_property
    def table(self) -> np.ndarray:
        """``(256,) int16``: raw id -> train id, 255 for void, -1 where no class has the id."""
        table = np.full(256, _UNKNOWN, np.int16)
        table[list(self.ids)] = np.arange(self.num_classes)
        table[list(self.void_ids)] = VOID
        return table

    @cached_property
    def palette(self) -> np.ndarray:
        """``(256, 3) uint8``: train id -> RGB, black for void and for unused ids."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = self.colors
        return palette

    def remap(self, raw: np.ndarray) -> np.ndarray:
        """Turn ``(...) uint8`` raw ids into train ids by table look-up.

        Raises
        ------
        LabelError
            If `raw` holds an id that neither a class nor void has, or is of another type.
        """
        raw = np.asarray(raw)
        if raw.dtype != np.uint8:
            raise LabelError(f"raw ids are uint8, as files store them; got {raw.dtype}")
        if not raw.size:
            return raw.copy()
        flat = raw.reshape(1, -1)  # for OpenCV, which is a few times as fast as NumPy here
        if cv2.LUT(flat, (self.table == _UNKNOWN).astype(np.uint8)).any():
            self.check_counts(np.bincount(flat[0], minlength=256))
        return cv2.LUT(flat, self.table.astype(np.uint8)).reshape(raw.shape)

    def check_counts(self, counts: np.ndarray) -> None:
        """Refuse a mask by how many pixels each raw id has in it, ``(256,)`` integers.

        Raises
        ------
        LabelError
            As :meth:`remap`.
        """
        unknown = np.flatnonzero((counts > 0) & (self.table == _UNKNOWN))
        if unknown.size:
            numbers = [(i, counts[i], "pixel" if counts[i] == 1 else "pixels") for i in unknown]
            found = ", ".join(f"{i} ({count} {what})" for i, count, what in numbers)
            raise LabelError(
                f"the mask holds ids that no class of {self.name!r} has: {found}; known are "
                f"{sorted((*self.ids, *self.void_ids))}. Is this the right class scheme?"
            )

    def remap_colors(self, picture: np.ndarray) -> np.ndarray:
        """Turn ``(H, W, 3) uint8`` RGB into train ids by looking colours up in `file_colors`.

        Raises
        ------
        LabelError
            If a colour is not in that table, even by 1: JPEG or resizing has mixed colours then.
        """
        codes = picture.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        found, places = np.unique(codes, return_inverse=True)
        colors = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
        if unknown := [color for color in colors if color not in self.file_colors]:
            advice = "Was it resized, or kept as JPEG, which mixes colours?"
            if (picture == picture[..., :1]).all():
                advice = "All three channels are equal: if they hold ids, write one of them alone"
            raise LabelError(
                f"the mask holds {len(unknown)} colours that no class of {self.name!r} has, such "
                f"as {unknown[0]}. {advice}"
            )
        ids = np.array([self.file_colors[color] for color in colors], np.uint8)
        return ids[places].reshape(picture.shape[:2])

    @property
    def meaning(self) -> tuple:
        """What decides which train id a stored value becomes, to be told from another's."""
        colors = [sorted(self.file_colors.items())] if self.file_colors else []
        return (self.names, self.ids, self.void_ids, *colors)

    def unmap(self, mask: np.ndarray) -> np.ndarray:
        """Turn train ids back into raw ids; 255 becomes the first void id.

        Raises
        ------
        LabelError
            If `mask` holds a number that is no train id, or void where the scheme has none.
        """
        table = np.full(256, _UNKNOWN, np.int16)
        table[: self.num_classes] = self.ids
        if self.void_ids:
            table[VOID] = self.void_ids[0]
        if (outside := np.unique(mask[(mask < 0) | (mask > 255)])).size:
            raise LabelError(f"{outside.tolist()} are no train ids of {self.name!r}")
        raw = table[mask]
        if (raw == _UNKNOWN).any():
            unknown = np.unique(mask[raw == _UNKNOWN]).tolist()
            hint = f"; it has no id for void, {VOID} here" if VOID in unknown else ""
            hint = "" if self.void_ids else hint
            raise LabelError(f"{unknown} are no train ids of {self.name!r}{hint}")
        return raw.astype(np.uint8)

    def colorize(self, mask: np.ndarray) -> np.ndarray:
        """Paint ``(H, W) uint8`` train ids as ``(H, W, 3) uint8`` RGB, void black."""
        return self.palette[mask]

    def color_blind_safe(self) -> "ClassScheme":
        """Return the same classes in colours that can be told apart without red and green.

        Each category has a hue; its classes go from dark to light. Use it in one place, after the
        data set is opened: ``scheme = scheme.color_blind_safe()``.
        """
        groups = self.categories or self.names
        hues, number, seen = list(_SAFE_HUES.values()), Counter(groups), Counter()
        kinds, colors = list(dict.fromkeys(groups)), []
        for group in groups:
            hue = np.array(_SAFE_HUES.get(group, hues[kinds.index(group) % len(hues)]), float)
            step = (seen[group] + 0.5) / number[group]
            seen[group] += 1
            light = hue + (255 - hue) * (step - 0.5) * 1.3
            shade = hue * (0.45 + 1.1 * step) if step < 0.5 else light
            colors.append(tuple(int(c) for c in np.clip(np.round(shade), 0, 255)))
        return replace(self, colors=tuple(colors))

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a DataFrame with one row per class, indexed by train id."""
        rows = {"name": self.names, "id": self.ids, "color": self.colors}
        return pd.DataFrame(rows).rename_axis("train_id")

    @classmethod
    def from_masks(
        cls, paths: Iterable[Path | str], names: dict[int, str] | None = None
    ) -> "ClassScheme":
        """Find the unique values of all masks and number them from 0, in rising order.

        This is what a project does that knows nothing of its labels: every value that occurs is a
        class, void included.

        Parameters
        ----------
        paths : iterable of paths
            Label-id PNG files.
        names : dict, optional
            Names of raw ids; others are called ``"id 7"``.
        """
        present = np.zeros(256, bool)
        for path in paths:
            present[np.unique(read_picture(path, color=False))] = True
        ids = tuple(np.flatnonzero(present).tolist())
        if not ids:
            raise LabelError("no masks were given, so no class was found")
        names = names or {}
        return cls(
            "unique values",
            tuple(names.get(i, f"id {i}") for i in ids),
            distinct_colors(len(ids)),
            ids,
        )


def distinct_colors(number: int) -> tuple[tuple[int, int, int], ...]:
    """Return that many RGB colours, far apart in hue and brightness for neighbours."""
    golden = 0.618034
    hsv = ((k * golden % 1, 0.75, (0.95, 0.7, 0.5)[k % 3]) for k in range(number))
    return tuple(tuple(round(255 * c) for c in colorsys.hsv_to_rgb(*color)) for color in hsv)


def _from_official(name: str, chosen: Sequence, void: Sequence) -> ClassScheme:
    return ClassScheme(
        name,
        tuple(label.name for label in chosen),
        tuple(label.color for label in chosen),
        tuple(label.id for label in chosen),
        tuple(label.id for label in void),
        tuple(label.category for label in chosen),
    )


# The official table has one negative id (license plate, -1), which no labelIds file stores.
_STORED = [label for label in _OFFICIAL if label.id >= 0]

CITYSCAPES = _from_official(
    "Cityscapes",
    sorted((x for x in _STORED if not x.ignoreInEval), key=lambda x: x.trainId),
    [x for x in _STORED if x.ignoreInEval],
)
"""The 19 classes of the Cityscapes benchmark, by official train id; all other ids are void."""

CITYSCAPES_FULL = _from_official("Cityscapes, every id", _STORED, [])
"""Every id that a Cityscapes labelIds file can hold, 0 .. 33, none of them void."""

# The 32 classes of CamVid's authors, by the one of the 11 that each became in the grouping of
# Sturgess et al. (see CITYSCAPES_TO_CAMVID).
_CAMVID_COLORS = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "Building": (128, 0, 0),
        "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
        "Road": (128, 64, 128),
    },
    "pavement": {
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
        "Sidewalk": (0, 0, 192),
    },
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign symbol": {
        "Misc_Text": (128, 128, 64),
        "SignSymbol": (192, 128, 128),
        "TrafficLight": (0, 64, 64),
    },
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "OtherMoving": (128, 64, 64),
        "SUVPickupTruck": (64, 128, 192),
        "Train": (192, 64, 128),
        "Truck_Bus": (192, 128, 192),
    },
    "pedestrian": {
        "Animal": (64, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Child": (192, 128, 64),
        "Pedestrian": (64, 64, 0),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    "void": {"Void": (0, 0, 0)},
}

CAMVID = ClassScheme(
    "CamVid",
    (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    tuple(range(11)),
    (11,),
    (
        "sky",
        "construction",
        "object",
        "flat",
        "flat",
        "nature",
        "object",
        "construction",
        "vehicle",
        "human",
        "human",
    ),
    {
        color: VOID if name == "void" else k
        for k, (name, merged) in enumerate(_CAMVID_COLORS.items())
        for color in merged.values()
    },
)
"""The 11 classes of CamVid as SegNet (Badrinarayanan et al., 2017) uses them; 11 is void.

Label files hold either these ids or the colours of the 32 classes of Brostow et al. (2009).
"""

CITYSCAPES_TO_CAMVID = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "sign symbol",
    "traffic sign": "sign symbol",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}
"""CamVid's name for each Cityscapes class, as its 32 classes were grouped into 11.

That grouping (walls with buildings, traffic lights with signs, low plants with trees, large
vehicles with cars, motorcycles with bicyclists) is the one of Sturgess et al., "Combining
appearance and structure from motion features for road scene understanding", BMVC 2009, which
SegNet's version of the data follows.
"""


def merging(source: ClassScheme, target: ClassScheme, names: dict[str, str]) -> np.ndarray:
    """Return the ``(C, K) float32`` matrix that turns scores of C classes into those of K.

    ``probabilities @ merging(...)`` adds up the classes that become one.

    Raises
    ------
    LabelError
        If a class of `source` is not in `names`, or becomes one that `target` does not have.
    """
    matrix = np.zeros((source.num_classes, target.num_classes), np.float32)
    for row, name in enumerate(source.names):
        if names.get(name) not in target.names:
            raise LabelError(f"{name!r} becomes {names.get(name)!r}, no class of {target.name!r}")
        matrix[row, target.names.index(names[name])] = 1
    return matrix
