import numpy as np
import pytest

from cityseg_utils.errors import StorageError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.models import build_model

tf = load_tensorflow()


def batch_norms(model):
    return [x for x in model.layers if isinstance(x, tf.keras.layers.BatchNormalization)]


@pytest.fixture(scope="module")
def small():
    return build_model(5, (64, 96, 3), "mobilenetv2", "Linknet", batch_norm_momentum=0.9)


@pytest.fixture(scope="module")
def unet_resnet34():
    """The one real network of these tests: that of lesson 05."""
    return build_model(19, (64, 128, 3))


def test_output_holds_probabilities_of_every_class(small):
    images = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    output = small(images).numpy()
    assert output.shape == (2, 64, 96, 5)
    assert output.dtype == np.float32
    assert output.min() >= 0
    np.testing.assert_allclose(output.sum(-1), 1, rtol=1e-5)


def test_batch_norm_momentum_reaches_every_layer(small):
    assert len(batch_norms(small)) > 50
    assert {layer.momentum for layer in batch_norms(small)} == {0.9}


def test_unet_resnet34_is_the_default(unet_resnet34):
    assert unet_resnet34.output_shape == (None, 64, 128, 19)
    assert unet_resnet34.count_params() == pytest.approx(24.4e6, rel=0.01)
    assert {layer.momentum for layer in batch_norms(unet_resnet34)} == {0.99}


@pytest.mark.parametrize("shape", [(60, 64, 3), (64, 100, 3), (16, 16, 3)])
def test_sizes_are_multiples_of_32(shape):
    with pytest.raises(ValueError, match="multiples of 32"):
        build_model(3, shape)


def test_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="DeepLab"):
        build_model(3, (64, 64, 3), architecture="DeepLab")


def test_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="resnet35"):
        build_model(3, (64, 64, 3), "resnet35")


def test_imagenet_weights_without_a_network(tmp_path):
    try:
        build_model(3, (64, 64, 3), "mobilenetv2", encoder_weights="imagenet")
    except StorageError as error:
        assert "encoder_weights=None" in str(error)
    else:
        pytest.skip("there is a network, or the weights are here already")
