"""Networks from segmentation-models, built with one call."""

from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from cityseg_utils import storage
from cityseg_utils.errors import DataError, StorageError
from cityseg_utils.framework import load_segmentation_models, load_tensorflow

tf = load_tensorflow()

ARCHITECTURES = ("Unet", "Linknet", "FPN", "PSPNet")


def build_model(
    num_classes: int,
    input_shape: tuple[int | None, int | None, int],
    backbone: str = "resnet34",
    architecture: str = "Unet",
    encoder_weights: str | None = None,
    batch_norm_momentum: float | None = None,
):
    """Build a segmentation network that ends in a softmax over the classes.

    Parameters
    ----------
    num_classes : int
        Void is not a class.
    input_shape : (height, width, 3)
        Height and width must be multiples of 32.
    backbone : str
        One of segmentation-models' backbones, such as ``"resnet34"`` or ``"mobilenetv2"``.
    architecture : str
        ``"Unet"``, ``"Linknet"``, ``"FPN"`` or ``"PSPNet"``.
    encoder_weights : str, optional
        ``"imagenet"`` fetches pre-trained weights; a path loads a file; None draws them at random.
    batch_norm_momentum : float, optional
        How slowly BatchNorm's running averages move; segmentation-models leaves it at 0.99.

    Returns
    -------
    keras.Model
        ``(N, H, W, 3) float32`` to ``(N, H, W, C) float32`` probabilities.

    Raises
    ------
    StorageError
        If ImageNet weights are wanted and cannot be fetched.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {ARCHITECTURES}, got {architecture!r}")
    if any(n is not None and n % 32 for n in input_shape[:2]):
        raise ValueError(
            f"height and width must be multiples of 32, got {tuple(input_shape)}: the encoder "
            "halves them five times"
        )
    sm = load_segmentation_models()
    try:
        model = getattr(sm, architecture)(
            backbone,
            input_shape=tuple(input_shape),
            classes=num_classes,
            activation="softmax",
            encoder_weights=encoder_weights,
        )
    except Exception as error:
        if encoder_weights == "imagenet" and "URL fetch failure" in str(error):
            raise StorageError(
                f"the ImageNet weights of {backbone} cannot be fetched ({error}). Without a "
                "network build the model with encoder_weights=None"
            ) from error
        raise
    if batch_norm_momentum is not None:
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.momentum = batch_norm_momentum
    return model


def save_weights(model, path: Path | str) -> None:
    """Write a model's weights, BatchNorm's averages included, to an ``.npz`` file.

    Raises
    ------
    StorageError
        If the file cannot be written; nothing is left of it then.
    """
    # Through memory, because HDF5, Keras's own format, crashes when the disk is full.
    content = BytesIO()
    np.savez(content, *model.get_weights())
    storage.write_bytes(path, content.getbuffer())


def load_weights(model, path: Path | str) -> None:
    """Give a model the weights that :func:`save_weights` wrote for one of the same architecture.

    Raises
    ------
    DataError
        If the file is missing or damaged, or belongs to another architecture.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            weights = [stored[name] for name in stored.files]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as weights: {error}") from error
    if [array.shape for array in weights] != [weight.shape for weight in model.weights]:
        raise DataError(f"{path}: holds the weights of another architecture than {model.name!r}")
    model.set_weights(weights)
