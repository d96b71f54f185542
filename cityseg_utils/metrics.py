"""Intersection over union, Dice and accuracy from one confusion matrix over a whole data set."""

import functools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs

from cityseg_utils import storage
from cityseg_utils.errors import CitysegError, DataError, LabelError, ShapeError
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme

_FRAME = re.compile(r"(?P<city>[^_].*?)_(?P<sequence>\d{6})_(?P<frame>\d{6})(?!\d)[^/]*\.png")


class ConfusionMatrix:
    """Counts of pixels by true and predicted class; every score is a ratio of these counts.

    The rules are those of the official Cityscapes scorer: pixels whose truth is void do not count;
    a void prediction on a labelled pixel is a miss; a class that occurs neither in truth nor in
    prediction has no score (NaN) and leaves the mean.

    Parameters
    ----------
    num_classes : int
    void : int
        The train id of pixels to leave out.
    names : sequence of str, optional
        Class names, the index of every per-class result; default 0 .. num_classes - 1.

    Attributes
    ----------
    counts : ``(C, C + 1) int64``
        Rows are true classes, columns predicted ones, the last column void predictions.
    """

    def __init__(self, num_classes: int, void: int = VOID, names: Sequence[str] | None = None):
        if names is not None and len(names) != num_classes:
            raise LabelError(f"{len(names)} names were given for {num_classes} classes")
        self.num_classes = num_classes
        self.void = void
        self.names = list(names) if names is not None else list(range(num_classes))
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    @classmethod
    def for_scheme(cls, scheme: ClassScheme) -> "ConfusionMatrix":
        """Return an empty matrix with the scheme's classes and names."""
        return cls(scheme.num_classes, names=scheme.names)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> "ConfusionMatrix":
        """Count one image or a batch.

        Parameters
        ----------
        truth : ``(..., H, W)`` integers
            Train ids, `void` where unlabelled.
        prediction : ``(..., H, W)`` integers or ``(..., H, W, C)`` floats
            Train ids, or probabilities whose largest wins.

        Returns
        -------
        ConfusionMatrix
            Itself.

        Raises
        ------
        ShapeError
            If the shapes do not fit together.
        LabelError
            If an id is out of range or a probability is not a number. Nothing is counted then.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if prediction.ndim == truth.ndim + 1:
            prediction = self._decide(prediction)
        if truth.shape != prediction.shape:
            raise ShapeError(f"truth has shape {truth.shape}, the prediction {prediction.shape}")
        rows, columns = self._check("truth", truth), self._check("prediction", prediction)
        codes = rows.ravel() * (self.num_classes + 1) + columns.ravel()
        # Row C collects what is void in truth; it is counted with the rest and dropped.
        counted = np.bincount(codes, minlength=(self.num_classes + 1) ** 2)
        self.counts += counted.reshape(self.num_classes + 1, -1)[: self.num_classes]
        return self

    def _decide(self, probabilities: np.ndarray) -> np.ndarray:
        if probabilities.shape[-1] != self.num_classes:
            raise ShapeError(
                f"the last axis of probabilities has {probabilities.shape[-1]} entries, there are "
                f"{self.num_classes} classes"
            )
        if not np.isfinite(probabilities).all():
            raise LabelError("the probabilities hold NaN or infinity")
        return probabilities.argmax(-1)

    def _check(self, what: str, mask: np.ndarray) -> np.ndarray:
        """Return the mask as small integers with void as `num_classes`."""
        if not np.issubdtype(mask.dtype, np.integer):
            raise LabelError(f"{what} must hold integer train ids, it is {mask.dtype}")
        wrong = (mask != self.void) & ((mask < 0) | (mask >= self.num_classes))
        if wrong.any():
            raise LabelError(
                f"{what} holds {np.unique(mask[wrong])[:10].tolist()}; train ids go from 0 to "
                f"{self.num_classes - 1}, void is {self.void}"
            )
        return np.where(mask == self.void, self.num_classes, mask).astype(np.int64)

    def count_ids(self, truth: np.ndarray, prediction: np.ndarray, scheme: ClassScheme):
        """Count one pair of label maps as files store them, ``(H, W) uint8`` raw ids.

        The same as remapping both and calling `update`, but the look-up happens once per pair of
        ids instead of once per pixel.

        Raises
        ------
        ShapeError, LabelError
            As `update`. Nothing is counted then.
        """
        return self.count_pairs(_pairs_of_ids(truth, prediction), scheme)

    def count_pairs(self, pairs: np.ndarray, scheme: ClassScheme) -> "ConfusionMatrix":
        """Count pixels by true and predicted raw id, ``(256, 256)`` integers; see `count_ids`."""
        for counts in (pairs.sum(1), pairs.sum(0)):
            scheme.check_counts(counts)
        train_ids = np.where(scheme.table == VOID, self.num_classes, scheme.table)
        present = np.nonzero(pairs)
        counted = np.zeros((self.num_classes + 1,) * 2, np.int64)
        np.add.at(counted, tuple(train_ids[ids] for ids in present), pairs[present])
        self.counts += counted[: self.num_classes]
        return self

    def merged(self, groups: Sequence[str]) -> "ConfusionMatrix":
        """Return the matrix over groups of classes, ``groups[k]`` being the one of class k.

        With ``scheme.categories`` its IoU is the official category IoU: within a category nothing
        is confused.
        """
        if len(groups) != self.num_classes:
            raise LabelError(f"{len(groups)} groups were given for {self.num_classes} classes")
        names = list(dict.fromkeys(groups))
        member = np.array([[group == name for name in names] for group in groups], np.int64)
        total = ConfusionMatrix(len(names), self.void, names)
        total.counts[:, :-1] = member.T @ self.counts[:, :-1] @ member
        total.counts[:, -1] = member.T @ self.counts[:, -1]
        return total

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Return a new matrix with the counts of both."""
        if (self.names, self.void) != (other.names, other.void):
            raise LabelError("only matrices over the same classes can be added")
        total = ConfusionMatrix(self.num_classes, self.void, self.names)
        total.counts = self.counts + other.counts
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        return (self.names, self.void) == (other.names, other.void) and np.array_equal(
            self.counts, other.counts
        )

    def __repr__(self) -> str:
        return f"ConfusionMatrix({self.num_classes} classes, {self.counts.sum()} pixels)"

    @property
    def intersection(self) -> np.ndarray:
        """``(C,)``: pixels where truth and prediction agree, per class."""
        return np.diag(self.counts)

    @property
    def true_pixels(self) -> np.ndarray:
        """``(C,)``: pixels that belong to each class."""
        return self.counts.sum(1)

    @property
    def predicted_pixels(self) -> np.ndarray:
        """``(C,)``: labelled pixels that were given to each class."""
        return self.counts[:, :-1].sum(0)

    def iou(self) -> pd.Series:
        """Intersection over union, TP / (TP + FP + FN), per class (Everingham et al., 2010)."""
        union = self.true_pixels + self.predicted_pixels - self.intersection
        return self._ratio(self.intersection, union, "IoU")

    def dice(self) -> pd.Series:
        """Dice coefficient, 2 TP / (2 TP + FP + FN), per class (Dice, 1945)."""
        total = self.true_pixels + self.predicted_pixels
        return self._ratio(2 * self.intersection, total, "Dice")

    def class_accuracy(self) -> pd.Series:
        """Share of a class's pixels that were found, TP / (TP + FN), per class."""
        return self._ratio(self.intersection, self.true_pixels, "accuracy")

    def mean_iou(self) -> float:
        """Mean of :meth:`iou` over the classes that have one."""
        return float(self.iou().mean())

    def mean_dice(self) -> float:
        """Mean of :meth:`dice` over the classes that have one."""
        return float(self.dice().mean())

    def frequency_weighted_iou(self) -> float:
        """Mean of :meth:`iou`, weighted by the class's true pixels (Long et al., 2015)."""
        total = self.counts.sum()
        return float((self.iou().fillna(0) * self.true_pixels).sum() / total) if total else np.nan

    def pixel_accuracy(self) -> float:
        """Share of labelled pixels that were predicted right."""
        total = self.counts.sum()
        return float(self.intersection.sum() / total) if total else np.nan

    def table(self) -> pd.DataFrame:
        """One row per class: share of labelled pixels, IoU, Dice and accuracy."""
        share = self._ratio(self.true_pixels, np.full(self.num_classes, self.counts.sum()), "share")
        return pd.concat([share, self.iou(), self.dice(), self.class_accuracy()], axis=1)

    def _ratio(self, above: np.ndarray, below: np.ndarray, name: str) -> pd.Series:
        with np.errstate(invalid="ignore"):
            ratio = np.where(below > 0, above / np.maximum(below, 1), np.nan)
        return pd.Series(ratio, pd.Index(self.names, name="class"), name=name)


def _pairs_of_ids(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return how often each pair of ids lies on one pixel of two maps, ``(256, 256) int64``."""
    if truth.shape != prediction.shape:
        raise ShapeError(f"truth has shape {truth.shape}, the prediction {prediction.shape}")
    for what, ids in (("truth", truth), ("the prediction", prediction)):
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise ShapeError(f"{what} must be (H, W) uint8 ids, is {ids.shape} {ids.dtype}")
    pairs = np.zeros((256, 256), np.int64)
    # OpenCV counts in float32, exactly up to 2**24, and twice as fast as np.bincount.
    for band in range(0, len(truth), rows := max(1, 2**24 // max(1, truth.shape[1]))):
        images = [np.ascontiguousarray(x[band : band + rows]) for x in (truth, prediction)]
        pairs += np.int64(cv2.calcHist(images, [0, 1], None, [256] * 2, [0, 256] * 2))
    return pairs


def evaluate_folder(
    truth_dir: Path | str,
    prediction_dir: Path | str,
    scheme: ClassScheme = CITYSCAPES,
    jobs: int = 1,
) -> ConfusionMatrix:
    """Score label-id PNG files as the benchmark's server would.

    Truth and prediction belong together if their names hold the same city, sequence and frame;
    where in the folders they lie does not matter. Of the truth only ``*_labelIds.png`` count, and
    what begins with a dot is no picture.

    Parameters
    ----------
    truth_dir, prediction_dir : Path or str
        Searched with all their subfolders.
    scheme : ClassScheme
        What the ids in both mean.
    jobs : int
        Processes to count with; -1: as many as there are CPU cores.

    Raises
    ------
    DataError
        If a folder holds nothing to score, a frame has no prediction or two, a prediction has no
        truth, or a file cannot be read, has another size than its partner or ids that the scheme
        does not know. All faults are reported together, and nothing is scored then. Also if the
        predictions hold train ids, of which more would be right than as the ids they should be (of
        one or two values: more than half).
    """
    truths = _by_frame(truth_dir, "*_labelIds.png")
    predictions = _by_frame(prediction_dir, "*.png")
    faults = [f"{truths[key]}: has no prediction" for key in truths.keys() - predictions.keys()]
    faults += [f"{predictions[key]}: has no truth" for key in predictions.keys() - truths.keys()]
    if faults:
        raise DataError(f"{prediction_dir}: does not fit {truth_dir}:", sorted(faults))
    work = [(truths[key], predictions[key]) for key in sorted(truths)]
    jobs = min(effective_n_jobs(jobs), len(work))
    counted = Parallel(jobs)(delayed(_count)(work[k::jobs], scheme) for k in range(jobs))
    pairs = sum(pairs for _, pairs, _ in counted)
    if _right_as_train_ids(pairs, scheme) > (pairs.diagonal()[list(scheme.ids)]).sum():
        raise DataError(
            f"{prediction_dir}: the predictions look like train ids 0 .. {scheme.num_classes - 1}, "
            f"not like the ids of {scheme.name!r} that are scored. Write them with "
            "metrics.export_predictions, or turn them into ids with ClassScheme.unmap"
        )
    if faults := sorted(fault for _, _, found in counted for fault in found):
        raise DataError(f"{prediction_dir}: {len(faults)} predictions cannot be scored:", faults)
    return functools.reduce(operator.add, (matrix for matrix, _, _ in counted))


def _right_as_train_ids(pairs: np.ndarray, scheme: ClassScheme) -> int:
    """Return how many pixels would be right if the predictions held train ids; 0 if they cannot."""
    classes = np.arange(scheme.num_classes)
    right = pairs[list(scheme.ids), classes].sum()
    predicted = np.flatnonzero(pairs.sum(0))
    # Void may be any other number, as 19; then most pixels have to be right. And who says hardly
    # more than one thing is a bad network in either numbering.
    several = len(predicted) > 2 and np.isin(predicted, [*classes, VOID]).all()
    return right if several or right > pairs[list(scheme.ids)].sum() / 2 else 0


def export_predictions(
    predictions: Iterable[np.ndarray],
    images: Iterable[Path | str],
    folder: Path | str,
    scheme: ClassScheme = CITYSCAPES,
) -> list[Path]:
    """Write predictions in the form that the benchmark's server takes, and return the files.

    Parameters
    ----------
    predictions : iterable of ``(H, W) uint8`` train ids or ``(H, W, C)`` probabilities
        One for each image, at its native size; `prediction.predict` yields such.
    images : iterable of paths
        ``ashford_000000_000019_leftImg8bit.png`` becomes ``ashford_000000_000019_pred.png``.
    folder : Path or str
    scheme : ClassScheme
        Its raw ids are written.

    Raises
    ------
    DataError
        If two images have one name.
    LabelError
        If a prediction holds numbers that are no train ids.
    StorageError
        If a file cannot be written.
    """
    names = [Path(image).stem.removesuffix("_leftImg8bit") + "_pred.png" for image in images]
    if twice := sorted(name for name, number in Counter(names).items() if number > 1):
        raise DataError("images of one name, of which one prediction would be left:", twice)
    written = []
    for prediction, name in zip(predictions, names, strict=True):
        ids = prediction.argmax(-1) if prediction.ndim == 3 else prediction
        storage.write_png(Path(folder) / name, scheme.unmap(ids))
        written.append(Path(folder) / name)
    return written


def _by_frame(folder: Path | str, pattern: str) -> dict[tuple[str, ...], Path]:
    found: dict[tuple[str, ...], Path] = {}
    twice, others = [], []
    for path in storage.files_below(folder):
        name = path.with_suffix(path.suffix.lower()).name
        match = _FRAME.fullmatch(name)
        if match is None or not fnmatch(name, pattern):
            others.append(path.name)
            continue
        if match.groups() in found:
            twice.append(f"{path}: is of the same frame as {found[match.groups()]}")
        found[match.groups()] = path
    if twice:
        raise DataError(f"{folder}: holds more than one file for a frame:", twice)
    if not found:
        raise DataError(
            f"{folder}: holds no file {pattern} with city, sequence and frame in its name, such as "
            f"ashford_000000_000019, but {others[:3] or 'nothing'}"
        )
    return found


def _count(work: Iterable[tuple[Path, Path]], scheme: ClassScheme):
    """Return the matrix of some files, their pairs of ids, and what is wrong with them."""
    matrix, pairs, faults = ConfusionMatrix.for_scheme(scheme), np.zeros((256, 256), np.int64), []
    for paths in work:
        try:
            maps = [storage.read_picture(path, color=False) for path in paths]
            pairs += (found := _pairs_of_ids(*maps))
            matrix.count_pairs(found, scheme)
        except DataError as error:
            faults.append(str(error))
        except CitysegError as error:
            faults.append(f"{paths[1]}: {error}")
    return matrix, pairs, faults
