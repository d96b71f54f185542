"""What leaves the notebook says what the network said in it."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from cityseg_utils import datasets, deployment, framework, models, prediction, preprocessing
from cityseg_utils.errors import DataError
from cityseg_utils.labels import CITYSCAPES

tf = framework.load_tensorflow()
SIZE = (64, 128)
ENGINES = ("onnxruntime", "openvino")


def needs(name):
    """Skip a test where a package of the extra `export` is missing, but not in CI."""
    if not os.environ.get("CITYSEG_NEEDS_INDEX"):
        pytest.importorskip(name)


@pytest.fixture(scope="module")
def model():
    return models.load_reference()


@pytest.fixture(scope="module")
def streets(tiny_city):
    pairs = datasets.find_pairs(tiny_city)
    return pairs[pairs["split"] == "val"]


@pytest.fixture(scope="module")
def images(streets):
    pictures = [preprocessing.read_image(path, SIZE) for path in streets["image"]]
    return np.stack(pictures) / np.float32(255)


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    needs("tf2onnx")
    return deployment.to_onnx(model, tmp_path_factory.mktemp("onnx") / "model.onnx", SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_another_engine_says_the_same(model, images, onnx_file, engine):
    needs(engine)
    deployed = deployment.Deployed(onnx_file, engine)
    assert deployed.input_shape == (None, *SIZE, 3)
    expected, found = model.predict(images, verbose=0), deployed.predict_on_batch(images)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.mean(deployment.agreement(expected, found)) >= 0.9999


@pytest.mark.slow
def test_a_deployed_network_takes_a_model_s_place(model, streets, onnx_file):
    needs("onnxruntime")
    deployed = deployment.Deployed(onnx_file, threads=1)
    ours = prediction.evaluate(deployed, streets, CITYSCAPES)
    expected = prediction.evaluate(model, streets, CITYSCAPES, SIZE)
    assert ours.mean_iou() == pytest.approx(expected.mean_iou(), abs=1e-3)
    with pytest.raises(ValueError, match=r"model.onnx. takes images of \(64, 128\)"):
        prediction.evaluate(deployed, streets, CITYSCAPES, (32, 64))


@pytest.mark.slow
def test_the_reference_in_eight_bits_loses_next_to_nothing(model, images, onnx_file, tmp_path):
    needs("onnxruntime")
    small = deployment.to_onnx(model, tmp_path / "small.onnx", SIZE, small=True)
    assert small.stat().st_size < 5_000_000 < onnx_file.stat().st_size
    expected, found = model.predict(images, verbose=0), deployment.Deployed(small)
    assert min(deployment.agreement(expected, found.predict_on_batch(images))) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("float32", 0.9999), ("float16", 0.995)])
def test_tensorflow_lite_says_the_same(model, images, tmp_path, kind, least):
    path = deployment.to_tflite(model, tmp_path / "model.tflite", SIZE, kind)
    found = deployment.Deployed(path).predict_on_batch(images)
    assert np.mean(deployment.agreement(model.predict(images, verbose=0), found)) >= least


@pytest.mark.slow
def test_int8_is_smaller_and_near(model, images, tmp_path):
    whole = deployment.to_tflite(model, tmp_path / "int8.tflite", SIZE, "int8", images)
    assert whole.stat().st_size < 4_500_000
    found = deployment.Deployed(whole).predict_on_batch(images)
    assert found.dtype == np.float32
    assert np.mean(deployment.agreement(model.predict(images, verbose=0), found)) > 0.8


def test_what_cannot_be_converted_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="multiples of 32"):
        deployment.to_tflite(model, tmp_path / "x.tflite", (50, 64))
    with pytest.raises(ValueError, match="kind must be one of"):
        deployment.to_tflite(model, tmp_path / "x.tflite", SIZE, "int4")
    with pytest.raises(ValueError, match="typical frames"):
        deployment.to_tflite(model, tmp_path / "x.tflite", SIZE, "int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.onnx", "x.tflite"])
def test_what_is_no_network_is_refused(tmp_path, name):
    needs("onnxruntime")
    (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(DataError, match=rf"{name}: .* cannot read it as a network"):
        deployment.Deployed(tmp_path / name)
    with pytest.raises(ValueError, match="engine must be one of"):
        deployment.Deployed(tmp_path / name, "tensorrt")


@pytest.mark.slow
def test_a_saved_model_answers_by_its_signature(model, images, tmp_path):
    loaded = tf.saved_model.load(str(deployment.to_saved_model(model, tmp_path / "saved")))
    (answer,) = loaded.signatures["serving_default"](image=tf.constant(images)).values()
    np.testing.assert_allclose(answer, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_a_folder_segments_without_tensorflow(model, streets, tmp_path):
    needs("onnxruntime")
    folder = deployment.to_folder(model, tmp_path / "street", SIZE, CITYSCAPES)
    assert json.loads((folder / "classes.json").read_text())["names"] == list(CITYSCAPES.names)
    street = tmp_path / "street.png"
    cv2.imwrite(str(street), cv2.imread(str(streets["image"].iloc[0])))
    without = (
        f"import runpy, sys; sys.modules['tensorflow'] = None; sys.argv[1:] = [{str(tmp_path)!r}]"
    )
    run = f"{without}; runpy.run_path({str(folder / 'segment.py')!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", run], check=True)
    found = cv2.imread(str(tmp_path / "street_classes.png"), cv2.IMREAD_GRAYSCALE)
    (expected,) = prediction.predict(model, [streets["image"].iloc[0]], SIZE)
    assert (found == expected.argmax(-1)).mean() > 0.999
    assert cv2.imread(str(tmp_path / "street_painted.png")).shape == (*found.shape, 3)
    subprocess.run([sys.executable, "-c", run], check=True)  # its own files are no pictures to it
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["standard", "mobilenetv2"])
def test_a_folder_normalises_as_the_network_has_learned(model, streets, tmp_path, normalization):
    needs("onnxruntime")
    folder = deployment.to_folder(model, tmp_path / "street", SIZE, CITYSCAPES, normalization)
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    picture = cv2.imread(str(streets["image"].iloc[0]))
    cv2.imwrite(str(large), picture)
    cv2.imwrite(str(small), picture[: SIZE[0] // 2, : SIZE[1] // 2])
    subprocess.run([sys.executable, folder / "segment.py", large, small], check=True)
    expected = prediction.predict(model, [large, small], SIZE, normalization)
    for path, answer in zip((large, small), expected, strict=True):
        found = cv2.imread(str(path.with_name(f"{path.stem}_classes.png")), cv2.IMREAD_GRAYSCALE)
        assert (found == answer.argmax(-1)).mean() > 0.999


def test_a_network_that_computes_in_16_bits_is_refused(tmp_path):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = models.build_model(5, (*SIZE, 3), models.SMALL)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for write in (
        lambda: deployment.to_tflite(model, tmp_path / "street.tflite", SIZE),
        lambda: deployment.to_saved_model(model, tmp_path / "saved"),
    ):
        with pytest.raises(ValueError, match="computes in 16 bits.*load its weights"):
            write()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_neither_picture_nor_film_is_named(model, tmp_path):
    needs("onnxruntime")
    folder = deployment.to_folder(model, tmp_path / "street", SIZE, CITYSCAPES)
    command = [sys.executable, folder / "segment.py", tmp_path / "nowhere.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nowhere.png: neither a picture nor a film" in done.stderr
