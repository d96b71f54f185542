"""Which pixels to ask about next: acquisition functions, and campaigns that compare them.

A strategy gets what a model says of a frame, and which pixels it has asked about before, and
returns those to ask about now. None of them sees the truth.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from skimage import segmentation

from cityseg_utils import annotations, identity, own, recipes, storage
from cityseg_utils.annotations import UNLABELLED, AnswerLog, frame_name
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.preprocessing import Size, read_image
from cityseg_utils.recipes import Recipe

tf = load_tensorflow()

UNSURE = 0.05  # of the free pixels are drawn among
ROUNDS = "rounds.json"


@dataclass(frozen=True)
class Seen:
    """What a strategy knows of a frame.

    Parameters
    ----------
    scores : ``(H, W, C) float32``
        A model's probabilities.
    other : ``(H, W, C) float32``
        Those of the same model for the mirrored frame, mirrored back.
    asked : ``(H, W) bool``
        What is not to be asked about again.
    round : int
        0 for the first.
    """

    scores: np.ndarray
    other: np.ndarray
    asked: np.ndarray
    round: int = 0

    @property
    def free(self) -> np.ndarray:
        """Places in the flattened frame that may be asked about."""
        return np.flatnonzero(~self.asked.ravel())


Strategy = Callable[[Seen, int, np.random.Generator], np.ndarray]


def random(seen: Seen, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw pixels evenly: what every other strategy has to beat."""
    return rng.choice(seen.free, number, replace=False)


def stratified(seen: Seen, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a predicted class evenly, then one of its pixels: rare classes come as often."""
    return _by_class(seen, number, rng, rng.random(seen.asked.size))


def margin(seen: Seen, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw among the pixels whose two likeliest classes are nearest to each other.

    After PixelPick (Shin, Xie and Albanie, ICCV workshops 2021): the least sure ones themselves
    lie side by side, so they are drawn among the first twentieth.
    """
    return _among_highest(seen, number, rng, -margins(seen.scores).ravel())


def stratified_margin(seen: Seen, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a predicted class evenly, then its least sure pixel, with noise that halves each round.

    A model of the first rounds does not know what it does not know; the noise keeps it from asking
    about the same mistake again and again.
    """
    noise = 0.5**seen.round * rng.random(seen.asked.size)
    return _by_class(seen, number, rng, noise - margins(seen.scores).ravel())


def disagreement(seen: Seen, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw among the pixels of which a frame and its mirror image are answered least alike.

    By the Jensen-Shannon divergence of both answers, as consistency is measured by Golestaneh and
    Kitani (BMVC 2020).
    """
    mean = (seen.scores + seen.other) / 2
    apart = _entropy(mean) - (_entropy(seen.scores) + _entropy(seen.other)) / 2
    return _among_highest(seen, number, rng, apart.ravel())


STRATEGIES: dict[str, Strategy] = {
    "random": random,
    "stratified random": stratified,
    "margin": margin,
    "stratified margin": stratified_margin,
    "disagreement": disagreement,
}


def superpixels(image: np.ndarray, number: int = 200) -> np.ndarray:
    """Return about so many parts of an image that look alike, ``(H, W) int64``.

    By scikit-image's SLIC (Achanta et al., PAMI 2012).
    """
    return segmentation.slic(image, number, start_label=0)


def margins(scores: np.ndarray) -> np.ndarray:
    """Return how far the likeliest class is before the next, ``(H, W)`` in 0 .. 1."""
    two = np.partition(scores, -2, axis=-1)
    return two[..., -1] - two[..., -2]


def _entropy(scores: np.ndarray) -> np.ndarray:
    return -(scores * np.log(np.maximum(scores, 1e-12))).sum(-1)


def _among_highest(seen: Seen, number: int, rng, values: np.ndarray) -> np.ndarray:
    free = seen.free
    few = max(number, round(UNSURE * len(free)))
    highest = free[np.argsort(-values[free], kind="stable")[:few]]
    return rng.choice(highest, number, replace=False)


def _by_class(seen: Seen, number: int, rng, values: np.ndarray) -> np.ndarray:
    """Return, of classes drawn evenly, the pixels with the highest values."""
    free, classes = seen.free, seen.scores.argmax(-1).ravel()
    order = free[np.argsort(-values[free], kind="stable")]
    left = {k: list(order[classes[order] == k]) for k in np.unique(classes[free])}
    chosen = []
    while len(chosen) < number:
        k = rng.choice(sorted(left))
        chosen.append(left[k].pop(0))
        if not left[k]:
            del left[k]
    return np.array(chosen)


class Pool:
    """Frames and what was said of their pixels, asked about at the size that a network sees.

    Parameters
    ----------
    pairs : DataFrame
        Their masks are not looked at.
    scheme : ClassScheme
    size : (height, width)
    log : AnswerLog
    parts : int, optional
        Ask about superpixels, of which a frame has about so many; default about single pixels.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        scheme: ClassScheme,
        size: Size,
        log: AnswerLog,
        parts: int | None = None,
    ):
        self.pairs, self.scheme, self.size, self.log = pairs, scheme, tuple(size), log
        self.names = [frame_name(row) for _, row in pairs.iterrows()]
        self._native = {
            name: storage.read_header(path).upright_size
            for name, path in zip(self.names, pairs["image"], strict=True)
        }
        self.segments = None
        if parts is not None:
            self.segments = [superpixels(read_image(path), parts) for path in pairs["image"]]

    def labels(self, frame: str) -> np.ndarray:
        """Return what was said of a frame at the network's size, ``(H, W) int16``; -1: nothing."""
        return annotations.resized(self.log.labels(frame, self._native[frame]), self.size)

    def question(self, frame: str, place: int) -> annotations.Runs:
        """Return what is asked about for a place in the flattened frame: its native pixels."""
        native = self._native[frame]
        row, column = annotations.centre(*divmod(int(place), self.size[1]), self.size, native)
        if self.segments is None:
            return ((row * native[1] + column, 1),)
        segments = self.segments[self.names.index(frame)]
        return annotations.runs(segments == segments[row, column])

    def questions(self, strategy: Strategy, number: int, look, rng, round_: int = 0):
        """Choose so many pixels of each frame to ask about.

        Parameters
        ----------
        strategy : callable
        number : int
        look : callable
            From a frame's place in the pairs to its scores and those of its mirror image.
        rng : numpy Generator
        round_ : int

        Returns
        -------
        list of lists of runs
            As `widgets.annotate` takes them.
        """
        chosen = []
        for k, frame in enumerate(self.names):
            seen = Seen(*look(k), self.labels(frame) != UNLABELLED, round_)
            if self.segments is None:
                places = strategy(seen, number, rng)
                chosen.append([self.question(frame, place) for place in places])
            else:
                chosen.append(self._parts(frame, strategy, number, seen, rng))
        return chosen

    def _parts(self, frame: str, strategy: Strategy, number: int, seen: Seen, rng) -> list:
        """Choose superpixels one after the other, so that none is asked about twice."""
        chosen = []
        while len(chosen) < number and len(seen.free):
            chosen.append(self.question(frame, strategy(seen, 1, rng)[0]))
            native = np.full(self._native[frame], UNLABELLED, np.int16)
            native.ravel()[annotations.numbers(chosen[-1])] = 0
            hit = annotations.resized(native, self.size) != UNLABELLED
            seen = dataclasses.replace(seen, asked=seen.asked | hit)
        return chosen

    def ask(self, who, questions) -> None:
        """Let somebody with a method ``answer(frame, pixels)``, such as an oracle, answer."""
        for frame, asked in zip(self.names, questions, strict=True):
            for pixels in asked:
                self.log.add(who.answer(frame, pixels))

    def write(self, folder: Path) -> pd.DataFrame:
        """Write what is known as a data set of small frames, and return its pairs.

        Frames of which nothing was said, or void alone, are left out.
        """
        rows = []
        for (_, row), frame in zip(self.pairs.iterrows(), self.names, strict=True):
            mask = annotations.with_void(self.labels(frame))
            if (mask == VOID).all():
                continue
            stem = frame.replace("/", "_")
            image_path, mask_path = folder / f"{stem}.png", folder / f"{stem}_labels.png"
            storage.write_png(image_path, read_image(row["image"], self.size))
            storage.write_png(mask_path, self.scheme.unmap(mask))
            rows.append(row.to_dict() | {"image": image_path, "mask": mask_path})
        own.save_pairs(folder, pairs := pd.DataFrame(rows), self.scheme)
        return pairs


def look_with(model, pairs: pd.DataFrame, size) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return what tells of each frame a model's scores, and those of its mirror image."""

    def look(k: int) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(pairs["image"].iloc[k], size).astype(np.float32) / 255
        both = model.predict_on_batch(np.stack([image, image[:, ::-1]]))
        return both[0], both[1][:, ::-1]

    return look


def blindly(num_classes: int, size) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return what knows nothing, for the first round."""
    even = np.full((*size, num_classes), 1 / num_classes, np.float32)
    return lambda k: (even, even)


def campaign(
    strategy: str,
    budgets: tuple[int, ...],
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    recipe: Recipe,
    seed: int,
    folder: Path,
    who=None,
    parts: int | None = None,
    runs: Path | None = None,
):
    """Ask, train, ask again: yield after each round its budget and the trained model.

    The first round draws at random, the same pixels for every strategy of a seed; each round
    trains anew from the recipe's first weights.

    Parameters
    ----------
    strategy : str
        One of `STRATEGIES`.
    budgets : tuple of int
        Answers an image after each round.
    pairs : DataFrame
        Frames to ask about.
    scheme : ClassScheme
    recipe : Recipe
        At whose size is asked.
    seed : int
    folder : Path
        Of the log, which goes on where it was; ``rounds.json`` beside it says what was asked.
    who : object with ``answer(frame, pixels)``, optional
        Default an `annotations.Oracle`.
    parts : int, optional
        Ask about superpixels, as `Pool` does.
    runs : Path, optional
        Of the trainings' folders, default the same; campaigns that share it train what is the same
        in both, such as the first round, once.

    Yields
    ------
    budget, trained : int, recipes.Trained

    Raises
    ------
    DataError
        If the folder holds another campaign, or one that was asked in other rounds.
    """
    folder, who = Path(folder), who or annotations.Oracle(pairs, scheme)
    budgets, seed = tuple(map(int, budgets)), int(seed)
    log = AnswerLog(folder / "answers.jsonl", scheme)
    pool = Pool(pairs, scheme, recipe.size, log, parts)
    frames = identity.digest(pool.names, list(map(int, recipe.size)))[:12]
    told = {"strategy": strategy, "seed": seed, "parts": parts, "frames": frames}
    _check_rounds(folder, told, budgets)
    ends = round_ends(folder, log)
    if not ends:  # a log from before the ends of rounds were noted
        whole = (budget for budget in budgets if len(log.answers) >= len(pairs) * budget)
        ends = {budget: len(pairs) * budget for budget in whole}
    _note_rounds(folder, told, ends)
    look = blindly(scheme.num_classes, recipe.size)
    for round_, (had, budget) in enumerate(zip((0, *budgets), budgets, strict=False)):
        if budget not in ends:
            while len(log.answers) > ends.get(had, 0):  # this round was begun; begin it again
                log.undo()
            which = STRATEGIES[strategy] if round_ else random
            rng = np.random.default_rng((seed, round_))
            pool.ask(who, pool.questions(which, budget - had, look, rng, round_))
            ends[budget] = len(log.answers)
            _note_rounds(folder, told, ends)
        known = Pool(pairs, scheme, recipe.size, log.first(ends[budget]))
        small = known.write(folder / f"round-{round_}")
        name = f"round-{round_}"
        trained = recipes.train(recipe, small, scheme, seed, runs=runs or folder, name=name)
        look = look_with(trained.model, pairs, recipe.size)
        yield budget, trained


def round_ends(folder: Path, log: AnswerLog) -> dict[int, int]:
    """Return how many answers a campaign's log held after each round, by answers an image.

    Of rounds whose answers the log still has.

    Raises
    ------
    DataError
        If the folder's ``rounds.json`` is damaged.
    """
    ends = _read_rounds(folder).get("ends", {})
    return {int(budget): end for budget, end in ends.items() if end <= len(log.answers)}


def _read_rounds(folder: Path) -> dict:
    path = folder / ROUNDS
    try:
        return json.loads(storage.read_bytes(path)) if path.exists() else {}
    except ValueError as error:
        raise DataError(f"{path}: is damaged ({error}); remove {folder} to ask anew") from error


def _note_rounds(folder: Path, told: dict, ends: dict[int, int]) -> None:
    storage.write_bytes(folder / ROUNDS, json.dumps(told | {"ends": ends}).encode())


def _check_rounds(folder: Path, told: dict, budgets: tuple[int, ...]) -> None:
    """Refuse a folder that holds another campaign, or one that was asked in other rounds."""
    found = _read_rounds(folder)
    if found and {name: found.get(name) for name in told} != told:
        raise DataError(
            f"{folder}: holds another campaign, {found}, not {told}; move it away, or name a new "
            "folder"
        )
    asked = [int(budget) for budget in found.get("ends", {})]
    both = min(len(asked), len(budgets))
    if asked[:both] != [*budgets][:both]:
        raise DataError(
            f"{folder}: was asked in rounds of {asked} answers an image, not of {[*budgets]}; move "
            "it away, or name a new folder"
        )
