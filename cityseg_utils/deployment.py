"""Networks as files that run without TensorFlow: ONNX, TensorFlow Lite, OpenVINO.

The converters and engines are not among the course's own dependencies: ``pip install
"cityseg-utils[export]"``.
"""

import json
import shutil
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import numpy as np

from cityseg_utils import storage
from cityseg_utils.errors import DataError, FrameworkError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import ClassScheme
from cityseg_utils.models import check_fits
from cityseg_utils.preprocessing import Size, affine

tf = load_tensorflow()

KINDS = ("float32", "float16", "int8")
SCRIPT = Path(__file__).parent / "deployed" / "segment.py"
_OPSET = 17  # ONNX of 2022, which every engine of today reads


def to_saved_model(model, folder: Path | str) -> Path:
    """Write a SavedModel, which TensorFlow Serving and the converters of others read.

    Parameters
    ----------
    model : keras.Model
        ``(N, H, W, 3) float32`` to ``(N, H, W, C)``.
    folder : Path or str

    Raises
    ------
    ValueError
        If the network computes in 16 bits.
    """
    with storage.write_whole(folder) as temporary:
        tf.saved_model.save(model, str(temporary), signatures=_as_function(model, (None, None)))
    return Path(folder)


def to_onnx(model, path: Path | str, size: Size, small: bool = False) -> Path:
    """Write an ONNX file for batches of images of one size.

    Parameters
    ----------
    model : keras.Model
    path : Path or str
    size : (height, width)
    small : bool
        Keep the weights of convolutions as 8-bit numbers and a scale for each output channel, which
        engines turn into floats again: a quarter of the size. The reference model's
        weights are stored that way, and lose next to nothing.

    Raises
    ------
    FrameworkError
        If tf2onnx is not installed.
    ValueError
        If the network cannot take images of `size`, or computes in 16 bits.
    """
    check_fits(model, size)
    function = _as_function(model, size)
    convert = _needed("tf2onnx.convert")
    proto, _ = convert.from_function(function, function.input_signature, opset=_OPSET)
    if small:
        _make_small(proto)
    storage.write_bytes(path, proto.SerializeToString())
    return Path(path)


def to_tflite(
    model,
    path: Path | str,
    size: Size,
    kind: str = "float32",
    frames: Iterable[np.ndarray] = (),
) -> Path:
    """Write a TensorFlow Lite file for one image of one size at a time.

    Parameters
    ----------
    model : keras.Model
    path : Path or str
    size : (height, width)
    kind : {"float32", "float16", "int8"}
        How weights are kept; with "int8" the outputs of layers are, too, and `frames` tell how
        large they become (Jacob and others, CVPR 2018). Input and output stay float32.
    frames : iterable of ``(H, W, 3) float32``
        Typical images in 0 .. 1, of `size`.

    Raises
    ------
    ValueError
        If `kind` is unknown, "int8" has no frames, or the network cannot take images of `size`, or
        computes in 16 bits.
    """
    check_fits(model, size)
    frames = list(frames)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if kind == "int8" and not frames:
        raise ValueError("int8 needs some typical frames, to find the range of each layer's sums")
    function = _as_function(model, size, 1).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: ([frame[None]] for frame in frames)
    storage.write_bytes(path, converter.convert())
    return Path(path)


def to_folder(
    model, folder: Path | str, size: Size, scheme: ClassScheme, normalization: str = "unit"
) -> Path:
    """Write all that segments pictures and films in a Python without TensorFlow.

    That is ``model.onnx``, ``classes.json`` and ``segment.py``, which needs onnxruntime, OpenCV and
    NumPy alone. Parameters and errors are those of :func:`to_onnx`; the scheme names the classes,
    and `normalization` is what the network has learned with (`preprocessing.normalize`).
    """
    scale, offset = affine(normalization)
    classes = {"size": list(size), "names": scheme.names, "colors": scheme.colors}
    classes |= {"scale": scale.tolist(), "offset": offset.tolist()}
    with storage.write_whole(folder) as temporary:
        temporary.mkdir()
        to_onnx(model, temporary / "model.onnx", size)
        (temporary / "classes.json").write_text(json.dumps(classes, indent=1))
        shutil.copyfile(SCRIPT, temporary / SCRIPT.name)
    return Path(folder)


class Deployed:
    """A network from a file, to be used by `prediction` in a model's place.

    Parameters
    ----------
    path : Path or str
        Of :func:`to_onnx` or :func:`to_tflite`.
    engine : {"onnxruntime", "openvino", "tflite"}, optional
        Default by the name's ending.
    threads : int
        0: as many as the engine likes; TensorFlow Lite likes one.

    Raises
    ------
    DataError
        If the file is no network that the engine reads.
    FrameworkError
        If the engine is not installed.
    """

    def __init__(self, path: Path | str, engine: str | None = None, threads: int = 0):
        content, self.name = storage.read_bytes(path), Path(path).name
        engine = engine or {".tflite": "tflite"}.get(Path(path).suffix, "onnxruntime")
        start = {"onnxruntime": _start_onnx, "openvino": _start_openvino, "tflite": _start_tflite}
        if engine not in start:
            raise ValueError(f"engine must be one of {tuple(start)}, got {engine!r}")
        try:
            self.input_shape, self._answer = start[engine](content, threads)
        except FrameworkError:
            raise
        except Exception as error:  # each engine has its own
            raise DataError(f"{path}: {engine} cannot read it as a network: {error}") from error

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Return ``(N, H, W, C) float32`` for ``(N, H, W, 3) float32`` of the file's size."""
        return self._answer(np.ascontiguousarray(images, np.float32))


def _start_onnx(content: bytes, threads: int):
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in image.shape)
    return shape, lambda images: session.run(None, {image.name: images})[0]


def _start_openvino(content: bytes, threads: int):
    openvino = _needed("openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    network = openvino.Core().read_model(content, b"")
    compiled = openvino.compile_model(network, "CPU", settings)
    shape = tuple(d.get_length() if d.is_static else None for d in network.input().partial_shape)
    return shape, lambda images: np.asarray(compiled(images)[0])


def _start_tflite(content: bytes, threads: int):
    network = tf.lite.Interpreter(model_content=content, num_threads=threads or None)
    network.allocate_tensors()
    (given,), (told,) = network.get_input_details(), network.get_output_details()

    def answer(images):
        answers = []
        for image in images:
            network.set_tensor(given["index"], image[None])
            network.invoke()
            answers.append(network.get_tensor(told["index"])[0])
        return np.stack(answers)

    return (None, *map(int, given["shape"][1:])), answer


def agreement(one: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> list[float]:
    """Return the share of pixels of each image in which two networks name the same class.

    Parameters
    ----------
    one, other : iterables of ``(H, W, C)``
    """
    pairs = zip(one, other, strict=True)
    return [float((a.argmax(-1) == b.argmax(-1)).mean()) for a, b in pairs]


def _as_function(model, size, batch: int | None = None):
    """Return a model as a function of TensorFlow's that knows what it takes."""
    if any(layer.compute_dtype not in ("float32", "float64") for layer in model.layers):
        raise ValueError(
            f"{model.name!r} computes in 16 bits, which engines read in different ways. Build the "
            'network once more after tf.keras.mixed_precision.set_global_policy("float32"), load '
            "its weights, and export that"
        )
    signature = [tf.TensorSpec((batch, *size, 3), tf.float32, name="image")]
    return tf.function(lambda image: model(image, training=False), input_signature=signature)


def _make_small(proto) -> None:
    """Keep weights of convolutions in an ONNX graph as 8-bit numbers, in place."""
    onnx = _needed("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kept, nodes = [], []
    for weights in proto.graph.initializer:
        values = numpy_helper.to_array(weights)
        # Those of a convolution of single channels are few, and 8 bits would cost them more.
        if values.dtype != np.float32 or values.ndim != 4 or values.shape[1] == 1:
            kept.append(weights)
            continue
        largest = np.abs(values).max((1, 2, 3), keepdims=True)  # of each output channel
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        whole = np.rint(values / scale).astype(np.int8)
        names = [f"{weights.name}:{part}" for part in ("whole", "scale")]
        kept += [
            numpy_helper.from_array(whole, names[0]),
            numpy_helper.from_array(scale.ravel(), names[1]),
        ]
        nodes.append(helper.make_node("DequantizeLinear", names, [weights.name], axis=0))
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    later = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *later])


def _needed(name: str):
    try:
        return import_module(name)
    except ImportError as error:
        raise FrameworkError(
            f"{name.split('.')[0]} is not installed, and this needs it: "
            f'pip install "cityseg-utils[export]" ({error})'
        ) from error
