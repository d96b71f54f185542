import platform
import random

import numpy as np
import pytest

from cityseg_utils import framework

FLOORS_0_AND_1 = ["labels", "storage", "datasets", "preprocessing", "metrics", "plots", "minicity"]


@pytest.mark.parametrize("room", ["", *(f".{room}" for room in FLOORS_0_AND_1)])
def test_import_loads_no_tensorflow(run_python, room):
    script = "import importlib, sys; importlib.import_module('cityseg_utils' + sys.argv[1])\n"
    script += "print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert run_python(script, room).strip() == "False"


def test_import_is_fast(run_python):
    """The best of three fresh Pythons, so that a busy machine does not count."""
    script = "import time; t = time.perf_counter(); import cityseg_utils\n"
    script += "print(time.perf_counter() - t)"
    assert min(float(run_python(script)) for _ in range(3)) < 0.5


def test_every_finished_room_can_be_reached(run_python):
    script = (
        "import cityseg_utils as cs; print(cs.labels.CITYSCAPES.num_classes, 'labels' in dir(cs))"
    )
    assert run_python(script).split() == ["19", "True"]


def test_unknown_room(run_python):
    out = run_python("import cityseg_utils as cs; cs.kitchen", code=1)
    assert "AttributeError: module 'cityseg_utils' has no attribute 'kitchen'" in out


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_freed_memory_is_kept_for_the_next_step(run_python):
    """Memory that comes anew from the system faults once a page, 8192 times in 32 MB."""
    script = """
import resource
from cityseg_utils.framework import load_tensorflow
tf = load_tensorflow()
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        tf.zeros((64, 128, 1024)).numpy()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(3)
print(faults(20))
"""
    assert int(run_python(script)) < 1000


def test_import_before_tensorflow_gives_keras_2(run_python):
    """Whatever the environment said before."""
    script = """
import cityseg_utils
import tensorflow as tf
from cityseg_utils.framework import load_segmentation_models
print(tf.keras.Model.__module__)
print(load_segmentation_models().framework())
"""
    keras, segmentation = run_python(script, TF_USE_LEGACY_KERAS="0").splitlines()[-2:]
    assert keras.startswith("tf_keras")
    assert segmentation == "tf.keras"


def test_tensorflow_first_is_an_error_that_says_what_to_do(run_python):
    script = """
import tensorflow
tensorflow.keras.Model
try:
    import cityseg_utils
except Exception as error:
    print(type(error).__name__)
    print(error)
"""
    lines = [line.strip() for line in run_python(script).splitlines()]
    assert "FrameworkError" in lines
    assert "import cityseg_utils" in lines


def test_tensorflow_first_is_fine_with_the_right_keras(run_python):
    script = "import tensorflow; import cityseg_utils; cityseg_utils.framework.load_tensorflow()"
    run_python(script, TF_USE_LEGACY_KERAS="1")


def test_one_seed_gives_the_same_numbers_twice():
    tf = framework.load_tensorflow()

    def draw(seed):
        framework.set_seed(seed)
        old = np.random.random()  # noqa: NPY002  (what Keras' own shuffling uses)
        return random.random(), old, float(tf.random.uniform(()))

    assert draw(5) == draw(5) != draw(6)


def test_loading_says_nothing(run_python, start_python):
    """TensorFlow's C++ and segmentation-models both greet; in a notebook that only confuses."""
    script = "from cityseg_utils import framework; framework.load_segmentation_models()"
    process = start_python(script)
    assert process.communicate(timeout=300) == ("", "")
