"""Networks, those of segmentation-models and a small one of our own, built with one call."""

import hashlib
import math
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

from cityseg_utils import encoders, storage
from cityseg_utils.errors import DataError, LabelError, StorageError
from cityseg_utils.framework import load_segmentation_models, load_tensorflow
from cityseg_utils.labels import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_TO_CAMVID,
    VOID,
    ClassScheme,
    merging,
)
from cityseg_utils.preprocessing import Size, normalize, read_pair

tf = load_tensorflow()

ARCHITECTURES = ("Unet", "Linknet", "FPN", "PSPNet")
SMALL_DECODER = (96, 64, 48, 32)  # filters from the deepest skip up
SMALL = "efficientnetlite0"  # the backbone that is ours, and not segmentation-models'
REFERENCE = Path(__file__).parent / "reference" / "unet_efficientnetlite0.npz"
REFERENCE_SIZE = (256, 512)
# The course's first one, from which stored runs of lesson 11 start.
FIRST_REFERENCE = REFERENCE.with_name("unet_resnet34.npz")


def build_model(
    num_classes: int,
    input_shape: tuple[int | None, int | None, int],
    backbone: str = "resnet34",
    architecture: str = "Unet",
    encoder_weights: Path | str | None = None,
    batch_norm_momentum: float | None = None,
    freeze_encoder: bool = False,
):
    """Build a segmentation network that ends in a softmax over the classes.

    Parameters
    ----------
    num_classes : int
        Void is not a class.
    input_shape : (height, width, 3)
        Height and width must be multiples of 32, or None for any; PSPNet, which pools in sixths of
        an eighth, needs them given, and multiples of 48.
    backbone : str
        One of segmentation-models' backbones, such as ``"resnet34"`` or ``"mobilenetv2"``; or
        ``"efficientnetlite0"``, for a U-Net with a sixth of the operations of one on ResNet-34: its
        decoder is narrow and ends at half of each side, and the answer is enlarged.
    architecture : str
        ``"Unet"``, ``"Linknet"``, ``"FPN"`` or ``"PSPNet"``; only U-Net on EfficientNet-Lite0.
    encoder_weights : str or Path, optional
        ``"imagenet"`` takes pre-trained weights: those of EfficientNet-Lite0 come with the course
        (see `encoders`), all others are fetched. None draws them at random; all else is the path of
        a file of the encoder's weights in Keras's HDF5.
    batch_norm_momentum : float, optional
        How slowly BatchNorm's running averages move; segmentation-models leaves it at 0.99, ours
        is 0.9.
    freeze_encoder : bool
        Whether the encoder's convolutions keep their weights in training, and with
        EfficientNet-Lite0 its BatchNorm, too, averages included; see :func:`unfreeze`.

    Returns
    -------
    keras.Model
        ``(N, H, W, 3) float32`` to ``(N, H, W, C) float32`` probabilities.

    Raises
    ------
    StorageError
        If ImageNet weights are wanted and cannot be fetched.
    DataError
        If a file of encoder weights is missing, damaged or of another encoder.
    """
    check_network(architecture, backbone)
    check_size(architecture, *input_shape[:2])
    if backbone == SMALL:
        model = _small_unet(num_classes, input_shape, encoder_weights, freeze_encoder)
    else:
        options = encoder_weights, freeze_encoder
        model = _segmentation_models(num_classes, input_shape, backbone, architecture, *options)
    if batch_norm_momentum is not None:
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.momentum = batch_norm_momentum
    return model


def _small_unet(num_classes, input_shape, encoder_weights, freeze_encoder):
    """Build a narrow U-Net decoder on EfficientNet-Lite0."""
    if encoder_weights not in (None, "imagenet"):
        raise ValueError(f"encoder_weights of {SMALL} are 'imagenet' or None: {encoder_weights!r}")
    layers = tf.keras.layers

    def convolved(x, filters, size):
        x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(epsilon=1e-3, momentum=0.9)(x))

    images = tf.keras.Input(input_shape)
    x, skips = encoders.efficientnet_lite0(images)
    for filters, skip in zip(SMALL_DECODER, reversed(skips), strict=True):
        # Narrowed before they are joined, or the skips, which are wide, would cost most of all.
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.Concatenate()([x, convolved(skip, filters, 1)])
        for _ in range(2 if skip is not skips[0] else 1):
            x = convolved(x, filters, 3)
    x = layers.Conv2D(num_classes, 1, name="classes")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Activation("softmax", dtype="float32", name="softmax")(x)
    model = tf.keras.Model(images, x, name="unet_efficientnetlite0")
    if encoder_weights is not None:
        encoders.load(model, encoders.imagenet_weights())
    for layer in model.layers:
        if layer.name.startswith("encoder_"):
            layer.trainable = not freeze_encoder
    return model


def _segmentation_models(
    num_classes, input_shape, backbone, architecture, encoder_weights, freeze_encoder
):
    if encoder_weights not in (None, "imagenet"):
        with storage.opened(encoder_weights):  # HDF5 would wait for a pipe
            pass
    sm = load_segmentation_models()
    try:
        model = getattr(sm, architecture)(
            backbone,
            input_shape=tuple(input_shape),
            classes=num_classes,
            activation="softmax",
            encoder_weights=encoder_weights and str(encoder_weights),
            encoder_freeze=freeze_encoder,
        )
    except Exception as error:
        own_file = encoder_weights not in (None, "imagenet")
        if own_file and backbone in sm.get_available_backbone_names():
            raise DataError(
                f"{encoder_weights}: cannot be read as the weights of a {backbone} encoder in "
                f"Keras's HDF5: {error}"
            ) from error
        if encoder_weights == "imagenet" and "URL fetch failure" in str(error):
            raise StorageError(
                f"the ImageNet weights of {backbone} cannot be fetched ({error}). Without a "
                "network build the model with encoder_weights=None"
            ) from error
        raise
    return model


def check_network(architecture: str, backbone: str) -> None:
    """Raise a ValueError unless there is that architecture on that backbone."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {ARCHITECTURES}, got {architecture!r}")
    if backbone == SMALL and architecture != "Unet":
        raise ValueError(f"on {SMALL} there is only Unet, got {architecture!r}")


def check_size(architecture: str, height: int | None, width: int | None) -> None:
    """Raise a ValueError unless an architecture can take images of that size; None is any."""
    if architecture == "PSPNet":
        if height is None or width is None or height % 48 or width % 48:
            raise ValueError(f"PSPNet needs multiples of 48, got {height} x {width}")
    elif any(n is not None and n % 32 for n in (height, width)):
        raise ValueError(
            f"height and width must be multiples of 32, got {height} x {width}: the encoder "
            "halves them five times"
        )


def check_fits(model, size: Size) -> None:
    """Raise a ValueError unless a network, of whatever kind, can take images of that size."""
    own = _own_size(model)
    if any(side is not None and side != n for side, n in zip(own, size, strict=True)):
        raise ValueError(f"{model.name!r} takes images of {own}, got {tuple(size)} (height, width)")
    if not _fits(model, size):
        n = _divisor(model)
        raise ValueError(
            f"height and width must be multiples of {n}, got {size[0]} x {size[1]}: "
            f"{model.name!r} halves them {n.bit_length() - 1} times"
        )


def nearest_size(model, size: Size) -> Size:
    """Return the (height, width) nearest to `size` that a network can take."""
    own = _own_size(model)
    if None not in own:
        return own
    n = _divisor(model)
    sides = (max(n, n * round(side / n)) for side in size)
    return tuple(fixed or side for fixed, side in zip(own, sides, strict=True))


def reference_size(size: Size) -> Size:
    """Return the (height, width) of the same shape that is familiar to the reference model.

    It has about as many pixels as the streets that the model learned from, whatever a camera's own
    number is, and sides that are multiples of 32.
    """
    scale = math.sqrt(math.prod(REFERENCE_SIZE) / math.prod(size))
    return tuple(max(32, 32 * round(scale * side / 32)) for side in size)


def _own_size(model) -> tuple[int | None, int | None]:
    return getattr(model, "input_shape", (None,) * 4)[1:3]


def _fits(model, size: Size) -> bool:
    kind = tf.keras.layers.Concatenate
    try:
        joints = [x for x in model.layers if isinstance(x, kind) and x.axis in (-1, 3)]
        joined = {layer.name: layer.input for layer in joints}
        shapes = tf.keras.Model(model.input, {**joined, "": model.output}).compute_output_shape(
            (1, *size, 3)
        )
    except ValueError:
        return False
    except (AttributeError, NotImplementedError):  # no graph of layers, so nobody can tell
        return True
    # Keras itself compares no sizes where layers are concatenated.
    together = (len({tuple(shape[:3]) for shape in shapes[name]}) == 1 for name in joined)
    return min(size) > 0 and all(together)


def _divisor(model) -> int:
    """Return the power of two, 32 at most, that must divide the sides of a network's images."""
    # 64 + 5 n is an odd multiple of n, halved into sides that fit neither rounded up nor down.
    return next((n for n in (1, 2, 4, 8, 16) if _fits(model, (64 + 5 * n,) * 2)), 32)


def unfreeze(model) -> None:
    """Let the whole model learn again; compile it anew afterwards."""
    for layer in model.layers:
        layer.trainable = True


def operations(model, size: Size) -> int:
    """Count the additions and multiplications of all convolutions for one image.

    A convolution uses each of its weights once per pixel of its output, to multiply and to add.

    Parameters
    ----------
    model : keras.Model
    size : (height, width)
        Of the image.
    """
    shape, count = (1, *size, 3), 0
    kinds = tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D
    outputs = {layer.name: layer.output for layer in model.layers if isinstance(layer, kinds)}
    shapes = tf.keras.Model(model.input, outputs).compute_output_shape(shape)
    for name, (_, height, width, _) in shapes.items():
        count += 2 * height * width * math.prod(model.get_layer(name).weights[0].shape)
    return count


def seconds_per_image(model, size: Size, repeats: int = 21) -> float:
    """Measure how long the prediction of one image takes: the fastest of some repeats.

    The others were disturbed by what else the machine did (Python's timeit says the same).
    """
    image, times = tf.zeros((1, *size, 3)), []
    predict = tf.function(lambda x: model(x, training=False))
    predict(image)  # compiles
    for _ in range(repeats):
        start = time.perf_counter()
        predict(image).numpy()
        times.append(time.perf_counter() - start)
    return min(times)


def synchronized(model):
    """Return a copy of a model whose BatchNorm layers take their means over all devices.

    Call it in the scope of a ``tf.distribute`` strategy; see `training.fit`. On one device it
    learns what the model learns, but for the moving variance, which Keras computes in two ways.
    """

    def clone(layer):
        if isinstance(layer, tf.keras.Model):
            return tf.keras.models.clone_model(layer, clone_function=clone)
        config = layer.get_config()
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            config["synchronized"] = True
        return type(layer).from_config(config)

    copy = clone(model)
    copy.set_weights(model.get_weights())
    return copy


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
    """Give a model the weights that :func:`save_weights` or :func:`save_small` wrote.

    Raises
    ------
    DataError
        If the file is missing or damaged, or belongs to another architecture.
    """
    model.set_weights(_read(model, path))


def load_matching(model, path: Path | str) -> None:
    """Give a model stored weights of the same architecture for other classes.

    The last layer, which holds a row per class, keeps its own weights if the shapes differ.

    Raises
    ------
    DataError
        If the file is missing or damaged, or belongs to another architecture.
    """
    model.set_weights(_read(model, path, free=2))  # the last convolution's kernel and bias


def save_small(model, path: Path | str) -> None:
    """Write a model's weights with 8 bits each, about a quarter of :func:`save_weights`.

    Kernels become whole numbers from -127 to 127 with one float scale for each output channel
    (Jacob et al., "Quantization and training of neural networks", CVPR 2018); biases and
    BatchNorm's numbers, which are few, stay as they are.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    arrays = {}
    for k, weight in enumerate(model.get_weights()):
        if weight.ndim < 2:
            arrays[f"{k}"] = weight
            continue
        largest = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)))
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
        arrays[f"{k} scale"], arrays[f"{k}"] = scale, np.round(weight / scale).astype(np.int8)
    content = BytesIO()
    np.savez_compressed(content, **arrays)
    storage.write_bytes(path, content.getbuffer())


def load_reference(scheme: ClassScheme = CITYSCAPES, examples: pd.DataFrame | None = None):
    """Return the trained reference model, for images of any size whose sides 32 divides.

    The small U-Net of :func:`build_model`, its encoder from ImageNet, over the 19 Cityscapes
    classes, trained by ``python -m cityseg_utils.reference`` on MiniCity's train cities at
    `REFERENCE_SIZE`; how well, says ``README.md`` beside its weights.

    Parameters
    ----------
    scheme : ClassScheme
        The classes of the answer: Cityscapes' or CamVid's, for which the probabilities of classes
        that become one are added up, or your own.
    examples : DataFrame, optional
        Pairs with classes of your own: each of Cityscapes' becomes the one that it lies on most
        often in a few of the train frames among these.

    Raises
    ------
    DataError
        If its file is missing, or is not the one that was published.
    LabelError
        If the scheme is neither of the two and there are no examples.
    """
    known = {CITYSCAPES.names: None, CAMVID.names: CITYSCAPES_TO_CAMVID}
    if scheme.names not in known and examples is None:
        raise LabelError(
            f"what Cityscapes' classes are in {scheme.name!r} is not known; give examples=pairs"
        )
    model = build_model(CITYSCAPES.num_classes, (None, None, 3), SMALL)
    _check_published(REFERENCE)
    load_weights(model, REFERENCE)
    if scheme.names == CITYSCAPES.names:
        return model
    names = known.get(scheme.names) or _lies_on(model, scheme, examples)
    merge = merging(CITYSCAPES, scheme, names)
    add_up = tf.keras.layers.Dense(scheme.num_classes, use_bias=False, weights=[merge])
    return tf.keras.Model(model.input, add_up(model.output))


def _lies_on(model, scheme: ClassScheme, pairs: pd.DataFrame, frames: int = 8) -> dict[str, str]:
    """Return the class of `scheme` that each of the reference model's lies on most often."""
    pairs = pairs[pairs["mask"].notna() & (pairs["split"] == "train")]
    counts = np.zeros((CITYSCAPES.num_classes, scheme.num_classes))
    for k in np.unique(np.linspace(0, len(pairs) - 1, frames).astype(int)):
        image, mask = read_pair(*pairs[["image", "mask"]].iloc[k], scheme, REFERENCE_SIZE)
        found = model.predict_on_batch(normalize(image)[None])[0].argmax(-1)
        np.add.at(counts, (found[mask != VOID], mask[mask != VOID]), 1)
    counts += counts.sum(0) / (1 + counts.sum())  # what it sees nowhere is the commonest class
    names = [scheme.names[k] for k in counts.argmax(1)]
    return dict(zip(CITYSCAPES.names, names, strict=True))


def publish(model, path: Path = REFERENCE) -> None:
    """Write a model's weights as :func:`save_small` does, and their SHA-256 beside them."""
    save_small(model, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    storage.write_bytes(path.with_suffix(".sha256"), f"{digest}  {path.name}\n".encode())


def _check_published(path: Path) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        expected = path.with_suffix(".sha256").read_text().split()[0]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if found != expected:
        raise DataError(
            f"{path}: is damaged (SHA-256 {found[:12]}..., expected {expected[:12]}...); get "
            "it anew, for example with: git checkout -- cityseg_utils/reference"
        )


@contextmanager
def _opened(path: Path | str):
    """Open an npz file; whatever is wrong with it, then or later, is a DataError."""
    try:
        if not Path(path).is_file():  # nor may a pipe, which would be waited for for ever
            raise FileNotFoundError("there is no such file")
        with ZipFile(path) as stored:
            yield stored
    except DataError:
        raise
    except Exception as error:  # a dozen kinds, of zipfile, NumPy and the decoders
        raise DataError(f"{path}: cannot be read as weights: {error}") from error


def _read(model, path: Path | str, free: int = 0) -> list[np.ndarray]:
    """Return weights for a model, whose shapes are compared before any array is unpacked.

    Unless the last `free` arrays have the model's shapes too, its own stand in for them.
    """
    own = model.get_weights()
    with _opened(path) as stored:
        headers = {name.removesuffix(".npy"): _header(stored, name) for name in stored.namelist()}
        names = [name for name in headers if " " not in name]
        names.sort(key=lambda name: int(name.removeprefix("arr_")))
        found = [(headers[name], headers.get(f"{name} scale")) for name in names]
        fits = [x in _headers_of(weight) for x, weight in zip(found, own, strict=False)]
        if len(found) != len(own) or not all(fits[: len(own) - free]):
            k = fits.index(False) if False in fits else len(fits)
            first = f"weight {k} is {found[k][0]}" if k < len(found) else f"it ends after {k}"
            raise DataError(
                f"{path}: holds the weights of another architecture than {model.name!r}: {first}"
            )
        kept = [] if all(fits) else own[-free:]
        return [_array(stored, name) for name in names[: len(own) - len(kept)]] + kept


def _headers_of(weight: np.ndarray) -> tuple:
    """Return what a file may say of a weight and its scale: as it is, or with 8 bits."""
    scale = f"{weight.shape[-1:]} float32"
    return (f"{weight.shape} {weight.dtype}", None), (f"{weight.shape} int8", scale)


def _header(stored: ZipFile, name: str) -> str:
    with stored.open(name) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is no array of numbers")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return f"{shape} {dtype}"


def _array(stored: ZipFile, name: str) -> np.ndarray:
    with stored.open(f"{name}.npy") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    scale = f"{name} scale"
    return array * _array(stored, scale) if f"{scale}.npy" in stored.namelist() else array
