"""The annotator: a person answers what a model asks, or paints, and each answer is kept at once."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import RLock

import cv2
import numpy as np
import pandas as pd
import traitlets

from cityseg_utils import annotations, plots
from cityseg_utils.annotations import UNLABELLED, Answer, AnswerLog, Runs, frame_name, numbers
from cityseg_utils.errors import CitysegError, DataError, ShapeError, StorageError
from cityseg_utils.preprocessing import Size, read_image
from cityseg_utils.storage import read_header
from cityseg_utils.widgets.viewer import HERE, Twinned, colors, jpeg, module, packed

EMPTY = 254  # in the browser, where labels have eight bits
CANDIDATES = 9  # one a digit
LONGEST = 2048  # to which scores are interpolated; a phone's photograph is twice as long


def annotate(
    pairs: pd.DataFrame,
    log: AnswerLog,
    scores: Callable[[int], np.ndarray] | None = None,
    questions: Sequence[Sequence[Runs]] | None = None,
    segments: Sequence[np.ndarray] | None = None,
    folder: Path | str | None = None,
) -> "Annotator":
    """Answer questions about frames, or paint them.

    Parameters
    ----------
    pairs : DataFrame
        Frames; their masks are not looked at.
    log : AnswerLog
        Gets every answer at once; opened again, it goes on where it was left.
    scores : callable, optional
        From a frame's place to a model's probabilities, ``(h, w, C) float32`` of any size: the
        guess that can be accepted, and its doubt, 1 less the margin.
    questions : sequence of sequences of runs, optional
        Which native pixels each frame is asked about, one or a superpixel a question; see
        `active_learning.Pool.questions`.
    segments : sequence of ``(H, W)`` integers, optional
        Superpixels of each frame, which a click labels as one.
    folder : Path or str, optional
        Gets the label map of a frame anew after each answer, as `annotations.save` writes it.

    Raises
    ------
    DataError
        If there are no frames, or not as many questions or segments as frames.
    ShapeError
        If segments have another size than their frame.
    """
    if pairs.empty:
        raise DataError("there are no frames to annotate; is the split's name right?")
    for what, given in {"questions": questions, "segments": segments}.items():
        if given is not None and len(given) != len(pairs):
            raise DataError(f"{what} for {len(given)} frames were given, there are {len(pairs)}")
    for k, given in enumerate(segments or ()):
        size = read_header(pairs["image"].iloc[k]).upright_size
        if np.shape(given) != size:
            raise ShapeError(f"segments {k} are {np.shape(given)}, their frame is {size}")
    return Annotator(pairs, log, scores, questions, segments, folder)


class Annotator(Twinned):
    """The widget that `annotate` returns.

    Attributes
    ----------
    store : AnswerLog
        What was said.
    """

    _esm = module("annotator.js")
    _css = HERE / "viewer.css"
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    palettes = traitlets.Dict().tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)

    def __init__(self, pairs, log, scores, questions, segments, folder):
        self.pairs, self.store, self.folder = pairs, log, folder
        self._scores, self._questions, self._segments = scores, questions, segments
        self._lock = RLock()  # JupyterLab answers widgets' messages in another thread
        self._frames = [frame_name(row) for _, row in pairs.iterrows()]
        self._looked_at = lru_cache(4)(self._looked_at)
        self._answered = [self._count(k) for k in range(len(pairs))]
        self._warning = ""
        safe = log.scheme.color_blind_safe()
        super().__init__(
            names=self._frames,
            classes=list(map(str, log.scheme.names)),
            palettes={"official": colors(log.scheme), "colour-blind safe": colors(safe)},
            start=self._first_open(),
        )
        self.on_msg(self._hear)

    def __repr__(self) -> str:
        return f"Annotator({len(self._frames)} frames, {len(self.store.answers)} answers)"

    def _alt(self) -> str:
        return f"Annotator, {self._frames[self.start]}: the frame and what was said of it"

    def picture(self) -> bytes:
        """Return the twin: the frame that is begun with, and its labels, as a JPEG file.

        Around each question that is open there is a line.
        """
        k = self.start
        mask = annotations.with_void(self._labels(k))
        asked = zip(self._questions[k] if self._questions else (), self._answered[k], strict=True)
        still = [pixels for pixels, answered in asked if not answered]
        image = _surrounded(self._looked_at(k)["pixels"], still)
        return jpeg(plots.pairs([image], [mask], self.store.scheme))

    def _first_open(self) -> int:
        """Return the first frame with a question that nobody has answered, else the first."""
        return next((k for k, answered in enumerate(self._answered) if not all(answered)), 0)

    def _count(self, k: int) -> list[bool]:
        """Tell which questions about a frame have an answer that holds."""
        if self._questions is None:
            return []
        said = self._labels(k).ravel() != UNLABELLED
        return [bool(said[numbers(pixels)].any()) for pixels in self._questions[k]]

    def _labels(self, k: int) -> np.ndarray:
        return self.store.labels(self._frames[k], self._size(k))

    def _size(self, k: int) -> Size:
        return read_header(self.pairs["image"].iloc[k]).upright_size  # a phone lies on its side

    def _looked_at(self, k: int) -> dict:
        """Return what of a frame no answer changes."""
        image = read_image(self.pairs["image"].iloc[k])
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        facts = {"index": k, "height": image.shape[0], "width": image.shape[1], "questions": []}
        maps = {"image": jpeg}
        size = image.shape[:2]
        if self._segments is not None:
            ids = np.unique(self._segments[k], return_inverse=True)[1].reshape(size)
            maps["segments"] = packed(ids.astype(np.uint16))
        likely = None
        if self._scores is not None:
            likely = _enlarged(self._scores(k), size)
            maps["guess"] = _native(likely.argmax(-1), size)
            two = np.partition(likely, -2, axis=-1)
            doubt = 255 * (1 - (two[..., -1] - two[..., -2]))
            maps["doubt"] = _native(np.clip(doubt, 0, 255).round(), size)
        for pixels in self._questions[k] if self._questions is not None else ():
            question = {"pixels": [list(run) for run in pixels]}
            if likely is not None:
                at = np.stack(np.unravel_index(numbers(pixels), size))
                rows, columns = at * np.array([likely.shape[:2]]).T // np.array([size]).T
                mean = likely[rows, columns].mean(0)
                question["candidates"] = np.argsort(-mean, kind="stable")[:CANDIDATES].tolist()
            facts["questions"].append(question)
        return {"facts": facts, "maps": maps, "pixels": image}

    def _hear(self, _, content: dict, buffers) -> None:
        """Do what the browser asks for, and say what came of it."""
        do = {"look": self._look, "answer": self._note, "undo": self._back, "redo": self._back}
        with self._lock:
            stale = content["op"] == "answer" and content["version"] != self.store.events
            try:
                if stale:
                    raise DataError(
                        "another window has answered since this picture was drawn, so this answer "
                        "is not saved; look anew and give it again"
                    )
                do[content["op"]](content)
            except CitysegError as error:  # nobody sees what a callback raises
                facts = {"message": str(error), "stale": stale, "version": self.store.events}
                self.send({"op": "refused", **facts})

    def _look(self, content: dict) -> None:
        k = max(0, min(int(content["index"]), len(self._frames) - 1))
        looked = self._looked_at(k)
        labels = self._labels(k)
        narrow = np.where(labels == UNLABELLED, EMPTY, labels).astype(np.uint8)
        maps = looked["maps"] | {"labels": packed(narrow)}
        facts = looked["facts"] | {"op": "frame", "maps": list(maps), **self._progress()}
        facts["ahead"] = bool(content.get("ahead"))
        facts["answered"] = self._answered[k]
        self.send(facts, list(maps.values()))

    def _note(self, content: dict) -> None:
        k = content["index"]
        for given in content["answers"]:
            label = None if given["label"] == EMPTY else int(given["label"])
            pixels = tuple((int(a), int(b)) for a, b in given["pixels"])
            cost = int(content.get("clicks", 1)), round(float(content.get("seconds", 0)), 2)
            self.store.add(Answer(self._frames[k], pixels, label, "person", *cost))
        self._keep(k)
        self.send({"op": "saved", "call": content.get("call"), **self._progress()})

    def _back(self, content: dict) -> None:
        answer = self.store.undo() if content["op"] == "undo" else self.store.redo()
        k = content["index"]
        if answer is not None and answer.frame in self._frames:
            k = self._frames.index(answer.frame)
            self._keep(k)
        self._look({"index": k})

    def _keep(self, k: int) -> None:
        """Count a frame's answers anew, and write its label map; the log has them in any case."""
        self._answered[k], self._warning = self._count(k), ""
        if self.folder is None:
            return
        try:
            row, labels = self.pairs.iloc[k], self._labels(k)
            annotations.save_mask(self.folder, row, labels, self.store.scheme)
        except StorageError as error:
            self._warning = f"the answer is saved, the frame's label map is not: {error}"

    def _progress(self) -> dict:
        answers = self.store.answers
        return {
            "version": self.store.events,
            "asked": sum(map(len, self._answered)),
            "done": sum(map(sum, self._answered)),
            "clicks": sum(answer.clicks for answer in answers),
            "seconds": round(sum(answer.seconds for answer in answers)),
            "warning": self._warning,
        }


def _enlarged(scores: np.ndarray, size: Size) -> np.ndarray:
    """Return scores, ``(h, w, C) float32``, at a frame's size or at the longest that is kept."""
    height, width = (round(side * min(1, LONGEST / max(size))) for side in size)
    return cv2.resize(scores, (width, height), interpolation=cv2.INTER_LINEAR)


def _surrounded(image: np.ndarray, questions: Sequence[Sequence[Runs]]) -> np.ndarray:
    """Return the image with a line around what is asked, a hundredth of its side away."""
    asked = np.zeros(image.shape[:2], np.uint8)
    for pixels in questions:
        asked.flat[numbers(pixels)] = 1
    away = max(1, max(asked.shape) // 100)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * away + 1, 2 * away + 1))
    lines, _ = cv2.findContours(cv2.dilate(asked, disc), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    image = cv2.drawContours(image.copy(), lines, -1, (0, 0, 0), max(3, away // 2))
    return cv2.drawContours(image, lines, -1, (255, 255, 255), max(1, away // 4))


def _native(values: np.ndarray, size: Size) -> bytes:
    """Return a map of 8 bits at a frame's size, for the browser."""
    return packed(cv2.resize(values.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST))
