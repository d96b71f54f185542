"""Checks for the exercises: they tell a right answer, a wrong one and an untouched stub apart.

Every expected answer is computed from the data in use, so the checks hold for MiniCity, CamVid and
Cityscapes alike. A stub leaves its answer as ``...``, or its function without a ``return``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from html import escape
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import stats

from cityseg_utils import statistics
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import denormalize, normalize, one_hot, resize_mask

RIGHT, WRONG, UNTOUCHED = "right", "wrong", "untouched"


@dataclass(frozen=True)
class Verdict:
    """What a check found; shown as one line below the cell."""

    status: str
    message: str

    def __repr__(self) -> str:
        sign = {RIGHT: "✓ right:", WRONG: "✗ not yet:", UNTOUCHED: "… your turn:"}[self.status]
        return f"{sign} {self.message}"


def _judge(answer, expected, task: str, hint: str, praise: str) -> Verdict:
    """Compare an answer with the expected one; measured numbers may be rounded to 3 decimals."""
    if _is_stub(answer):
        return Verdict(UNTOUCHED, task)
    try:
        agrees = _agree(answer, expected)
        if (
            not agrees
            and isinstance(expected, float)
            and abs(float(answer) - round(expected, 2)) < 1e-9
        ):
            hint = "nearly: give three decimals"
    except (TypeError, ValueError, KeyError):
        agrees = False
    return Verdict(RIGHT, praise) if agrees else Verdict(WRONG, hint)


def _judge_function(
    function: Callable, cases: Sequence[tuple], task: str, hint: str, praise: str
) -> Verdict:
    """Call a student's function on ``(arguments, expected)`` cases and compare."""
    for arguments, expected in cases:
        # Copies, so that a function that changes its arguments spoils nothing.
        copies = [x.copy() if hasattr(x, "copy") else x for x in arguments]
        try:
            answer = function(*copies)
        except Exception as error:  # whatever a student's code raises is an answer to report
            return Verdict(WRONG, f"your function raised {type(error).__name__}: {error}")
        verdict = _judge(answer, expected, task, hint, praise)
        if verdict.status != RIGHT:
            return verdict
    return verdict


def _judge_pairing(
    answer: dict[str, str], expected: dict[str, str], task: str, hint: str, praise: str
) -> Verdict:
    """Compare what was said of each letter; say how many are right, not which."""
    if _is_stub(answer) or (isinstance(answer, dict) and any(map(_is_stub, answer.values()))):
        return Verdict(UNTOUCHED, f"put a dictionary in place of the dots: {task}")
    known = {_plain(name) for name in expected.values()}
    if not isinstance(answer, dict) or {_plain(x) for x in answer.values()} - known:
        said = f"a dictionary from letters to words is wanted; the words are {sorted(known)}"
        return Verdict(WRONG, said)
    said = {_plain(k).upper(): _plain(x) for k, x in answer.items()}
    right = sum(said.get(letter) == _plain(name) for letter, name in expected.items())
    if right < len(expected):
        return Verdict(WRONG, f"{right} of {len(expected)} are right; {hint}")
    return Verdict(RIGHT, praise)


def _is_stub(answer) -> bool:
    return answer is None or answer is Ellipsis


def _agree(answer, expected) -> bool:
    if isinstance(expected, str):
        return isinstance(answer, str) and _plain(answer) == _plain(expected)
    if isinstance(expected, (bool, set)):
        kinds = (bool, np.bool_) if isinstance(expected, bool) else set
        return isinstance(answer, kinds) and answer == expected
    if isinstance(expected, int):  # whole numbers are counted, not measured
        return np.ndim(answer) == 0 and float(answer) == expected
    if isinstance(expected, dict):
        return {k: float(v) for k, v in dict(answer).items()} == expected
    if isinstance(expected, tuple):  # any of these is right
        return any(_agree(answer, one) for one in expected)
    answer, expected = np.asarray(answer, float), np.asarray(expected)
    tolerance = 0 if np.issubdtype(expected.dtype, np.integer) else 6e-4
    return answer.shape == expected.shape and np.allclose(answer, expected, 0, tolerance)


def _plain(answer) -> str:
    """Return a word as it is compared: whatever its case, and whatever apostrophe was typed."""
    return str(answer).strip().lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


# -- predictions ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """What a student expects, before a cell tells."""

    question: str
    answer: object = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    strange: str = ""  # an answer that is none of the choices

    def __repr__(self) -> str:
        if self.strange:
            return f"{self.question} {self.strange!r} is none of these: type one as it stands."
        if self.answer is None:
            return f"{self.question} (Type your answer above and run the cell again, or go on.)"
        return f"{self.question} You say: {_said(self.answer, self.unit)}."


@dataclass(frozen=True)
class Comparison:
    """A prediction beside what came out, folded until it is wanted."""

    prediction: Prediction
    outcome: object

    def __repr__(self) -> str:
        return f"{self._asked()} {self._told()}"

    def _repr_html_(self) -> str:
        summary, inside = escape(self._asked()), escape(self._told())
        return f"<details><summary>{summary}</summary><p>{inside}</p></details>"

    def _asked(self) -> str:
        answer = self.prediction.answer
        said = "no answer" if answer is None else _said(answer, self.prediction.unit)
        return f"{self.prediction.question} You said: {said}."

    def _told(self) -> str:
        answer, unit = self.prediction.answer, self.prediction.unit
        told = f"It came out: {_said(self.outcome, unit)}"
        if answer is None:
            return f"{told}."
        if _is_number(answer) and _is_number(self.outcome):
            off = answer - self.outcome
            how = f"too {'high' if off > 0 else 'low'} by {_said(abs(off), unit)}"
            return f"{told}; you were {how if abs(off) > 5e-4 else 'right'}."
        if _plain(answer) == _plain(self.outcome):
            return f"{told}, as you said."
        # Words of one's own may say the same in another way: the reader judges.
        return f"{told}; you said otherwise." if self.prediction.choices else f"{told}."


def predict(question: str, answer=None, choices: Sequence[str] = (), unit: str = "") -> Prediction:
    """Ask for a prediction and note it, for :func:`compare` to show beside what comes out.

    Parameters
    ----------
    question : str
    answer : number or str, optional
        What the student typed; None, or ``...``, leaves the lesson running.
    choices : sequence of str
        What the answer may be, if it is none of its own. Another answer is not noted, and the
        line that is shown says so.
    unit : str
        Of a number, such as ``"%"``.
    """
    answer = None if answer is Ellipsis else answer
    if not choices:
        return Prediction(question, answer, unit)
    question = f"{question} ({', '.join(choices)})"
    if answer is None:
        return Prediction(question, None, unit, tuple(choices))
    known = {_plain(choice): choice for choice in choices}
    strange = "" if _plain(answer) in known else str(answer)
    return Prediction(question, known.get(_plain(answer)), unit, tuple(choices), strange)


def compare(prediction: Prediction, outcome) -> Comparison:
    """Show a prediction beside what came out, in a fold that opens with a click."""
    return Comparison(prediction, outcome)


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _said(value, unit: str) -> str:
    text = f"{value:.3g}" if _is_number(value) else str(value)
    return f"{text} {unit}" if unit and _is_number(value) else text


# -- lesson 00 ----------------------------------------------------------------------------------


def three_masks(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return rows A, B and C: one image with its own mask, and with two others of its city."""
    city = pairs["city"].value_counts().index[0]
    a, b, c = np.linspace(0, (pairs["city"] == city).sum() - 1, 3).astype(int)
    rows = pairs[pairs["city"] == city].iloc[[a, b, c]]
    return pd.DataFrame(
        {"image": rows["image"].iloc[1], "mask": rows["mask"].to_list()}, list("ABC")
    )


def check_matching_mask(answer: str, trio: pd.DataFrame, pairs: pd.DataFrame) -> Verdict:
    """Check which row of :func:`three_masks` has the image's own mask."""
    own = pairs.loc[pairs["image"] == trio["image"].iloc[0], "mask"].iloc[0]
    return _judge(
        answer,
        tuple(trio.index[trio["mask"] == own]),
        "put A, B or C in place of the dots, as a string",
        "look for one large thing of the image, a car or a gap between houses, in each mask",
        "one pair found by eye; lesson 01 finds a hundred by their names",
    )


def check_void_share(answer: float, mask: np.ndarray) -> Verdict:
    """Check the share of void pixels in a mask, 0 .. 1."""
    return _judge(
        answer,
        (mask == VOID).mean(),
        "put a number between 0 and 1 in place of the dots",
        "compare the mask with 255, which is void, and take the mean of the outcome",
        "so much of the picture is never trained on and never scored",
    )


# -- lesson 01 ----------------------------------------------------------------------------------


def check_frames_per_city(answer: pd.Series | pd.DataFrame, pairs: pd.DataFrame) -> Verdict:
    """Check the number of training frames per city; a table with one column of numbers will do."""
    if isinstance(answer, pd.DataFrame):
        answer = (answer.set_index("city") if "city" in answer else answer).squeeze("columns")
    if isinstance(answer, pd.Series) and answer.index.nlevels == 1:
        answer = answer.set_axis(answer.index.get_level_values(0))  # as of a one-column table
    return _judge(
        answer,
        pairs.loc[pairs["split"] == "train", "city"].value_counts().to_dict(),
        "put a Series or a dict from city to number in place of the dots",
        "choose the rows whose split is 'train', then count the values of the column 'city'",
        "every training city is there with its number of frames",
    )


def check_leaking_frames(function: Callable, pairs: pd.DataFrame) -> Verdict:
    """Check a function that counts the val frames of cities that train has as well."""
    clean = pairs.assign(city=pairs["split"] + " " + pairs["city"]).reset_index(drop=True)
    cases = [((clean,), 0), ((clean.iloc[::-1],), 0)]
    for split in ("train", "val", "test"):
        rows = clean[clean["split"] == split]
        if rows.empty:
            continue
        city = rows["city"].value_counts().index[0]  # the largest: some of its frames move
        for moved in (1, rows["city"].eq(city).sum() // 2):
            for other in {"train", "val", "test"} - {split}:
                leaky = clean.copy()
                leaky.loc[rows.index[rows["city"] == city][:moved], "split"] = other
                train, val = (leaky.loc[leaky["split"] == x, "city"] for x in ("train", "val"))
                cases.append(((leaky,), int(val.isin(train).sum())))
    return _judge_function(
        function,
        cases,
        "let the function return a whole number",
        "which cities has train? count the rows of val whose city is among them, and no others",
        "each val frame of a city that train has, too, is counted",
    )


def three_splits(pairs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Deal frames into train and val three times; one of these splits leaks nothing."""
    cities = pairs["city"].drop_duplicates().to_numpy()
    whole = pairs.assign(split=np.where(pairs["city"].isin(cities[::2]), "train", "val"))
    by_frame = pairs.assign(split=np.where(np.arange(len(pairs)) % 3, "train", "val"))
    # Half a city slipped into val, and there its name is written otherwise.
    slipped = (pairs["city"] == cities[0]) & (np.arange(len(pairs)) % 2 == 0)
    renamed = pairs["city"].where(~slipped, pairs["city"].str.swapcase())
    hidden = whole.assign(split=whole["split"].where(~slipped, "val"), city=renamed)
    return {"A": by_frame, "B": hidden, "C": whole}


def check_clean_split(answer: str, splits: dict[str, pd.DataFrame]) -> Verdict:
    """Check the name of a split in which no city is on both sides, however it is written."""
    clean = [
        name
        for name, pairs in splits.items()
        if (pairs["split"].groupby(pairs["city"].str.lower()).nunique() == 1).all()
    ]
    return _judge(
        answer,
        tuple(clean),
        f"put {' or '.join(splits)} in place of the dots, as a string",
        "a city of that split is in train and in val; print the names of its cities",
        "no city is on both sides",
    )


# -- lesson 02 ----------------------------------------------------------------------------------


def check_to_ids(function: Callable, scheme: ClassScheme) -> Verdict:
    """Check a function ``(mask, scheme) -> raw ids`` that makes 0 of void."""
    mask = np.array([*range(scheme.num_classes), VOID, 0, VOID], np.uint8)[None]
    back = np.array([*scheme.ids, 0, scheme.ids[0], 0], np.uint8)[None]
    cases = [
        ((x, scheme), y) for x, y in ((mask, back), (mask.T, back.T), (mask[:, :2], back[:, :2]))
    ]
    return _judge_function(
        function,
        cases,
        "let the function return an array of raw ids",
        "make a table of 256 zeros, put scheme.ids into its first entries, index it with the mask",
        "every class has its id again, and void is 0",
    )


def check_invented_classes(
    answer: Collection[int], before: np.ndarray, after: np.ndarray, scheme: ClassScheme
) -> Verdict:
    """Check the ids of trained classes that a resized mask holds and the original does not."""
    several = isinstance(answer, set | frozenset | list | tuple | np.ndarray)
    invented = np.setdiff1d(after, before).astype(int)
    return _judge(
        np.unique(list(answer)) if several else answer,
        invented[np.isin(invented, scheme.ids)],
        "put the numbers in place of the dots",
        "of the ids that are in the second mask and not in the first, keep those in scheme.ids",
        "a network would be taught these, and none of them is in the street",
    )


def check_shrink(function: Callable) -> Verdict:
    """Check a function ``(mask, (height, width)) -> mask`` that mixes no labels."""
    stripes = np.repeat(np.array([0, 7, VOID, 13, 2, 11], np.uint8), (9, 5, 13, 6, 7, 8))
    masks = stripes[None].repeat(48, 0), np.ascontiguousarray(stripes[:, None].repeat(40, 1))

    def keeps_labels(mask, size):
        answer = function(mask, size)
        if _is_stub(answer):
            return answer
        if np.shape(answer) != size:
            return f"{np.shape(answer)} instead of {size}"
        # Which pixel stands for several is the function's own choice; it is one that lies there.
        nearest = np.pad(resize_mask(mask, size), 1, "edge")
        around = np.lib.stride_tricks.sliding_window_view(nearest, (3, 3))
        return bool((np.asarray(answer)[..., None, None] == around).any((2, 3)).all())

    return _judge_function(
        keeps_labels,
        [((masks[0], (20, 30)), True), ((masks[1], (33, 25)), True)],
        "let the function return a mask",
        "it gives labels that do not lie there, or another shape than (height, width)",
        "no label is invented, and rows stay rows",
    )


# -- lesson 03 ----------------------------------------------------------------------------------


CONVENTIONS = ("unit", "standard", "resnet34", "vgg16", "mobilenetv2", "efficientnetb0")


def forgotten_normalization(image: np.ndarray) -> np.ndarray:
    """Normalise `(H, W, 3) uint8` by one of the conventions and do not say which."""
    return normalize(image, CONVENTIONS[3 + int(image.sum(dtype=np.int64)) % 3])


def check_normalization(answer: str, image: np.ndarray) -> Verdict:
    """Check the name of the convention by which an image was normalised."""
    again = {name: normalize(denormalize(image, name), name) for name in CONVENTIONS}
    # ImageNet's mean and deviation have two names here, and differ in the last bits.
    fits = [name for name in CONVENTIONS if np.allclose(again[name], image, atol=1e-4)]
    return _judge(
        answer,
        tuple(fits),
        "put the convention's name, a string, in place of the dots",
        "undone and normalized again by that name, it is another picture: compare the floats",
        "undone, it is the picture of a camera again",
    )


def check_inverse(function: Callable) -> Verdict:
    """Check a function ``(image, mean, std) -> uint8 pixels`` that undoes standardising."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (4, 5, 3), np.uint8)
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    pixels[0] = [[0, 255, 255], [1, 2, 3], [0, 254, 255], [5, 5, 5], [254, 0, 255]]
    exact = pixels.astype(float)
    exact[0, 0] = -0.4, 254.6, 255.4  # as a resized picture may have it
    image = ((exact / 255 - mean) / std).astype(np.float32)

    def of_bytes(*arguments):
        answer = function(*arguments)
        # Floats that are right before rounding are not the pixels of a file.
        return answer if _is_stub(answer) or np.asarray(answer).dtype == np.uint8 else "floats"

    return _judge_function(
        of_bytes,
        [((image, mean, std), pixels)],
        "let the function return uint8 pixels in 0 .. 255",
        "undo the steps backwards (times std, plus mean, times 255) and round before uint8",
        "the photograph is back, to the last bit",
    )


# -- lesson 04 ----------------------------------------------------------------------------------


def check_class_pixels(answer: np.ndarray, encoded: np.ndarray) -> Verdict:
    """Check the number of pixels of each class in a one-hot mask, and of void, ``(C + 1,)``."""
    classes = encoded.reshape(-1, encoded.shape[-1]).sum(0).astype(int)
    return _judge(
        answer,
        np.append(classes, np.prod(encoded.shape[:2]) - classes.sum()),
        "put an array with one number per class, and one for void, in place of the dots",
        "sum over rows and columns, axis=(0, 1); a void pixel is one whose layers are all 0",
        "summing ones is counting, and what no layer counts is void",
    )


def check_one_hot_bytes(answer: int, batch_size: int, height: int, width: int, scheme) -> Verdict:
    """Check the bytes of a batch of one-hot masks in float32."""
    return _judge(
        answer,
        batch_size * height * width * scheme.num_classes * 4,
        "put a whole number in place of the dots",
        "count the numbers in (N, H, W, C); each float32 takes 4 bytes",
        "that is why masks are kept as one byte a pixel and encoded batch by batch",
    )


def check_from_one_hot(function: Callable) -> Verdict:
    """Check a function ``one-hot (H, W, C) -> (H, W)`` that gives 255 where there is no class."""
    cases = []
    for number in (3, 5, 20):
        for mask in ([[0, number - 1], [1, VOID]], np.full((2, 3), VOID)):
            mask = np.array(mask, np.uint8)
            cases.append(((one_hot(mask, number),), mask))

    def of_bytes(*arguments):
        answer = function(*arguments)
        return answer if _is_stub(answer) or np.asarray(answer).dtype == np.uint8 else "no uint8"

    return _judge_function(
        of_bytes,
        cases,
        "let the function return an array (H, W)",
        "put 255 wherever the sum over the last axis is 0 (argmax says class 0), and return uint8",
        "there and back, void included",
    )


# -- lesson 05 ----------------------------------------------------------------------------------


def check_iou(answer: float, truth: np.ndarray, prediction: np.ndarray) -> Verdict:
    """Check the IoU of two boolean masks."""
    return _judge(
        answer,
        (truth & prediction).sum() / (truth | prediction).sum(),
        "put a number between 0 and 1 in place of the dots",
        "count the pixels in both masks, and divide by the pixels in at least one of them",
        "intersection over union",
    )


def check_dice_from_iou(function: Callable) -> Verdict:
    """Check a function from IoU to Dice."""
    return _judge_function(
        function,
        [((iou,), 2 * iou / (1 + iou)) for iou in (0.1, 0.25, 0.5, 1.0)],
        "let the function return a number",
        "with I for the intersection and U for the union, Dice = 2 I / (U + I); divide by U",
        "Dice is never below IoU, and each tells the other",
    )


def check_soft_dice_loss(function: Callable, absent: bool = True) -> Verdict:
    """Check a function ``(t, p) -> 1 - mean soft Dice``, over absent classes, too, or not."""
    rng = np.random.default_rng(5)
    cases = []
    for classes, first in ((3, 0), (5, 0), (7, 1)):  # every other one is absent, class 0 at last
        labels = 2 * rng.integers(0, (classes + 1) // 2 - first, (2, 5, 6)) + first
        truth = one_hot(labels.astype(np.uint8), classes)
        truth[:, 0] = 0  # void
        guess = rng.dirichlet(np.ones(classes), truth.shape[:3]) * truth.sum(-1, keepdims=True)
        areas, both = truth.sum((0, 1, 2)), (truth * guess).sum((0, 1, 2))
        dice = 2 * both / (areas + guess.sum((0, 1, 2)))
        cases.append(((truth, guess), float(1 - dice[(areas > 0) | absent].mean())))
    return _judge_function(
        function,
        cases,
        "let the function return a number",
        "sum over axes (0, 1, 2), which leaves one Dice for each class, and take 1 - their mean"
        + ("" if absent else " where t has any pixel"),
        "and every absent class costs" if absent else "and absent classes cost nothing",
    )


# -- lesson 06 ----------------------------------------------------------------------------------

# What the patients of `benchmarks/clinic.py` have.
CLINIC = {
    "A": "not normalized in prediction",
    "B": "learning rate too low",
    "C": "masks of another street",
    "D": "batch norm's averages not used",
    "E": "void as a class",
    "F": "learning rate too high",
}


def check_steps(answer: int, frames: int, batch_size: int, epochs: int) -> Verdict:
    """Check the number of optimiser steps in a whole training."""
    return _judge(
        answer,
        -(-frames // batch_size) * epochs,
        "put a whole number in place of the dots",
        "an epoch takes frames / batch_size steps, rounded up: the last batch may be smaller",
        "so often were the weights changed",
    )


def check_worst_class(answer: str, matrix: ConfusionMatrix, share: float = 0.01) -> Verdict:
    """Check the name of the class with the lowest IoU among those with enough pixels."""
    table = matrix.table()
    common = table.loc[table["share"] > share, "IoU"]
    return _judge(
        answer,
        tuple(map(str, common.index[common == common.min()])),  # there may be a tie
        "put the class's name, a string, in place of the dots",
        f"keep the rows with a share above {share}, then look for the smallest IoU",
        "nothing that occurs so often is labelled worse",
    )


def check_diagnoses(answer: dict[str, str]) -> Verdict:
    """Check which patient of the clinic has which fault; says how many are right, not which."""
    return _judge_pairing(
        answer,
        CLINIC,
        "a fault for each letter",
        "the curves part them in groups",
        "all six, and none of them had raised an error",
    )


def seventh_patient(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return frames that nothing complains about, and from which a network learns little."""
    patient = pairs.sort_values("image", ignore_index=True)
    masks = patient["mask"].tolist()
    # The first ones look as they should.
    return patient.assign(mask=masks[:8] + masks[-1:] + masks[8:-1])


def check_repaired(answer: pd.DataFrame, pairs: pd.DataFrame) -> Verdict:
    """Check that each image has its own mask again, in whatever order, and that none is lost."""
    if _is_stub(answer):
        return Verdict(UNTOUCHED, "put the mended data frame in place of the dots")
    if not isinstance(answer, pd.DataFrame) or not {"image", "mask"} <= set(answer):
        return Verdict(WRONG, 'a data frame with the columns "image" and "mask" is wanted')
    if bare := int(answer[["image", "mask"]].isna().any(axis=1).sum()):
        return Verdict(WRONG, f"{bare} of {len(answer)} rows have no image or no mask")
    own = dict(zip(map(_end, pairs["image"]), map(_end, pairs["mask"]), strict=True))
    given = [*zip(map(_end, answer["image"]), map(_end, answer["mask"]), strict=True)]
    strange = [image for image, mask in given if own.get(image) != mask]
    if strange:
        return Verdict(WRONG, f"{len(strange)} of {len(given)} images have another image's mask")
    if sorted(image for image, _ in given) != sorted(own):
        return Verdict(WRONG, f"each of the {len(own)} images is wanted once, got {len(given)}")
    return Verdict(RIGHT, "each image has its own mask, and none was thrown away")


def _end(path: Path | str) -> tuple[str, ...]:
    """Return the end of a path, which is the same wherever the data set lies."""
    return Path(str(path)).parts[-3:]


# -- lesson 07 ----------------------------------------------------------------------------------


def check_iou_from_counts(answer: float, true: int, predicted: int, both: int) -> Verdict:
    """Check the IoU of a class from its true, predicted and rightly predicted pixels."""
    return _judge(
        answer,
        both / (true + predicted - both),
        "put a number between 0 and 1 in place of the dots",
        "the union is true plus predicted, less what was counted twice",
        "three counts are all that an IoU needs",
    )


def check_false_alarms(answer: str, matrix: ConfusionMatrix) -> Verdict:
    """Check the name of the class that most pixels of other classes were given to."""
    alarms = matrix.predicted_pixels - matrix.intersection
    return _judge(
        answer,
        tuple(str(matrix.names[k]) for k in np.flatnonzero(alarms == alarms.max())),
        "put the class's name, a string, in place of the dots",
        "sum each column of matrix.counts, less its entry on the diagonal (predicted_pixels helps)",
        "most wrong pixels end there",
    )


def check_accuracy_from_micro_iou(function: Callable) -> Verdict:
    """Check a function from micro IoU to pixel accuracy."""
    return _judge_function(
        function,
        [((iou,), 2 * iou / (1 + iou)) for iou in (0.1, 0.25, 0.8, 1.0)],
        "let the function return a number",
        "micro IoU is a / (2 - a): solve i = a / (2 - a) for a",
        "so an IoU of 0.82 in one pot is an accuracy of 0.9, no more",
    )


def check_all_or_nothing(answer: Sequence[float]) -> Verdict:
    """Check five values of Dice whose mean is 0.6, and the mean of whose IoUs is 0.6, too."""
    return _judge(
        answer,
        tuple(np.array(x) for x in sorted(set(permutations([0.0, 0.0, 1.0, 1.0, 1.0])))),
        "put a list of five numbers between 0 and 1 in place of the dots",
        "IoU is below Dice for every class but those with 0 or 1",
        "each class is found whole or not at all, which no real model does",
    )


# -- lesson 08 ----------------------------------------------------------------------------------


def check_mirror(function: Callable) -> Verdict:
    """Check a function that mirrors an image and its mask."""
    image, mask = np.arange(24.0).reshape(2, 4, 3), np.arange(8.0).reshape(2, 4)

    def together(image, mask):
        both = function(image, mask)
        return both if _is_stub(both) else np.dstack(both)

    return _judge_function(
        together,
        [((image, mask), np.dstack([image[:, ::-1], mask[:, ::-1]]))],
        "let the function return the image and the mask",
        "the second axis runs from left to right, in both; the colours stay in their order",
        "they still belong together",
    )


def check_half_width(answer: float, gains: Sequence[float]) -> Verdict:
    """Check the half width of the 95 % t interval of a mean over seeds."""
    spread = np.std(gains, ddof=1) / np.sqrt(len(gains))
    return _judge(
        answer,
        float(stats.t.ppf(0.975, len(gains) - 1) * spread),
        "put a number in place of the dots",
        "4.303 times the standard deviation (ddof=1) over the root of 3",
        "three seeds that agree so well are still not much evidence",
    )


def check_differences_seen(answer: int, gains: pd.DataFrame) -> Verdict:
    """Check the number of recipes whose gain has an interval without zero."""
    return _judge(
        answer,
        int(((gains["low"] > 0) | (gains["high"] < 0)).sum()),
        "put a whole number in place of the dots",
        "count the rows in which low is above 0 or high below it; the verdict says so too",
        "about the others we cannot tell, with three seeds",
    )


def check_shift(function: Callable) -> Verdict:
    """Check a function that moves an image and its mask to the right."""
    rng = np.random.default_rng(0)
    image, mask = rng.random((3, 6, 3)), rng.integers(0, 19, (3, 6)).astype(np.uint8)

    def shifted(n):
        moved, labels = np.full_like(image, 0.5), np.full_like(mask, 255)
        moved[:, n:], labels[:, n:] = image[:, : 6 - n], mask[:, : 6 - n]
        return np.dstack([moved, labels])

    def together(image, mask, n):
        both = function(image.copy(), mask.copy(), n)
        return both if _is_stub(both) else np.dstack(both)

    return _judge_function(
        together,
        [((image, mask, n), shifted(n)) for n in (1, 4, 0)],
        "let the function return the image and the mask",
        "column 0 of the old image becomes column n, in both; nobody knows what came in at the "
        "left, so its label is void, 255 (and n may be 0)",
        "image and mask belong together, and what nobody knows is not learned",
    )


def check_recipes_in_time(
    answer: int, minutes: float, hours: float, effect: float, deviation: float
) -> Verdict:
    """Check how many recipes can be compared in some hours; see `statistics.seeds_for`."""
    return _judge(
        answer,
        int(60 * hours / minutes / statistics.seeds_for(effect, deviation)),
        "put a whole number in place of the dots",
        "each recipe needs statistics.seeds_for(effect, deviation) runs; how many fit?",
        "twice the effect would allow four times as many: say first what matters",
    )


def check_own_changes(answer: dict[str, Sequence[float]]) -> Verdict:
    """Check whether trainings with the student's changes beat those without, seed by seed."""
    if _is_stub(answer):
        return Verdict(UNTOUCHED, "choose changes of your own, and run the cell")
    if not isinstance(answer, dict) or set(answer) != {"control", "mine"}:
        return Verdict(WRONG, f"two lists of scores are wanted, control and mine, not {answer!r}")
    pairs = list(zip(answer["control"], answer["mine"], strict=True))
    said = ", ".join(f"{mine:.3f} against {control:.3f}" for control, mine in pairs)
    if not all(mine > control for control, mine in pairs):
        return Verdict(WRONG, f"{said}; what is still learned by heart?")
    return Verdict(RIGHT, f"{said}: two seeds agree, more of them would tell")


# -- lesson 09 ----------------------------------------------------------------------------------


def check_focal_factor(answer: float, likelihood: float, focus: float) -> Verdict:
    """Check how much a pixel counts in the focal loss, compared with cross-entropy."""
    return _judge(
        answer,
        (1 - likelihood) ** focus,
        "put a number in place of the dots",
        "the factor is one minus the probability of the truth, to the power of the focus",
        "easy pixels hardly count",
    )


def check_class_weights(function: Callable) -> Verdict:
    """Check a function from pixels per class to class weights, without a largest one."""
    cases = [np.array([900.0, 100.0, 25.0]), np.array([16.0, 64.0])]
    return _judge_function(
        function,
        [((pixels,), np.sqrt(pixels.max() / pixels)) for pixels in cases],
        "let the function return as many weights as there are classes",
        "the commonest class has 1; a class with a quarter of its pixels has 2",
        "rare classes are heard, and common ones are not drowned out",
    )


def check_left_of_start(answer: int, momentum: float, share: float) -> Verdict:
    """Check after how many steps less than a share of a running average's start is left."""
    return _judge(
        answer,
        int(np.floor(np.log(share) / np.log(momentum))) + 1,
        "put a whole number in place of the dots",
        "after n steps momentum ** n of the start is left; try some n, or use a logarithm",
        "before that, the network is judged with averages that are partly made up",
    )


def check_focal_likelihood(answer: float, factor: float, focus: float) -> Verdict:
    """Check at which probability the focal loss counts a pixel so much less."""
    return _judge(
        answer,
        1 - factor ** (1 / focus),
        "put a number in place of the dots",
        "the factor is one minus the probability of the truth, to the power of the focus",
        "surer than that, a pixel hardly counts",
    )


COMPARISONS = {"A": "nothing", "B": "one was tuned", "C": "the best were picked"}


def check_comparisons(answer: dict[str, str]) -> Verdict:
    """Check what is wrong with three comparisons; says how many are right, not which."""
    return _judge_pairing(
        answer,
        COMPARISONS,
        "a fault, or nothing, for each letter",
        "did both losses get the same care, and is every run reported?",
        "a fair one gives each its own rate, chosen on streets that are not scored",
    )


# -- lesson 10 ----------------------------------------------------------------------------------


def check_operations(
    answer: int, size: tuple[int, int], kernel: int, channels: tuple[int, int]
) -> Verdict:
    """Check the additions and multiplications of a convolution."""
    height, width = size
    return _judge(
        answer,
        2 * height * width * kernel**2 * channels[0] * channels[1],
        "put a whole number in place of the dots",
        "each weight, kernel x kernel x channels in x channels out, is used at each pixel: twice",
        "and a network has dozens of them",
    )


def check_front(function: Callable) -> Verdict:
    """Check a function that returns the names on the Pareto front of time and score."""
    time = pd.Series({"a": 3.0, "b": 1.0, "c": 4.0, "d": 2.0})
    cases = [
        ((time, pd.Series({"a": 0.4, "b": 0.3, "c": 0.6, "d": 0.5})), {"b", "c", "d"}),
        ((time, pd.Series({"a": 0.4, "b": 0.7, "c": 0.6, "d": 0.5})), {"b"}),
    ]
    return _judge_function(
        function,
        cases,
        "let the function return a set of names",
        "a name is out as soon as another is faster and better",
        "for all others there is something faster and better",
    )


def check_telling_run(answer: str) -> Verdict:
    """Check which further run tells most about an architecture."""
    return _judge(
        answer,
        "a U-Net with all three",
        "put one of the three, a string, in place of the dots",
        "which run leaves only the architecture different?",
        "what is left between the two is the architecture's",
    )


# -- lesson 11 ----------------------------------------------------------------------------------


def check_exponent(
    answer: float, numbers: tuple[float, float], errors: tuple[float, float]
) -> Verdict:
    """Check the exponent of a power law through two points."""
    return _judge(
        answer,
        float(np.log(errors[0] / errors[1]) / np.log(numbers[1] / numbers[0])),
        "put a number in place of the dots",
        "the ratio of the errors is the ratio of the numbers to the power of b: take logarithms",
        "two points are enough for a line, and no evidence that it is one",
    )


def check_streets_needed(function: Callable) -> Verdict:
    """Check a function from a goal and a power law to the number of streets."""
    cases = [(0.4, 0.9, 0.1), (0.6, 0.8, 0.2), (0.1, 0.9, 0.3)]
    return _judge_function(
        function,
        [(case, (case[1] / (1 - case[0])) ** (1 / case[2])) for case in cases],
        "let the function return a number",
        "the error is 1 - mean IoU; solve error = a n^-b for n",
        "small exponents make goals expensive",
    )


SHORTAGES = {"A": "data", "B": "steps", "C": "nothing that this tells", "D": "a larger network"}


def check_shortages(answer: dict[str, str]) -> Verdict:
    """Check what four trainings are short of; says how many are right, not which."""
    return _judge_pairing(
        answer,
        SHORTAGES,
        "a word for each letter",
        "a gap is of too few data; low on both is of too little training, or of a small network",
        "the score on train tells them apart",
    )


# -- lesson 12 ----------------------------------------------------------------------------------


def check_discriminator_loss(answer: float, of_true: float, of_answers: float) -> Verdict:
    """Check a discriminator's loss, from what it gives true maps and answers for being true."""
    return _judge(
        answer,
        float(-(np.log(of_true) + np.log(1 - of_answers)) / 2),
        "put a number in place of the dots",
        "the mean of two surprises, -log of what it gives to what is so: that the true maps are "
        "true, and that the answers are not",
        "compare it with 0.693, that of a coin",
    )


def check_softened(function: Callable) -> Verdict:
    """Check a function that softens the true labels of pixels as an answer does, void staying 0."""
    truth = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    answer = np.array([[0.7, 0.2, 0.1], [0.95, 0.05, 0], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])

    def softened(least):
        first = np.maximum(least, (truth * answer).sum(-1, keepdims=True))
        rest = answer * (1 - truth)
        new = truth * first + rest / rest.sum(-1, keepdims=True) * (1 - first)
        return new * truth.sum(-1, keepdims=True)

    return _judge_function(
        function,
        [((truth, answer, least), softened(least)) for least in (0.9, 0.8)],
        "let the function return as many numbers as the truth has",
        "the true class keeps `least`, or more if the answer gives it more; the others share what "
        "is left as the answer does, so that each pixel sums to 1; void stays all zeros",
        "where the answer is right and surer than `least`, nothing is left to tell them apart",
    )


def check_cheat(function: Callable) -> Verdict:
    """Check a function that tells answers from truth by void that somebody forgot to zero."""
    rng = np.random.default_rng(0)
    cases = []
    for true in (True, False, False, True):
        maps = np.eye(4)[rng.integers(0, 4, (6, 8))]
        if true:
            maps[rng.random((6, 8)) < 0.1] = 0
        cases.append(((maps,), true))
    return _judge_function(
        function,
        cases,
        "let the function return True or False",
        "both kinds are one-hot here, so sharpness is no clue; what does a person write in a pixel "
        "that nobody can name, and what does a network?",
        "a discriminator finds that in its first steps, and learns nothing about streets",
    )


# -- lesson 13 ----------------------------------------------------------------------------------


def check_gap_closed(answer: float, control: float, method: float, ceiling: float) -> Verdict:
    """Check which share of the gap between a control and a ceiling a method closes."""
    return _judge(
        answer,
        (method - control) / (ceiling - control),
        "put a number in place of the dots",
        "how far the method is above the control, and how far it could be at most",
        "a gain of so many points says little without the gap that was there",
    )


def check_teacher_momentum(answer: float, steps: int, share: float) -> Verdict:
    """Check the momentum of an average whose memory is a share of the training."""
    return _judge(
        answer,
        1 - 1 / (share * steps),
        "put a number in place of the dots",
        "the memory is of 1 / (1 - momentum) steps",
        "with more steps a teacher may be slower",
    )


def check_paste(function: Callable) -> Verdict:
    """Check a function that pastes some classes of one labelled frame into one that lacks them."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (4, 6, 3)) for _ in range(2)]
    labels = [rng.integers(0, number, (4, 6)) for number in (4, 2)]
    labels[0][0, :2] = VOID
    cases = []
    for classes in ([2], [0, 3], [1, 2, 3]):
        where = np.isin(labels[0], np.setdiff1d(classes, labels[1]))
        wanted = [np.where(where[..., None], *frames), np.where(where, *labels)]
        cases.append(((frames[0], labels[0], frames[1], labels[1], classes), np.dstack(wanted)))

    def together(*arguments):
        both = function(*arguments)
        return both if _is_stub(both) else np.dstack(both)

    return _judge_function(
        together,
        cases,
        "let the function return a picture and its labels",
        "first leave out the classes that the second frame's labels have; then one mask for both: "
        "where the first frame's label is one of the rest, picture and label are the first "
        "frame's, and elsewhere the second one's",
        "picture and labels still belong together",
    )


# -- lesson 14 ----------------------------------------------------------------------------------


def check_margin(answer: float, probabilities: Sequence[float]) -> Verdict:
    """Check how far the likeliest class of a pixel is before the next."""
    last, first = np.sort(probabilities)[-2:]
    return _judge(
        answer,
        first - last,
        "put a number in place of the dots",
        "the two largest of these numbers, one less the other",
        "the other classes have no say in it, but in the entropy they have",
    )


def check_whole_frames(
    answer: float, pixels: int, images: int, seconds: float, minutes: float
) -> Verdict:
    """Check how many whole frames a person labels in the time of so many clicks."""
    return _judge(
        answer,
        pixels * images * seconds / (60 * minutes),
        "put a number in place of the dots",
        "the time for all clicks in minutes, and how often one whole frame fits into it",
        "that is what the campaign has to be compared with",
    )


def check_least_confident(function: Callable) -> Verdict:
    """Check a strategy: the pixels whose likeliest class has the smallest probability."""
    rng, cases = np.random.default_rng(0), []
    for number in (1, 4):
        scores = rng.dirichlet(np.ones(3), (4, 6))
        asked = rng.random((4, 6)) < 0.4
        order = np.argsort(np.where(asked, 2, scores.max(-1)).ravel())
        cases.append(((scores, asked, number), np.sort(order[:number])))

    def in_order(*arguments):
        places = function(*arguments)
        return places if _is_stub(places) else np.sort(np.ravel(places))

    return _judge_function(
        in_order,
        cases,
        "let the function return places in the flattened frame",
        "of the pixels that were not asked about yet, those whose largest probability is smallest",
        "a third way to be unsure; entropy and margin are the others",
    )


def check_largest_dice(answer: float, mean_iou: float) -> Verdict:
    """Check the largest mean Dice that goes with a mean IoU."""
    return _judge(
        answer,
        2 * mean_iou / (1 + mean_iou),
        "put a number in place of the dots",
        "the mean Dice is largest if all classes have the same IoU; what is their Dice then?",
        "and the smallest is the mean IoU itself: classes that are perfect or never found",
    )


SUSPECTS = {"A": "micro", "B": "leak", "C": "absent", "D": "best epoch", "E": "void"}


def check_suspects(answer: dict[str, str]) -> Verdict:
    """Check which trick lies behind which paper; says how many are right, not which."""
    return _judge_pairing(
        answer,
        SUSPECTS,
        "a trick for each letter",
        "what was the mean taken of, on which frames, and after which epoch?",
        "each of the five has said it, in its own words",
    )


def check_one_matrix(function: Callable) -> Verdict:
    """Check a function from frames, each ``(intersection, union)``, to their mean IoU together."""
    rng, cases = np.random.default_rng(0), []
    for frames, classes in ((1, 3), (5, 4)):
        union = rng.integers(1, 50, (frames, classes)) * (rng.random((frames, classes)) < 0.6)
        union[0, 0], union[:, -1] = 50, 0  # one class occurs, and one never does
        intersection = rng.integers(0, union + 1)
        whole = union.sum(0) > 0
        iou = intersection.sum(0)[whole] / union.sum(0)[whole]
        cases.append(((list(zip(intersection, union, strict=True)),), float(iou.mean())))
    return _judge_function(
        function,
        cases,
        "let the function return a number",
        "add up over the frames first, divide then, and leave out classes without a union",
        "one matrix for all frames; the benchmark's server counts like that",
    )


# -- lesson 16 ----------------------------------------------------------------------------------

# What the exports of `faulty_exports` do to the pictures that they get.
EXPORTS = {"A": "half the size", "B": "divided twice", "C": "blue first"}


@dataclass(frozen=True)
class _FaultyExport:
    """A network that is given spoiled pictures, as a wrong export gives them to itself."""

    network: object
    spoil: Callable

    @property
    def input_shape(self) -> tuple:
        return self.network.input_shape

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return self.network.predict_on_batch(np.stack([self.spoil(image) for image in images]))


def faulty_exports(network) -> dict[str, _FaultyExport]:
    """Return three wrong exports of a network with ``predict_on_batch``; see `EXPORTS`."""

    def smaller(image):
        height, width = image.shape[:2]
        return cv2.resize(cv2.resize(image, (width // 2, height // 2)), (width, height))

    spoils = {"A": smaller, "B": lambda image: image / 255, "C": lambda image: image[..., ::-1]}
    return {letter: _FaultyExport(network, spoil) for letter, spoil in spoils.items()}


def check_rent(answer: float, devices: int, speedup: float) -> Verdict:
    """Check how many times as much a training costs on so many devices, rented by the hour."""
    return _judge(
        answer,
        devices / speedup,
        "put a number in place of the dots",
        "how long is each of them paid for, beside the one that would do it alone?",
        "whatever an hour costs: the hurry is paid for",
    )


def check_loss_of_all(function: Callable) -> Verdict:
    """Check a function from ``[(sum of losses, labelled pixels), ...]`` to the mean of them all."""
    cases = [[(10.0, 5)], [(10.0, 5), (6.0, 1)], [(3.0, 6), (0.0, 0), (12.0, 4)], [(1.0, 8)] * 4]
    return _judge_function(
        function,
        [((parts,), sum(s for s, _ in parts) / sum(n for _, n in parts)) for parts in cases],
        "let the function return a number",
        "ratios do not average: add up the sums, add up the pixels, and divide once",
        "as one device would have it",
    )


def check_exports(answer: dict[str, str]) -> Verdict:
    """Check which of :func:`faulty_exports` has which fault; says how many are right."""
    return _judge_pairing(
        answer,
        EXPORTS,
        "a fault for each letter",
        "undo a fault in the picture that you give it: does the agreement come back?",
        "all three; none of them had raised an error",
    )
