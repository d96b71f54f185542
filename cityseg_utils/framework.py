"""The only place that chooses Keras.

segmentation-models is written for Keras 2, which lives on as the package ``tf-keras``. TensorFlow
takes it instead of Keras 3 when ``TF_USE_LEGACY_KERAS=1`` is set *before* TensorFlow is imported,
so ``import cityseg_utils`` has to come before ``import tensorflow``.
"""

import ctypes
import os
import sys
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import ModuleType

from cityseg_utils.errors import FrameworkError

_TRUE = ("1", "true", "True")
_HOW = (
    "segmentation-models needs the Keras 2 of the package tf-keras, but TensorFlow was already "
    "imported with Keras 3.\nRestart the kernel and put this line at the top, before anything that "
    "imports TensorFlow:\n\n    import cityseg_utils"
)


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


def load_tensorflow() -> ModuleType:
    """Import TensorFlow and check that its ``tf.keras`` is the legacy one."""
    choose_keras()
    with _silent_stderr():
        import tensorflow as tf

    if not tf.keras.Model.__module__.startswith("tf_keras"):
        raise FrameworkError(_HOW)
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


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and ask TensorFlow for deterministic operations.

    Two runs with one seed on one machine then give the same numbers. Another machine, another
    number of cores or another TensorFlow may still round differently.
    """
    tf = load_tensorflow()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
