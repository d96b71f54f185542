"""The only place that chooses Keras.

segmentation-models is written for Keras 2, which lives on as the package ``tf-keras``. TensorFlow
takes it instead of Keras 3 when ``TF_USE_LEGACY_KERAS=1`` is set *before* TensorFlow is imported,
so ``import cityseg_utils`` has to come before ``import tensorflow``.
"""

import ctypes
import os
import platform
import sys
from contextlib import contextmanager, redirect_stdout
from functools import cache
from io import StringIO
from itertools import chain
from pathlib import Path
from types import ModuleType

from cityseg_utils.errors import FrameworkError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

_TRUE = ("1", "true", "True")
_HOW = (
    "segmentation-models needs the Keras 2 of the package tf-keras, but TensorFlow was already "
    "imported with Keras 3.\nRestart the kernel and put this line at the top, before anything that "
    "imports TensorFlow:\n\n    import cityseg_utils"
)
# What TensorFlow refuses to do on a GPU once deterministic operations are asked for, from the
# messages of its kernels; the gradients of BatchNorm only where its averages are frozen.
_NONDETERMINISTIC = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "FakeQuantWithMinMaxVarsGradient",
    "FakeQuantWithMinMaxVarsPerChannelGradient",
    "FusedBatchNormGrad",
    "FusedBatchNormGradV2",
    "FusedBatchNormGradV3",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SparseTensorDenseMatMul",
}


_DRAWING = {
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "TruncatedNormal",
}


def choose_keras() -> None:
    """Tell TensorFlow and segmentation-models to use ``tf-keras``, before they are imported.

    Raises
    ------
    FrameworkError
        If TensorFlow was imported earlier without that choice.
    """
    if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") not in _TRUE:
        raise FrameworkError(_HOW)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    # Failures reach Python as exceptions; the log would only frighten machines without a GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off on processors with AVX2 alone, where it saves a training step
        # a fifth of its processor time (benchmarks/steps.py).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def load_tensorflow() -> ModuleType:
    """Import TensorFlow and check that its ``tf.keras`` is the legacy one."""
    choose_keras()
    with _silent_stderr():
        import tensorflow as tf

    if not tf.keras.Model.__module__.startswith("tf_keras"):
        raise FrameworkError(_HOW)
    # Else "float32" would mean ten bits of mantissa on a GPU from Ampere on.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    _keep_freed_memory()
    return tf


def _keep_freed_memory() -> None:
    """Let glibc keep the memory that a training step frees, for the next step wants it again.

    Given back to the system and asked for anew, it cost a sixth of the processor time of a step;
    kept, it raises a training's peak by a twentieth (U-Net with ResNet-18, crops of 128 x 160).
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # as malloc.h numbers them
    libc.mallopt(mmap_threshold, 2**30)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 2**26)


@contextmanager
def _silent_stderr():
    """Send what C++ writes to descriptor 2 nowhere: TensorFlow logs there before it can be told."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no descriptor 2, so there is nothing to silence
        yield
        return
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def load_segmentation_models() -> ModuleType:
    """Import segmentation-models, set to ``tf.keras`` (it prints one line when it is imported)."""
    load_tensorflow()
    with redirect_stdout(StringIO()), _silent_stderr():
        import segmentation_models as sm
    return sm


def refuse_keras_3(**given) -> None:
    """Raise a FrameworkError if a model or a callback, given by what it is, is of Keras 3."""
    for what, thing in given.items():
        if any(kind.__module__.partition(".")[0] == "keras" for kind in type(thing).__mro__):
            raise FrameworkError(
                f"this {what} is of Keras 3; take it from tf.keras "
                "(tf = framework.load_tensorflow())"
            )


def precision(wanted: str = "auto") -> str:
    """Return the Keras policy of a training: the wanted one, or the fastest on this machine.

    Parameters
    ----------
    wanted : str
        One of `PRECISIONS`, or ``"auto"``: what the environment variable ``CITYSEG_PRECISION``
        says; without it bfloat16 where the processor multiplies it and oneDNN may use that, on a
        GPU the half precision that its tensor cores have, else float32.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if wanted == "auto":
        wanted = os.environ.get("CITYSEG_PRECISION") or "auto"
    if wanted not in ("auto", *PRECISIONS):
        known = ", ".join(PRECISIONS)
        raise ValueError(f"precision and CITYSEG_PRECISION must be auto, {known}, not {wanted!r}")
    if wanted != "auto":
        return wanted
    details = load_tensorflow().config.experimental.get_device_details
    capabilities = [details(gpu).get("compute_capability", (0, 0)) for gpu in _gpus()]
    cpuinfo = Path("/proc/cpuinfo")
    return _fastest(capabilities, cpuinfo.read_text() if cpuinfo.exists() else "")


def _fastest(capabilities: list[tuple[int, int]], cpuinfo: str) -> str:
    """Choose by NVIDIA's compute capability of each GPU, or by what Linux says of the processor."""
    if capabilities:
        if min(capabilities) >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if min(capabilities) >= (7, 0) else "float32"
    native = not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpuinfo.split())
    # Without oneDNN bfloat16 is emulated; and so it is on every system but Linux.
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") in _TRUE
    return "mixed_bfloat16" if native and onednn else "float32"


def _gpus() -> list:
    return load_tensorflow().config.get_visible_devices("GPU")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def gpu_names() -> list[str]:
    """Return what the GPUs that TensorFlow uses call themselves."""
    details = load_tensorflow().config.experimental.get_device_details
    return [details(gpu).get("device_name", "GPU") for gpu in _gpus()]


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and ask TensorFlow for deterministic operations.

    Two runs with one seed on one machine then give the same numbers. Another machine, another
    number of cores or another TensorFlow may still round differently. With a GPU, on which not
    every operation can be deterministic, :func:`deterministic` asks for each training.
    """
    tf = load_tensorflow()
    tf.keras.utils.set_random_seed(seed)
    if not _gpus():
        tf.config.experimental.enable_op_determinism()


@contextmanager
def deterministic(model, gpu: bool | None = None, graph=None):
    """Train a compiled model with deterministic operations, or say which one a GPU lacks.

    Parameters
    ----------
    model : keras.Model
    gpu : bool, optional
        Whether it is trained on a GPU; default: if TensorFlow sees one. If not, all is left to
        :func:`set_seed`.
    graph : tf.Graph, optional
        Of its training step, if that was traced.
    """
    if not (bool(_gpus()) if gpu is None else gpu):
        yield
        return
    from tensorflow.python.framework import config  # the public one cannot be switched off

    if missing := nondeterministic_operations(model, graph):
        _say_once(
            f"on a GPU TensorFlow has no deterministic {', '.join(missing)}: two runs with one "
            "seed may differ a little"
        )
    before = config.is_op_determinism_enabled()
    switch = {True: config.enable_op_determinism, False: config.disable_op_determinism}
    switch[not missing]()
    try:
        yield
    finally:
        switch[before]()


def nondeterministic_operations(model, graph=None) -> list[str]:
    """Return what of a compiled model's training step a GPU cannot do the same way twice.

    Looks at the graph of the step; without one, at that of the network, its loss, their gradients
    and the metrics. Needs no GPU.
    """
    tf = load_tensorflow()

    def step(images, truth):  # all but the optimizer, which takes longest to trace
        with tf.GradientTape() as tape:
            answer = model(images, training=True)
            loss = model.compute_loss(images, truth, answer)
        model.compute_metrics(images, truth, answer, None)
        return tape.gradient(loss, model.trainable_variables)

    if graph is None:
        batch = [tf.TensorSpec(shape) for shape in (model.input_shape, model.output_shape)]
        graph = tf.function(step).get_concrete_function(*batch).graph
    found = {node.op for node in _nodes(graph) if not node.attr["is_training"].b}
    return sorted(found & _NONDETERMINISTIC)


def stateful_randomness(graph) -> list[str]:
    """Return what draws in a graph from a state that no checkpoint holds, as Keras's Dropout does.

    What is keyed by seed and step instead (``tf.random.stateless_*``) goes on where it was.
    """
    return sorted({node.op for node in _nodes(graph)} & _DRAWING)


def _nodes(graph):
    whole = graph.as_graph_def()
    return chain(whole.node, *(function.node_def for function in whole.library.function))


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
