"""Predictions at an image's own size, and honest scores of them."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pandas as pd

from cityseg_utils import framework
from cityseg_utils.errors import DataError, TrainingError
from cityseg_utils.labels import ClassScheme
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.models import check_fits, nearest_size
from cityseg_utils.preprocessing import (
    Size,
    check_image,
    check_pair,
    normalize,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
)


def predict(
    model,
    images: Iterable[Path | str | np.ndarray],
    size: Size | None = None,
    normalization: str = "unit",
    batch_size: int = 8,
    mirror: bool = False,
) -> Iterator[np.ndarray]:
    """Yield class probabilities for each image, at the image's own size.

    Parameters
    ----------
    model : keras.Model
    images : iterable of paths or ``(H, W, 3) uint8`` RGB arrays
        Sizes may differ.
    size : (height, width), optional
        What the network sees; default its input shape, or for a network that takes any size the
        nearest one to each image's own that it can take.
    normalization : str
        The one that the model was trained with.
    batch_size : int
    mirror : bool
        Show the network each image and its mirror image, and average the two answers.

    Yields
    ------
    ``(H, W, C) float32``

    Raises
    ------
    ShapeError
        If an array is no ``(H, W, 3) uint8``; floats were normalised already, or are in 0 .. 1.
    ValueError
        If the network cannot take images of `size`, or `images` is a single path.
    TrainingError
        If the network answers with what is no number.
    """
    framework.refuse_keras_3(model=model)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(images, str | Path):
        raise ValueError(f"images is a list, also of one: write [{str(images)!r}]")
    if size is not None:
        check_fits(model, size)
    for seen, pictures in _batches(model, images, size, batch_size):
        batch = np.stack([normalize(resize_image(x, seen), normalization) for x in pictures])
        scores = _answer(model, batch)
        if mirror:
            scores = (scores + _answer(model, batch[:, :, ::-1])[:, :, ::-1]) / 2
        for picture, probabilities in zip(pictures, scores, strict=True):
            yield _resize_scores(probabilities, picture.shape[:2])


def _answer(model, batch: np.ndarray) -> np.ndarray:
    """Return the scores of a batch; one picture alone is shown twice.

    With AVX2 alone, oneDNN takes a slow way for the fused batch norm of a batch of one: 2.1 seconds
    for 256 x 512, and 0.2 for two such pictures (benchmarks/networks.py).
    """
    shown = np.repeat(batch, 2, 0) if len(batch) == 1 else batch
    scores = np.asarray(model.predict_on_batch(shown), np.float32)[: len(batch)]
    if not np.isfinite(scores).all():
        raise TrainingError("the network answers with NaN or infinity: its training went wrong")
    return scores


def _batches(model, images, size: Size | None, batch_size: int):
    """Yield what size the network sees, and so many pictures of which it sees that size."""
    nearest = cache(partial(nearest_size, model))
    groups = groupby(map(_as_image, images), lambda x: size or nearest(x.shape[:2]))
    for seen, group in groups:
        while pictures := list(islice(group, batch_size)):
            yield seen, pictures


def _as_image(image: Path | str | np.ndarray) -> np.ndarray:
    return read_image(image) if isinstance(image, str | Path) else check_image(np.asarray(image))


def _resize_scores(scores: np.ndarray, size: Size) -> np.ndarray:
    """Resize ``(h, w, C)`` probabilities bilinearly to (height, width)."""
    import cv2

    scores = np.asarray(scores, np.float32)
    return cv2.resize(scores, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, -1)


def _need_masks(pairs: pd.DataFrame) -> None:
    if missing := int(pairs["mask"].isna().sum()):
        raise DataError(f"{missing} of {len(pairs)} images have no mask to compare with")


def score(
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    predictions: Iterable[np.ndarray],
    part: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> ConfusionMatrix:
    """Compare predictions with the masks of `pairs` at the masks' own size.

    Parameters
    ----------
    pairs : DataFrame
    scheme : ClassScheme
    predictions : iterable
        One per pair, in order: ``(h, w) uint8`` train ids or ``(h, w, C) float32`` probabilities;
        resized to the mask if need be, ids by nearest neighbour.
    part : callable, optional
        Takes truth and prediction and returns the truth with void where it is not to count, as
        `analysis.trimap` does with a width.

    Raises
    ------
    DataError
        If a mask is missing or damaged, or does not lie on its image.
    ValueError
        If there are more or fewer predictions than pairs.
    """
    _need_masks(pairs)
    matrix = ConfusionMatrix.for_scheme(scheme)
    for image, mask, prediction in zip(pairs["image"], pairs["mask"], predictions, strict=True):
        check_pair(image, mask)
        truth = read_mask(mask, scheme)
        if prediction.shape[:2] != truth.shape:
            resize = resize_mask if prediction.ndim == 2 else _resize_scores
            prediction = resize(prediction, truth.shape)
        matrix.update(truth if part is None else part(truth, prediction), prediction)
    return matrix


def evaluate(
    model,
    pairs: pd.DataFrame,
    scheme: ClassScheme,
    size: Size | None = None,
    normalization: str = "unit",
    mirror: bool = False,
    batch_size: int = 8,
) -> ConfusionMatrix:
    """Score a model on every frame of `pairs` at native size, void left out.

    Parameters are those of :func:`predict` and :func:`score`, and so are the errors.
    """
    predictions = predict(model, pairs["image"], size, normalization, batch_size, mirror)
    return score(pairs, scheme, predictions)


def commonest_by_location(pairs: pd.DataFrame, scheme: ClassScheme, size: Size) -> np.ndarray:
    """Return the baseline that never looks: each pixel's commonest class, ``(H, W) uint8``.

    Void does not vote; a pixel that is void in every mask gets class 0.
    """
    _need_masks(pairs)
    votes = np.zeros((*size, 256), np.int32)
    rows, columns = np.indices(size)
    for path in pairs["mask"]:
        votes[rows, columns, read_mask(path, scheme, size)] += 1
    return votes[..., : scheme.num_classes].argmax(-1).astype(np.uint8)
