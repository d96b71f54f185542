"""What was said of pixels, by a person or an oracle: a log that only grows, and masks made of it.

Each answer is on the disk before the next is asked for. Undone answers stay in the log; it is read
from its beginning to know what holds.
"""

import copy
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock

from cityseg_utils import own, storage
from cityseg_utils.errors import DataError, LabelError, StorageError
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme
from cityseg_utils.preprocessing import Size, read_image, read_mask, resize_mask

UNLABELLED = -1  # in memory, beside train ids and 255 for what nobody can name
Runs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Answer:
    """What was said of some pixels of a frame.

    Parameters
    ----------
    frame : str
        As from :func:`frame_name`.
    pixels : tuple of (start, length)
        Runs in the flattened frame at its native size; see :func:`runs`.
    label : int or None
        Train id; 255 for "nobody can say"; None takes back what was said of these pixels.
    by : str
        Who said so.
    clicks : int
    seconds : float
        What it took.
    """

    frame: str
    pixels: Runs
    label: int | None
    by: str = "person"
    clicks: int = 1
    seconds: float = 0.0


def frame_name(row: pd.Series) -> str:
    """Return what tells a frame of a data set from all others."""
    return f"{row['city']}/{row['frame']}"


def runs(where: np.ndarray) -> Runs:
    """Return the true pixels of ``(H, W) bool`` as (start, length) of its flattened rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.ravel().astype(np.int8), [0]])))
    return tuple((int(a), int(b - a)) for a, b in edges.reshape(-1, 2))


def numbers(pixels: Runs) -> np.ndarray:
    """Return the pixels of runs as places in the flattened frame, ``(N,) int64``."""
    parts = [np.arange(start, start + length) for start, length in pixels]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class AnswerLog:
    """All answers to the frames of a data set, in a file of its own.

    Parameters
    ----------
    path : Path or str
        Made with the first answer.
    scheme : ClassScheme
        What labels mean; a log of other classes is refused.

    Attributes
    ----------
    events : int
        How often something was said, taken back or given again: what tells an older state.
    damage : str or None
        What was found wrong with the end of the file, and where that was set aside.

    Raises
    ------
    DataError
        If the file is damaged before its end, or of other classes.
    """

    def __init__(self, path: Path | str, scheme: ClassScheme):
        self.path, self.scheme = Path(path), scheme
        self.damage: str | None = None
        self._done: list[Answer] = []
        self._undone: list[Answer] = []
        self.events = 0
        self._read = 0  # bytes
        if self.path.exists():
            try:
                with self._lock:  # else another window's half-written answer would look damaged
                    self._open()
            except PermissionError:  # where no lock can be made, nobody writes
                self._open()

    @property
    def _lock(self) -> FileLock:
        return FileLock(self.path.with_name(f".{self.path.name}.lock"))

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Those that hold, oldest first."""
        return tuple(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone answer."""
        return bool(self._undone)

    def add(self, answer: Answer) -> None:
        """Note an answer; it holds once this returns.

        Raises
        ------
        LabelError
            If no class has its label.
        StorageError
            If it cannot be written, or if another window has answered since this log was read.
        """
        if answer.label not in (None, VOID, *range(self.scheme.num_classes)):
            raise LabelError(f"no class of {self.scheme.name} has the number {answer.label}")
        self._append({"answer": asdict(answer)})

    def undo(self) -> Answer | None:
        """Take the last answer back, and return it; None if there is none."""
        return self._step("undo", self._done)

    def redo(self) -> Answer | None:
        """Give the answer that was undone last again, and return it; None if there is none."""
        return self._step("redo", self._undone)

    def _step(self, which: str, answers: list[Answer]) -> Answer | None:
        if not answers:
            return None
        answer = answers[-1]
        self._append({which: True})
        return answer

    def first(self, number: int) -> "AnswerLog":
        """Return the log as it was when so many answers held, to be read."""
        before = copy.copy(self)
        before._done, before._undone = self._done[:number], []
        return before

    def frames(self) -> list[str]:
        """Return the frames of which something was said, in order."""
        return list(dict.fromkeys(answer.frame for answer in self._done))

    def labels(self, frame: str, size: Size) -> np.ndarray:
        """Return what holds of a frame, ``(H, W) int16``: train ids, 255, -1 where nothing does.

        Parameters
        ----------
        frame : str
        size : (height, width)
            The frame's native one.

        Raises
        ------
        DataError
            If an answer lies outside of the frame: it was another one.
        """
        result = np.full(size[0] * size[1], UNLABELLED, np.int16)
        for answer in self._done:
            if answer.frame == frame:
                places = numbers(answer.pixels)
                if places.max(initial=0) >= result.size or places.min(initial=0) < 0:
                    raise DataError(
                        f"{self.path}: an answer does not lie in {frame} of {size}: the frame was "
                        "another one when it was given"
                    )
                result[places] = UNLABELLED if answer.label is None else answer.label
        return result.reshape(size)

    def _open(self) -> None:
        content = storage.read_bytes(self.path)
        lines = content.split(b"\n")
        whole, rest = lines[:-1], lines[-1]
        for number, line in enumerate(whole, 1):
            event = _parsed(line)
            if event is None:
                if number == len(whole) and not rest:
                    rest = line + b"\n"
                    break
                raise DataError(
                    f"{self.path}: line {number} is not what was written; all after it cannot be "
                    "trusted. Take a copy of the file from before, or remove it and begin again"
                )
            self._take(event)
            self._read += len(line) + 1
        if rest:
            self._set_aside(content[self._read :])

    def _set_aside(self, rest: bytes) -> None:
        """Keep a damaged end beside the log, whose next line begins a line again."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        storage.write_bytes(aside, rest)
        os.truncate(self.path, self._read)
        self.damage = f"the last answer was cut off when it was written; it lies in {aside.name}"

    def _take(self, event: dict) -> None:
        self.events += "classes" not in event
        if "classes" in event:
            if event["classes"] != list(self.scheme.names):
                raise DataError(
                    f"{self.path}: holds answers of other classes: {', '.join(event['classes'])}"
                )
        elif "answer" in event:
            given = event["answer"]
            pixels = tuple(map(tuple, given["pixels"]))
            self._done.append(Answer(**given | {"pixels": pixels}))
            self._undone.clear()
        elif "undo" in event:
            self._undone.append(self._done.pop())
        elif "redo" in event:
            self._done.append(self._undone.pop())

    def _append(self, event: dict) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._append_alone(event)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            reason = error.strerror or error
            raise StorageError(f"{self.path}: the answer is not saved: {reason}") from error
        self._take(event)

    def _append_alone(self, event: dict) -> None:
        there = self.path.stat().st_size if self.path.exists() else 0
        if there != self._read:
            raise StorageError(
                f"{self.path}: another window has answered since this one was opened; open this "
                "one again to go on from there"
            )
        first = {"classes": list(self.scheme.names)}
        lines = b"".join(map(_line, [event] if there else [first, event]))
        try:
            with self.path.open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if self.path.exists():  # what came through of it must not look like an answer
                os.truncate(self.path, self._read)
            raise
        self._read += len(lines)


def _line(event: dict) -> bytes:
    text = json.dumps(event, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def _parsed(line: bytes) -> dict | None:
    check, _, text = line.partition(b" ")
    if check != f"{zlib.crc32(text):08x}".encode():
        return None
    return json.loads(text)


def resized(labels: np.ndarray, size: Size) -> np.ndarray:
    """Return labels at another size, ``int16``, without losing single ones.

    As the nearest pixel has it; where nothing is known of that, as another one in the same place.
    """
    height, width = labels.shape
    rows, columns = np.nonzero(labels != UNLABELLED)
    result = np.full(size, UNLABELLED, np.int16)
    places = (rows * size[0] // height, columns * size[1] // width)
    result[places] = labels[rows, columns]
    nearest = resize_mask((labels + 1).astype(np.uint16), size).astype(np.int16) - 1
    return np.where(nearest != UNLABELLED, nearest, result)


def centre(row: int, column: int, size: Size, native: Size) -> tuple[int, int]:
    """Return the native pixel in the middle of one that a network sees at some size."""
    return tuple(
        int((k + 0.5) * n / s) for k, n, s in zip((row, column), native, size, strict=True)
    )


class Oracle:
    """Answers as the truth has it, void where that is void: for campaigns without a person.

    Parameters
    ----------
    pairs : DataFrame
    scheme : ClassScheme
    """

    def __init__(self, pairs: pd.DataFrame, scheme: ClassScheme):
        self.scheme = scheme
        self._masks = {frame_name(row): row["mask"] for _, row in pairs.iterrows()}
        self._truth: dict[str, np.ndarray] = {}

    def truth(self, frame: str) -> np.ndarray:
        """Return the mask of a frame at native size, ``(H, W) uint8``."""
        if frame not in self._truth:
            self._truth[frame] = read_mask(self._masks[frame], self.scheme)
        return self._truth[frame]

    def answer(self, frame: str, pixels: Runs) -> Answer:
        """Say what most of the pixels are."""
        values = self.truth(frame).ravel()[numbers(pixels)]
        return Answer(frame, pixels, int(np.bincount(values).argmax()), "oracle")


def clicks(answers: Iterable[Answer]) -> int:
    """Return what answers cost."""
    return sum(answer.clicks for answer in answers)


def polygons(labels: np.ndarray, scheme: ClassScheme) -> dict:
    """Return labels as Cityscapes' objects, from which its tools draw the same label map again.

    One outline, through the middles of its outermost pixels, for each part that hangs together by
    its sides; larger ones first, so that what lies in a hole of another is drawn over it.

    Parameters
    ----------
    labels : ``(H, W) uint8``
        Train ids; 255 becomes "unlabeled".
    scheme : ClassScheme
        With Cityscapes' names, or their tools know none of them.

    Returns
    -------
    dict
        ``imgHeight``, ``imgWidth`` and ``objects``, as in ``*_gtFine_polygons.json``.
    """
    found = []
    for k in np.unique(labels):
        name = "unlabeled" if k == VOID else scheme.names[k]
        number, parts = cv2.connectedComponents((labels == k).astype(np.uint8), connectivity=4)
        for part in range(1, number):
            where = (parts == part).astype(np.uint8)
            (outline,), _ = cv2.findContours(where, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            filled = int(cv2.drawContours(np.zeros_like(where), [outline], 0, 1, -1).sum())
            corners = outline[:, 0].tolist()
            corners *= 3 if len(corners) == 1 else 1  # a single pixel is drawn, too
            found.append((filled, {"label": name, "polygon": corners}))
    found.sort(key=lambda item: -item[0])
    height, width = labels.shape
    return {"imgHeight": height, "imgWidth": width, "objects": [thing for _, thing in found]}


def with_void(labels: np.ndarray) -> np.ndarray:
    """Return labels as a mask, ``uint8``: void where nothing was said."""
    return np.where(labels == UNLABELLED, VOID, labels).astype(np.uint8)


def save_mask(folder: Path | str, row: pd.Series, labels: np.ndarray, scheme: ClassScheme) -> Path:
    """Write what was said of a frame as a label map, whole or not at all, and return its file.

    Parameters
    ----------
    folder : Path or str
        Of the data set; see :func:`save`.
    row : Series
        The frame.
    labels : ``(H, W) int16``
        As from :meth:`AnswerLog.labels`; that of which nothing was said becomes void.
    scheme : ClassScheme
    """
    path = Path(folder) / "labels" / f"{frame_name(row).replace('/', '_')}.png"
    storage.write_png(path, scheme.unmap(with_void(labels)))
    return path


def save(folder: Path | str, pairs: pd.DataFrame, log: AnswerLog) -> pd.DataFrame:
    """Write what was said as label maps, in a folder that `datasets.open_dataset` opens.

    Frames of which nothing was said are left out; pixels of which nothing was said are void. A
    photograph that is upright by its EXIF alone is written anew, upright.

    Returns
    -------
    DataFrame
        The pairs, whose masks are the new ones.
    """
    folder, rows = Path(folder), []
    for row, labels in _said(pairs, log):
        mask = save_mask(folder, row, labels, log.scheme)
        image = row["image"]
        if storage.read_header(image).orientation != 1:
            image = folder / "upright" / mask.name
            storage.write_png(image, read_image(row["image"]))
        rows.append(row.to_dict() | {"image": image, "mask": mask})
    if not rows:
        raise DataError(f"{log.path}: nothing was said of any of these frames")
    own.save_pairs(folder, saved := pd.DataFrame(rows), log.scheme)
    return saved


def save_cityscapes(folder: Path | str, pairs: pd.DataFrame, log: AnswerLog) -> None:
    """Write what was said as Cityscapes has it: label ids and polygons below ``gtFine``.

    Raises
    ------
    LabelError
        If the classes are not Cityscapes', whose tools know no others.
    """
    if log.scheme.names != CITYSCAPES.names:
        raise LabelError(f"polygons are for Cityscapes' classes, not {log.scheme.name}'s; see save")
    for row, said in _said(pairs, log):
        labels = with_void(said)
        place = Path(folder) / "gtFine" / row["split"] / row["city"]
        stem = f"{row['city']}_{row['frame']}_gtFine"
        drawn = json.dumps(polygons(labels, log.scheme)).encode()
        storage.write_bytes(place / f"{stem}_polygons.json", drawn)
        storage.write_png(place / f"{stem}_labelIds.png", log.scheme.unmap(labels))


def _said(pairs: pd.DataFrame, log: AnswerLog):
    """Yield each frame of which something was said, with its labels."""
    frames = set(log.frames())
    for _, row in pairs.iterrows():
        if (frame := frame_name(row)) in frames:
            yield row, log.labels(frame, storage.read_header(row["image"]).upright_size)
