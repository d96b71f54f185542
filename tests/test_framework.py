import random

import numpy as np
import pytest

from cityseg_utils import framework, models
from cityseg_utils.losses import DiceLoss

FLOORS_0_AND_1 = ["labels", "storage", "datasets", "preprocessing", "metrics", "plots", "minicity"]


@pytest.mark.parametrize("room", ["", *(f".{room}" for room in FLOORS_0_AND_1)])
def test_import_loads_no_tensorflow(run_python, room):
    script = "import importlib, sys; importlib.import_module('cityseg_utils' + sys.argv[1])\n"
    script += "print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert run_python(script, room).strip() == "False"


def test_import_alone_loads_nothing_that_takes_long(run_python):
    script = "import sys, cityseg_utils\n"
    script += "print({'tensorflow', 'pandas', 'matplotlib', 'IPython', 'cv2'} & set(sys.modules))"
    assert run_python(script).strip() == "set()"


def test_every_finished_room_can_be_reached(run_python):
    script = (
        "import cityseg_utils as cs; print(cs.labels.CITYSCAPES.num_classes, 'labels' in dir(cs))"
    )
    assert run_python(script).split() == ["19", "True"]


def test_unknown_room(run_python):
    out = run_python("import cityseg_utils as cs; cs.kitchen", code=1)
    assert "AttributeError: module 'cityseg_utils' has no attribute 'kitchen'" in out


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_loading_says_nothing(run_python, start_python):
    """TensorFlow's C++ and segmentation-models both greet; in a notebook that only confuses."""
    script = "from cityseg_utils import framework; framework.load_segmentation_models()"
    process = start_python(script)
    assert process.communicate(timeout=300) == ("", "")


@pytest.mark.parametrize(("said", "left"), [("", "1"), ("0", "0")])
def test_onednn_is_on_unless_a_user_says_otherwise(run_python, said, left):
    script = """
import os, platform, sys
os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
if sys.argv[1]:
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = sys.argv[1]
platform.machine = lambda: "x86_64"
import cityseg_utils
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
    assert run_python(script, said).strip() == left


@pytest.mark.parametrize(
    ("flags", "onednn", "expected"),
    [
        ("fpu avx2 fma", "1", "float32"),
        ("avx512f avx512_vnni", "1", "float32"),
        ("avx512f avx512_bf16", "1", "mixed_bfloat16"),
        ("amx_bf16 amx_tile", "1", "mixed_bfloat16"),
        ("avx512f avx512_bf16", "0", "float32"),
        ("fp asimd bf16", "1", "float32"),  # of an ARM processor
        ("", "1", "float32"),  # no Linux
    ],
)
def test_a_processor_computes_in_what_it_multiplies(monkeypatch, flags, onednn, expected):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    assert framework._fastest([], f"processor : 0\nflags\t\t: {flags}\n") == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([(6, 1)], "float32"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(10, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
    ],
)
def test_gpus_compute_in_what_all_of_them_have(capabilities, expected):
    assert framework._fastest(capabilities, "flags : avx512_bf16") == expected


def test_a_precision_is_taken_as_said(monkeypatch):
    monkeypatch.setenv("CITYSEG_PRECISION", "mixed_float16")
    assert framework.precision() == "mixed_float16"
    assert framework.precision("float32") == "float32"
    monkeypatch.setenv("CITYSEG_PRECISION", "half")
    with pytest.raises(ValueError, match="CITYSEG_PRECISION must be auto, float32, .* not 'half'"):
        framework.precision()
    monkeypatch.delenv("CITYSEG_PRECISION")
    assert framework.precision() in framework.PRECISIONS


@pytest.fixture
def determinism():
    """TensorFlow's own word for whether it is asked for; afterwards it is, as for all tests."""
    framework.set_seed(0)
    from tensorflow.python.framework import config

    yield config.is_op_determinism_enabled
    config.enable_op_determinism()


def compiled(architecture):
    model = models.build_model(3, (96, 96, 3), "resnet18", architecture)
    model.compile("sgd", DiceLoss())
    return model


def test_a_gpu_trains_even_where_it_cannot_be_deterministic(determinism, capsys):
    """Every U-Net enlarges by nearest neighbours, whose gradient no GPU does the same way twice."""
    unet = compiled("Unet")
    assert framework.nondeterministic_operations(unet) == ["ResizeNearestNeighborGrad"]
    for _ in range(2):
        with framework.deterministic(unet, gpu=True):
            assert not determinism()
        assert determinism()
    said = capsys.readouterr().err
    assert said.count("no deterministic ResizeNearestNeighborGrad") == 1
    with framework.deterministic(unet, gpu=False):
        assert determinism()


def test_a_gpu_is_deterministic_where_it_can_be(determinism, capsys):
    pspnet = compiled("PSPNet")
    from tensorflow.python.framework import config

    config.disable_op_determinism()
    with framework.deterministic(pspnet, gpu=True):
        assert determinism()
    assert not determinism()
    assert capsys.readouterr().err == ""


def test_frozen_averages_of_batch_norm_are_not_deterministic():
    layers = framework.load_tensorflow().keras.layers
    norm = layers.BatchNormalization()
    steps = [layers.Conv2D(4, 3), norm, layers.Conv2D(2, 3)]
    model = framework.load_tensorflow().keras.Sequential(steps)
    model.build((None, 16, 16, 3))
    for trainable, found in ((True, []), (False, ["FusedBatchNormGradV3"])):
        norm.trainable = trainable
        model.compile("sgd", "mse")
        assert framework.nondeterministic_operations(model) == found


def test_metrics_count_among_the_operations(determinism):
    from cityseg_utils.training import MeanIoU

    model = framework.load_tensorflow().keras.Sequential()
    model.add(framework.load_tensorflow().keras.layers.Conv2D(3, 1, input_shape=(8, 8, 3)))
    model.compile("sgd", "mse", metrics=[MeanIoU(3)])
    assert framework.nondeterministic_operations(model) == ["DenseBincount"]
