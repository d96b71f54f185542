import io
import os
import zipfile

import numpy as np
import pytest

from cityseg_utils import encoders, framework, minicity, models, prediction, storage
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError, LabelError, StorageError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import CAMVID, CITYSCAPES, ClassScheme
from cityseg_utils.models import build_model
from cityseg_utils.preprocessing import read_mask

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


@pytest.fixture(scope="module")
def pretrained():
    """The network that learns in minutes, for images of any size."""
    return build_model(5, (None, None, 3), models.SMALL, encoder_weights="imagenet")


def test_the_small_network_is_small(pretrained):
    assert pretrained.count_params() == pytest.approx(3.6e6, rel=0.01)
    resnet34 = build_model(5, (None, None, 3))
    assert models.operations(pretrained, (96, 192)) == pytest.approx(0.77e9, rel=0.03)
    assert models.operations(resnet34, (96, 192)) > 5.5 * models.operations(pretrained, (96, 192))


def test_the_small_network_answers_at_the_size_of_the_image(pretrained):
    images = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    output = pretrained(images).numpy()
    assert output.shape == (2, 64, 96, 5) and output.dtype == np.float32
    np.testing.assert_allclose(output.sum(-1), 1, rtol=1e-5)
    assert models.nearest_size(pretrained, (50, 131)) == (64, 128)


def test_the_small_network_starts_from_imagenet_or_at_random(pretrained):
    weights = encoders.imagenet_weights()
    stem = weights["_conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(pretrained.get_layer("encoder_stem").get_weights()[0], stem)
    drawn = build_model(5, (None, None, 3), models.SMALL)
    assert not np.isclose(drawn.get_layer("encoder_stem").get_weights()[0], stem).any()
    with pytest.raises(ValueError, match="'imagenet' or None: 'mine.h5'"):
        build_model(5, (None, None, 3), models.SMALL, encoder_weights="mine.h5")


@pytest.mark.parametrize("architecture", ["Linknet", "FPN", "PSPNet"])
def test_only_unet_stands_on_the_small_encoder(architecture):
    with pytest.raises(ValueError, match=f"there is only Unet, got '{architecture}'"):
        build_model(5, (96, 96, 3), models.SMALL, architecture)


def test_the_small_network_frozen_keeps_its_whole_encoder():
    """BatchNorm's averages, too: what ImageNet knows of photographs is in them as well."""
    model = build_model(5, (None, None, 3), models.SMALL, "Unet", "imagenet", freeze_encoder=True)
    images, truth = np.ones((2, 64, 96, 3), np.float32), np.eye(5)[np.zeros((2, 64, 96), int)]

    def moved():
        before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
        model.compile("sgd", "categorical_crossentropy")
        model.train_on_batch(images, truth)
        after = {layer.name: layer.get_weights() for layer in model.layers}
        same = {name: all(map(np.array_equal, before[name], after[name])) for name in before}
        return {name for name, kept in same.items() if not kept}

    encoder = {x.name for x in model.layers if x.name.startswith("encoder_") and x.weights}
    assert len(encoder) == 96
    assert moved() == {layer.name for layer in model.layers if layer.weights} - encoder
    models.unfreeze(model)
    assert encoder < moved()


@pytest.mark.parametrize(
    "network", [("resnet18", "Unet"), ("mobilenetv2", "Linknet"), (models.SMALL, "Unet")]
)
def test_operations_agree_with_tensorflows_profiler(network):
    """The profiler also counts biases and the like, which are few."""
    model = build_model(5, (None, None, 3), *network)
    image = tf.TensorSpec((1, 64, 96, 3))
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(image).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    expected = profiler.profile(graph, options=options.with_empty_output().build())
    counted = models.operations(model, (64, 96))
    assert counted == pytest.approx(expected.total_float_ops, rel=0.005)


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_convolutions_until_it_is_unfrozen():
    model = build_model(5, (64, 96, 3), "mobilenetv2", "Linknet", freeze_encoder=True)
    encoder = [layer for layer in model.layers if layer.name.startswith(("Conv", "block_"))]
    encoder = [layer for layer in encoder if "kernel" in "".join(w.name for w in layer.weights)]
    decoder = [layer for layer in model.layers if layer.name.startswith("decoder")]
    decoder = [layer for layer in decoder if layer.name.endswith("conv")]
    images, truth = np.ones((1, 64, 96, 3), np.float32), np.eye(5)[np.zeros((1, 64, 96), int)]

    def moved(layers):
        before = [layer.get_weights()[0] for layer in layers]
        model.compile("sgd", "categorical_crossentropy")
        model.train_on_batch(images, truth)
        after = [layer.get_weights()[0] for layer in layers]
        return [not np.array_equal(*two) for two in zip(before, after, strict=True)]

    assert len(encoder) > 30 and len(decoder) > 10
    assert not any(moved(encoder))
    assert all(moved(decoder))
    models.unfreeze(model)
    assert all(moved(encoder))


@pytest.mark.parametrize("shape", [(60, 64, 3), (64, 100, 3), (16, 16, 3)])
def test_sizes_are_multiples_of_32(shape):
    with pytest.raises(ValueError, match="multiples of 32"):
        build_model(3, shape)


@pytest.mark.parametrize("shape", [(64, 64, 3), (None, None, 3), (96, 100, 3)])
def test_pspnet_has_multiples_of_its_own(shape):
    with pytest.raises(ValueError, match="PSPNet needs multiples of 48"):
        build_model(3, shape, architecture="PSPNet")
    assert build_model(3, (48, 144, 3), architecture="PSPNet").output_shape == (None, 48, 144, 3)


@pytest.mark.parametrize("architecture", ["Unet", "Linknet", "FPN"])
def test_a_network_of_any_size_says_what_must_divide_it(architecture):
    model = build_model(3, (None, None, 3), "mobilenetv2", architecture)
    models.check_fits(model, (64, 96))
    for size in ((48, 64), (64, 100), (0, 64)):
        with pytest.raises(ValueError, match=f"multiples of 32, got {size[0]} x {size[1]}"):
            models.check_fits(model, size)
    assert models.nearest_size(model, (50, 131)) == (64, 128)
    assert models.nearest_size(model, (5, 64)) == (32, 64)


def test_a_network_of_one_size_takes_no_other(small):
    assert models.nearest_size(small, (500, 500)) == (64, 96)
    with pytest.raises(ValueError, match=r"takes images of \(64, 96\), got \(64, 64\)"):
        models.check_fits(small, (64, 64))


def test_any_size_fits_a_network_that_halves_nothing():
    inputs = tf.keras.Input((None, None, 3))
    model = tf.keras.Model(inputs, tf.keras.layers.Conv2D(2, 3, padding="same")(inputs))
    models.check_fits(model, (37, 53))
    assert models.nearest_size(model, (37, 53)) == (37, 53)


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


def test_encoder_weights_from_a_file(tmp_path):
    framework.load_segmentation_models()  # first, as it decides which Keras all use
    from classification_models.tfkeras import Classifiers

    encoder = Classifiers.get("resnet18")[0]((64, 64, 3), weights=None, include_top=False)
    encoder.save_weights(tmp_path / "encoder.h5")
    model = build_model(3, (64, 64, 3), "resnet18", encoder_weights=tmp_path / "encoder.h5")
    given = encoder.get_layer("stage4_unit2_conv2").get_weights()[0]
    np.testing.assert_array_equal(model.get_layer("stage4_unit2_conv2").get_weights()[0], given)
    with pytest.raises(DataError, match=r"encoder\.h5: cannot be read .* a resnet34 encoder"):
        build_model(3, (64, 64, 3), "resnet34", encoder_weights=tmp_path / "encoder.h5")


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_encoder_weights_that_are_none(tmp_path, content):
    if content:
        (tmp_path / "encoder.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"encoder\.h5: cannot be read"):
        build_model(3, (64, 64, 3), "resnet18", encoder_weights=tmp_path / "encoder.h5")


# -- weights ------------------------------------------------------------------------------------


def two_layers(filters=2):
    layers = tf.keras.layers
    shape = (4, 4, 3)
    return tf.keras.Sequential(
        [layers.Conv2D(filters, 1, input_shape=shape), layers.BatchNormalization()]
    )


def test_weights_written_are_the_weights_read(tmp_path):
    model, other = two_layers(), two_layers()
    models.save_weights(model, tmp_path / "w.npz")
    models.load_weights(other, tmp_path / "w.npz")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path):
    model, other = two_layers(), two_layers(filters=3)
    models.save_weights(model, tmp_path / "w.npz")
    before = other.get_weights()
    with pytest.raises(DataError, match="another architecture"):
        models.load_weights(other, tmp_path / "w.npz")
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("content", [None, b"", b"PK", b"no weights at all"])
def test_damaged_weights_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(DataError, match="w.npz: cannot be read"):
        models.load_weights(two_layers(), tmp_path / "w.npz")


def test_truncated_weights_are_refused(tmp_path):
    models.save_weights(two_layers(), tmp_path / "w.npz")
    content = (tmp_path / "w.npz").read_bytes()
    for length in range(1, len(content), 97):
        (tmp_path / "w.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match="cannot be read"):
            models.load_weights(two_layers(), tmp_path / "w.npz")


class Stranger:
    """Not to be made from a file."""


def write_other_kind(path, kind):
    weights = [weight.numpy() for weight in two_layers().weights]
    if kind == "HDF5":
        two_layers().save_weights(path.with_suffix(".h5"))
        path.with_suffix(".h5").rename(path)
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, weights[0])
    elif kind == "other names":
        np.savez(path, **{f"layer {k}": weight for k, weight in enumerate(weights)})
    elif kind == "objects":
        np.savez(path, np.array([Stranger()]), *weights[1:])
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "an archive of texts":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("arr_0.npy", "no array")


@pytest.mark.parametrize(
    "kind",
    ["HDF5", "one array", "other names", "objects", "a folder", "a pipe", "an archive of texts"],
)
@pytest.mark.parametrize("load", [models.load_weights, models.load_matching])
def test_files_of_other_kinds_are_refused(tmp_path, kind, load):
    write_other_kind(tmp_path / "w.npz", kind)
    with pytest.raises(
        DataError, match="w.npz: (cannot be read as weights|.*another architecture)"
    ):
        load(two_layers(), tmp_path / "w.npz")


def header_of(shape):
    """The first bytes of an array's file, which tell its shape."""
    content, layout = io.BytesIO(), {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, layout)
    return content.getvalue()


@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("load", [models.load_weights, models.load_matching])
def test_shapes_are_compared_before_anything_is_unpacked(tmp_path, place, load):
    """One array says that it has 14 GB; none has any data, so to read one were another error."""
    shapes = [tuple(weight.shape) for weight in two_layers().weights]
    shapes[place] = (60_000, 60_000)
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, shape in enumerate(shapes):
            archive.writestr(f"arr_{k}.npy", header_of(shape))
    wrong = load is models.load_weights or place == 0
    expected = rf"weight {place} is \(60000, 60000\) float32" if wrong else "cannot be read"
    with pytest.raises(DataError, match=expected):
        load(two_layers(), tmp_path / "w.npz")


def test_small_kernels_without_their_scale_are_refused(tmp_path):
    """Else whole numbers up to 127 would pass for weights."""
    model = two_layers()
    models.save_small(model, tmp_path / "small.npz")
    with np.load(tmp_path / "small.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != "0 scale"}
    np.savez(tmp_path / "small.npz", **arrays)
    with pytest.raises(DataError, match="another architecture"):
        models.load_weights(model, tmp_path / "small.npz")


# -- weights with 8 bits --------------------------------------------------------------------------


def test_eight_bits_are_nearly_as_good(small, tmp_path):
    models.save_weights(small, tmp_path / "full.npz")
    models.save_small(small, tmp_path / "small.npz")
    assert (tmp_path / "small.npz").stat().st_size < 0.3 * (tmp_path / "full.npz").stat().st_size
    images = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    before, exact = small(images).numpy(), [weight.copy() for weight in small.get_weights()]
    models.load_weights(small, tmp_path / "small.npz")
    for weight, stored in zip(exact, small.get_weights(), strict=True):
        if weight.ndim < 2:
            np.testing.assert_array_equal(weight, stored)
        else:  # half a step of 127 to either side, for each output channel
            step = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / 127
            assert (np.abs(weight - stored) <= 0.51 * step + 1e-12).all()
    np.testing.assert_allclose(small(images).numpy(), before, atol=0.1)
    models.load_weights(small, tmp_path / "full.npz")
    np.testing.assert_array_equal(small(images).numpy(), before)


@pytest.mark.parametrize("keep", [0, 50, 0.5, 0.999])
def test_damaged_small_weights_are_refused(small, tmp_path, keep):
    models.save_small(small, tmp_path / "small.npz")
    content = (tmp_path / "small.npz").read_bytes()
    cut = int(keep if keep > 1 else keep * len(content))
    (tmp_path / "small.npz").write_bytes(content[:cut])
    with pytest.raises(DataError, match=r"small.npz: cannot be read as weights"):
        models.load_weights(small, tmp_path / "small.npz")


def test_small_weights_of_another_network_are_refused(small, unet_resnet34, tmp_path):
    models.save_small(small, tmp_path / "small.npz")
    with pytest.raises(DataError, match="another architecture"):
        models.load_weights(unet_resnet34, tmp_path / "small.npz")


# -- weights for other classes --------------------------------------------------------------------


def test_all_but_the_last_layer_is_taken_over(small, tmp_path):
    models.save_weights(small, tmp_path / "five.npz")
    other = build_model(7, (64, 96, 3), "mobilenetv2", "Linknet")
    before = other.get_weights()
    models.load_matching(other, tmp_path / "five.npz")
    after = other.get_weights()
    for ours, theirs in zip(after[:-2], small.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for own, kept in zip(before[-2:], after[-2:], strict=True):
        np.testing.assert_array_equal(own, kept)


def test_for_the_same_classes_everything_is_taken_over(small, tmp_path):
    models.save_weights(small, tmp_path / "five.npz")
    same = build_model(5, (64, 96, 3), "mobilenetv2", "Linknet")
    models.load_matching(same, tmp_path / "five.npz")
    for ours, theirs in zip(same.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_network_has_no_matching_weights(small, unet_resnet34, tmp_path):
    models.save_weights(small, tmp_path / "five.npz")
    with pytest.raises(DataError, match="another architecture"):
        models.load_matching(unet_resnet34, tmp_path / "five.npz")


# -- the reference model --------------------------------------------------------------------------


def test_the_reference_knows_streets_that_it_has_not_seen(tmp_path):
    root = minicity.generate(tmp_path / "city", train=0, val=4, test=0)
    val = find_pairs(root)
    scored = prediction.evaluate(
        models.load_reference(), val, CITYSCAPES, size=models.REFERENCE_SIZE
    )
    assert scored.pixel_accuracy() > 0.9
    assert scored.iou()["road"] > 0.95
    assert scored.mean_iou() > 0.5  # of four scenes; 0.79 on four hundred


@pytest.mark.slow
def test_the_reference_in_classes_of_camvid_adds_probabilities_up():
    images = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    ours = models.load_reference()(images).numpy()
    theirs = models.load_reference(CAMVID)(images).numpy()
    assert theirs.shape == (1, 64, 64, 11)
    np.testing.assert_allclose(theirs.sum(-1), 1, atol=1e-5)
    cars = [CITYSCAPES.names.index(name) for name in ("car", "truck", "bus", "train")]
    expected = ours[..., cars].sum(-1)
    np.testing.assert_allclose(theirs[..., CAMVID.names.index("car")], expected, atol=1e-5)


def test_the_reference_in_other_classes_needs_examples():
    scheme = ClassScheme("two", ("road", "moon"), ((0, 0, 0), (9, 9, 9)), (0, 1))
    with pytest.raises(LabelError, match="'two' is not known; give examples=pairs"):
        models.load_reference(scheme)


@pytest.mark.slow
def test_the_reference_learns_from_examples_what_its_classes_are_called(tiny_city, tmp_path):
    """Here by names that it has never heard of, and with two classes become one."""
    pairs = find_pairs(tiny_city)
    own = {"road": "tarmac", "sky": "heaven", "building": "house", "wall": "house"}
    names = tuple(dict.fromkeys(own.get(name, "rest") for name in CITYSCAPES.names))
    scheme = ClassScheme("own", names, ((1, 2, 3),) * len(names), tuple(range(len(names))), (255,))
    table = np.full(256, 255, np.uint8)
    table[:19] = [names.index(own.get(name, "rest")) for name in CITYSCAPES.names]
    for k, path in enumerate(pairs["mask"]):
        storage.write_png(tmp_path / f"{k}.png", table[read_mask(path, CITYSCAPES)])
        pairs.loc[k, "mask"] = tmp_path / f"{k}.png"
    train, val = (pairs[pairs["split"] == name] for name in ("train", "val"))
    model = models.load_reference(scheme, train)
    iou = prediction.evaluate(model, val, scheme, size=models.REFERENCE_SIZE).iou()
    assert iou["tarmac"] > 0.9
    assert iou["heaven"] > 0.5
    assert iou["house"] > 0.5


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "no digest"])
def test_a_damaged_reference_is_refused(tmp_path, monkeypatch, damage):
    path = tmp_path / models.REFERENCE.name
    content = bytearray(models.REFERENCE.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "cut" else content)
    if damage != "no digest":
        digest = models.REFERENCE.with_suffix(".sha256")
        path.with_suffix(".sha256").write_text(digest.read_text())
    monkeypatch.setattr(models, "REFERENCE", path)
    expected = "is damaged" if damage in ("flip", "cut") else "cannot be read"
    with pytest.raises(DataError, match=f"{models.REFERENCE.name[:-4]}.*{expected}"):
        models.load_reference()


@pytest.mark.parametrize(
    ("size", "familiar"),
    [
        ((256, 512), (256, 512)),
        ((1024, 2048), (256, 512)),
        ((4000, 3000), (416, 320)),
        ((720, 960), (320, 416)),
        ((10, 9000), (32, 10848)),
    ],
)
def test_a_photograph_is_shown_as_large_as_the_reference_model_knows_streets(size, familiar):
    assert models.reference_size(size) == familiar
