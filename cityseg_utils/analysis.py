"""Where a model fails and how sure one can be of its scores.

Everything starts from what `prediction.predict` yields and what the masks say, one image at a time,
so that memory stays small however many images there are.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd

from cityseg_utils.errors import LabelError, ShapeError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.metrics import ConfusionMatrix

# -- images -------------------------------------------------------------------------------------


def image_table(matrices: Sequence[ConfusionMatrix], names: Sequence[str]) -> pd.DataFrame:
    """Return a row per image: its mean IoU, pixel accuracy, and worst class with its IoU.

    Worst image first. Only classes that the image's truth has can be its worst one.
    """
    rows = []
    for matrix in matrices:
        iou = matrix.iou().where(matrix.true_pixels > 0)
        worst = iou.idxmin() if iou.notna().any() else None
        rows.append((matrix.mean_iou(), matrix.pixel_accuracy(), worst, iou.min()))
    columns = ["mean IoU", "pixel accuracy", "worst class", "its IoU"]
    table = pd.DataFrame(rows, pd.Index(names, name="image"), columns)
    return table.sort_values("mean IoU", kind="stable")


def bootstrap(
    matrices: Sequence[ConfusionMatrix],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return percentile intervals of every IoU, by drawing images anew with replacement.

    A pixel's neighbours are no independent evidence, images nearly are; so whole images are drawn
    (Efron, "Bootstrap methods: another look at the jackknife", 1979). Frames of one clip are not
    independent either: then the interval is too narrow.

    Returns
    -------
    DataFrame
        ``IoU``, ``low`` and ``high`` for each class, and in the last row for their mean.
    """
    whole, iou = _resampled(matrices, resamples, seed)
    low, high = _limits(iou, level)
    index = pd.Index([*whole.names, "mean"], name="class")
    return pd.DataFrame({"IoU": [*whole.iou(), whole.mean_iou()], "low": low, "high": high}, index)


def bootstrap_gains(
    matrices: Sequence[ConfusionMatrix],
    others: Sequence[ConfusionMatrix],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return percentile intervals of how much others' IoUs gain on the same images.

    Each time both are counted on the same images, as in :func:`bootstrap`: what is hard in an
    image is hard for both, and drops out of the difference.

    Returns
    -------
    DataFrame
        ``gain``, ``low`` and ``high`` for each class, and in the last row for their mean.

    Raises
    ------
    ValueError
        If there are not as many of both.
    """
    if len(matrices) != len(others):
        raise ValueError(f"the same images are wanted, got {len(matrices)} and {len(others)}")
    (whole, iou), (other, its) = (_resampled(x, resamples, seed) for x in (matrices, others))
    low, high = _limits(its - iou, level)
    gain = [*(other.iou() - whole.iou()), other.mean_iou() - whole.mean_iou()]
    index = pd.Index([*whole.names, "mean"], name="class")
    return pd.DataFrame({"gain": gain, "low": low, "high": high}, index)


def interval(
    matrices: Sequence[ConfusionMatrix],
    measure: Callable[[ConfusionMatrix], float],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of any measure of a matrix, from images as in `bootstrap`."""
    counts = np.stack([matrix.counts for matrix in matrices])
    drawn, values = copy.copy(matrices[0]), []
    for times in _draw(len(counts), resamples, seed):
        drawn.counts = np.tensordot(times, counts, 1)
        values.append([measure(drawn)])
    low, high = _limits(np.array(values), level)
    return float(low[0]), float(high[0])


def _draw(number: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each of so many images comes, ``(R, number)``, drawn with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(number, np.full(number, 1 / number), resamples)


def _resampled(
    matrices: Sequence[ConfusionMatrix], resamples: int, seed: int
) -> tuple[ConfusionMatrix, np.ndarray]:
    """Return all images' matrix, and IoUs and their mean, ``(R, C + 1)``, of images drawn anew."""
    whole = sum(matrices[1:], start=matrices[0])
    counts = np.stack([matrix.counts for matrix in matrices])  # (N, C, C + 1)
    drawn = _draw(len(counts), resamples, seed)
    inside = drawn @ np.einsum("ncc->nc", counts[:, :, :-1])
    union = drawn @ (counts.sum(2) + counts[:, :, :-1].sum(1)) - inside
    with np.errstate(invalid="ignore"):
        iou = np.where(union > 0, inside / np.maximum(union, 1), np.nan)  # (R, C)
    return whole, np.column_stack([iou, _row_means(iou)])


def _limits(values: np.ndarray, level: float) -> np.ndarray:
    """Return the lower and upper percentile of each column."""
    tails = [50 * (1 - level), 50 * (1 + level)]
    return np.array([_percentiles(column, tails) for column in values.T]).T


def _row_means(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    number = known.sum(1)
    return np.where(number, np.where(known, values, 0).sum(1) / np.maximum(number, 1), np.nan)


def _percentiles(values: np.ndarray, tails: Sequence[float]) -> np.ndarray:
    values = values[~np.isnan(values)]
    return np.percentile(values, tails) if values.size else np.full(len(tails), np.nan)


def confusions(matrix: ConfusionMatrix) -> pd.DataFrame:
    """Return which class was taken for which, and the share of all wrong pixels that this makes.

    Largest first; pairs that never occur are left out.
    """
    wrong = matrix.counts.copy()
    np.fill_diagonal(wrong[:, :-1], 0)
    table = pd.DataFrame(wrong, matrix.names, [*matrix.names, "void"])
    table = table.rename_axis("truth").rename_axis("prediction", axis=1).stack().rename("pixels")
    table = table[table > 0].sort_values(ascending=False, kind="stable").reset_index()
    return table.assign(share=table["pixels"] / max(1, wrong.sum()))


# -- places -------------------------------------------------------------------------------------


def boundary_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Return where a pixel lies within `width` pixels of a border between classes, ``(H, W) bool``.

    The trimap of Kohli, Ladicky and Torr, "Robust higher order potentials", IJCV 2009. Borders of
    void count too; void itself is left out by every score.
    """
    border = np.zeros(mask.shape, np.uint8)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    border[:, 1:] |= across  # a border lies between two pixels, and both are beside it
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    if not border.any():
        return border.astype(bool)
    distance = cv2.distanceTransform(1 - border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance < width


def trimap(truth: np.ndarray, prediction: np.ndarray, width: int) -> np.ndarray:
    """Return the truth with all but the band along borders set to void, ready to be scored."""
    _check_pair(truth, prediction)
    return np.where(boundary_band(truth, width), truth, VOID).astype(np.uint8)


def row_band(truth: np.ndarray, band: int, bands: int) -> np.ndarray:
    """Return the truth with all rows void but those of one of `bands` equal strips from the top.

    On a flat road the row of a thing's foot says how far away it is.
    """
    height = len(truth)
    rows = np.arange(height) * bands // height == band
    return np.where(rows[:, None], truth, VOID).astype(np.uint8)


def found_by_size(
    truth: np.ndarray,
    prediction: np.ndarray,
    scheme: ClassScheme,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a row for every connected piece of a class: its pixels, and the share of them found.

    Columns ``class``, ``pixels`` and ``found``. `classes` names those that come as things; a piece
    of another, such as sky, may be a sliver between two things. By default all are taken.
    """
    _check_pair(truth, prediction)
    rows = []
    wanted = scheme.names if classes is None else classes
    for k in (k for k in np.unique(truth[truth != VOID]) if scheme.names[k] in wanted):
        number, pieces = cv2.connectedComponents((truth == k).astype(np.uint8))
        pixels = np.bincount(pieces.ravel(), minlength=number)[1:]
        found = np.bincount(pieces.ravel(), (prediction == k).ravel(), minlength=number)[1:]
        rows += [(scheme.names[k], n, f / n) for n, f in zip(pixels, found, strict=True)]
    return pd.DataFrame(rows, columns=["class", "pixels", "found"])


# -- confidence ---------------------------------------------------------------------------------


@dataclass
class Calibration:
    """How sure a model was and how often it was right, in bins of its confidence.

    After Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    bins: int = 10
    pixels: np.ndarray = field(init=False)  # (B,) int64
    correct: np.ndarray = field(init=False)
    confidence: np.ndarray = field(init=False)  # sums

    def __post_init__(self):
        self.pixels, self.correct = np.zeros((2, self.bins), np.int64)
        self.confidence = np.zeros(self.bins)

    def update(self, truth: np.ndarray, probabilities: np.ndarray) -> "Calibration":
        """Count one image: ``(H, W)`` train ids, ``(H, W, C)`` probabilities; void is left out."""
        _check_pair(truth, probabilities[..., 0])
        labelled = truth != VOID
        sure = probabilities.max(-1)[labelled]
        right = probabilities.argmax(-1)[labelled] == truth[labelled]
        if not np.isfinite(sure).all():
            raise LabelError("the probabilities hold NaN or infinity")
        bins = np.minimum((sure * self.bins).astype(int), self.bins - 1)
        self.pixels += np.bincount(bins, minlength=self.bins)
        self.correct += np.bincount(bins, right, minlength=self.bins).astype(np.int64)
        self.confidence += np.bincount(bins, sure, minlength=self.bins)
        return self

    def table(self) -> pd.DataFrame:
        """Return a row per bin: its share of pixels, mean confidence and accuracy."""
        with np.errstate(invalid="ignore"):
            index = pd.Index((np.arange(self.bins) + 1) / self.bins, name="confidence up to")
            columns = {
                "share": self.pixels / self.pixels.sum(),
                "confidence": self.confidence / self.pixels,
                "accuracy": self.correct / self.pixels,
            }
        return pd.DataFrame(columns, index)

    def expected_error(self) -> float:
        """Return the mean gap between confidence and accuracy, each bin by its share of pixels.

        NaN if there are none.
        """
        table = self.table()
        gap = (table["confidence"] - table["accuracy"]).abs()
        return float((gap * table["share"]).sum()) if self.pixels.any() else float("nan")


def sharpen(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return ``softmax(log(p) / T)`` over the last axis: above 1 less sure, below 1 surer.

    The order of the classes, and so every IoU, stays what it is, but for classes that are as good
    as equal: rounding may change these places.
    """
    logits = np.log(np.maximum(probabilities, 1e-9)) / temperature
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature under which the truth is likeliest (Guo et al., 2017).

    Parameters
    ----------
    truth : ``(...)`` train ids
    probabilities : ``(..., C)``
        Of images the model was not trained on. Some ten thousand pixels are enough.
    """
    _check_pair(truth, probabilities[..., 0])
    labelled = truth != VOID
    known, classes = probabilities[labelled], truth[labelled].astype(int)
    if not classes.size:
        raise LabelError("all pixels are void, so no temperature can be fitted")

    def surprise(log_temperature: float) -> float:
        scores = sharpen(known, np.exp(log_temperature))
        return -np.log(np.maximum(scores[np.arange(len(classes)), classes], 1e-12)).mean()

    low, high, golden = np.log(0.1), np.log(10.0), (np.sqrt(5) - 1) / 2
    while high - low > 1e-3:  # the curve has one valley: keep the half that holds it
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if surprise(left) < surprise(right) else (left, high)
    return float(np.exp((low + high) / 2))


def _check_pair(truth: np.ndarray, prediction: np.ndarray) -> None:
    if truth.shape != prediction.shape:
        raise ShapeError(f"truth has shape {truth.shape}, the prediction {prediction.shape}")
