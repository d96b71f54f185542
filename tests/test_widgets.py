import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from cityseg_utils import widgets
from cityseg_utils.datasets import find_pairs
from cityseg_utils.errors import DataError, LabelError, ShapeError
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme
from cityseg_utils.preprocessing import read_mask

IMAGE = np.full((4, 6, 3), 90, np.uint8)
MASK = np.array([[0, 0, 0, 1, 1, VOID]] * 4, np.uint8)


def unpacked(content, shape):
    return np.frombuffer(zlib.decompress(content), np.uint8).reshape(shape)


@pytest.fixture(scope="module")
def val_pairs(tiny_city):
    return find_pairs(tiny_city).query("split == 'val'")


def test_a_data_frame_is_enough(val_pairs):
    viewer = widgets.view(val_pairs, scheme=CITYSCAPES)
    assert viewer.names == [
        "elmsund 000000_000019",
        "elmsund 000001_000019",
        "farholt 000000_000019",
        "farholt 000001_000019",
    ]
    assert viewer.layers == ["image", "truth"]
    assert viewer.layer == "truth"
    assert viewer.scores == []
    assert repr(viewer) == "MaskViewer(4 images, 19 classes)"


def test_what_is_sent_is_the_label_file(val_pairs):
    viewer = widgets.view(val_pairs, scheme=CITYSCAPES)
    for k in (0, 2):
        viewer.index = k
        sent = unpacked(viewer.frame["truth"], (64, 128))
        np.testing.assert_array_equal(sent, read_mask(val_pairs["mask"].iloc[k], CITYSCAPES))
        picture = cv2.imdecode(np.frombuffer(viewer.frame["image"], np.uint8), cv2.IMREAD_COLOR)
        file = cv2.imread(str(val_pairs["image"].iloc[k]))
        assert np.abs(picture.astype(int) - file).mean() < 4  # JPEG


def test_all_256_values_arrive():
    scheme = ClassScheme("many", tuple(map(str, range(255))), ((1, 2, 3),) * 255, tuple(range(255)))
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    viewer = widgets.view([np.zeros((16, 16, 3), np.uint8)], [mask], scheme=scheme)
    np.testing.assert_array_equal(unpacked(viewer.frame["truth"], (16, 16)), mask)


def test_scores_of_each_image():
    guess = np.where(MASK == 1, 0, MASK)
    viewer = widgets.view([IMAGE] * 2, [MASK] * 2, [MASK, guess], CITYSCAPES, ["good", "bad"])
    assert viewer.layers == ["image", "truth", "prediction", "error"]
    assert viewer.scores[0] == {
        "image": "good",
        "mean IoU": 1.0,
        "accuracy": 1.0,
        "worst class": "road",
        "its IoU": 1.0,
    }
    assert viewer.scores[1]["worst class"] == "sidewalk"
    assert viewer.scores[1]["its IoU"] == 0
    assert viewer.scores[1]["mean IoU"] == pytest.approx(0.3)
    json.dumps(viewer.scores)


def test_confidence_is_sent_in_steps_of_a_255th():
    sure = np.linspace(0, 1, 24).reshape(4, 6)
    viewer = widgets.view([IMAGE], None, [MASK], CITYSCAPES, confidence=[sure])
    sent = unpacked(viewer.frame["confidence"], (4, 6))
    np.testing.assert_allclose(sent / 255, sure, atol=0.5 / 255)


def test_the_index_stays_within_the_images():
    viewer = widgets.view([IMAGE] * 3, [MASK] * 3, scheme=CITYSCAPES)
    viewer.index = 99
    assert (viewer.index, viewer.frame["index"]) == (2, 2)
    viewer.index = -5
    assert (viewer.index, viewer.frame["index"]) == (0, 0)


@pytest.mark.parametrize("layers", ["image", "truth", "both"])
def test_the_twin_is_a_picture_with_the_same_content(layers):
    maps = {"image": (None, None), "truth": ([MASK], None), "both": ([MASK], [MASK])}[layers]
    viewer = widgets.view([IMAGE], *maps, CITYSCAPES, names=["costs $5 and $6"])
    data, metadata = viewer._repr_mimebundle_()
    assert {"image/jpeg", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(data)
    assert "costs $5 and $6" in metadata["image/jpeg"]["alt"]
    picture = cv2.imdecode(np.frombuffer(viewer.picture(), np.uint8), cv2.IMREAD_COLOR)
    if layers != "image":
        road = CITYSCAPES.colors[0][::-1]
        near = np.abs(picture.astype(int) - road).max(-1) < 30  # JPEG
        assert near.sum() > 100


# -- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": []}, DataError, "no images to look at"),
        ({"images": [IMAGE], "truth": [MASK[:, :3]]}, ShapeError, "4 x 6, its truth is 4 x 3"),
        ({"images": [IMAGE], "truth": [MASK / 2]}, LabelError, "integer train ids.*float64"),
        ({"images": [IMAGE], "truth": [MASK + 30]}, LabelError, "holds .*30"),
        ({"images": [IMAGE], "truth": [IMAGE]}, ShapeError, "image 0"),
        ({"images": [IMAGE], "truth": [MASK] * 2}, DataError, "2 truth were given for 1 images"),
        ({"images": [IMAGE], "names": []}, DataError, "0 names were given for 1 images"),
        ({"images": [MASK]}, ShapeError, r"must be \(H, W, 3\) uint8 RGB"),
        ({"images": [IMAGE / 255]}, ShapeError, "float64"),
        (
            {"images": [IMAGE], "prediction": [MASK], "confidence": [MASK[:2] / 255]},
            ShapeError,
            "its confidence is 2 x 6",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_the_call(arguments, error, message):
    with pytest.raises(error, match=message):
        widgets.view(**arguments, scheme=CITYSCAPES)


def test_without_a_scheme_there_are_no_names():
    with pytest.raises(LabelError, match="give scheme="):
        widgets.view([IMAGE])


def test_a_mask_file_of_another_size_is_refused(tmp_path, write_picture):
    image = write_picture(tmp_path / "a.png", IMAGE)
    mask = write_picture(tmp_path / "b.png", MASK[:2])
    with pytest.raises(ShapeError, match=r"a.png: the image is 4 x 6, its truth is 2 x 6"):
        widgets.view([image], [mask], scheme=CITYSCAPES)
    with pytest.raises(DataError, match="gone.png"):
        widgets.view([image], [tmp_path / "gone.png"], scheme=CITYSCAPES)


def test_a_file_that_goes_bad_later_is_told_in_the_viewer(tmp_path, write_picture):
    images = [write_picture(tmp_path / f"{k}.png", IMAGE) for k in range(2)]
    viewer = widgets.view(images, scheme=CITYSCAPES)
    images[1].write_bytes(images[1].read_bytes()[:40])
    viewer.index = 1
    assert "1.png" in viewer.frame["fault"]
    viewer.index = 0
    assert "fault" not in viewer.frame


@pytest.fixture
def phone(tmp_path):
    """A photograph that is upright by its EXIF alone, 6 x 4 as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE).save(tmp_path / "phone.jpg", exif=exif)
    return tmp_path / "phone.jpg"


def test_a_phone_s_photograph_is_shown_upright_with_its_prediction(phone):
    viewer = widgets.view([phone], prediction=[MASK.T], scheme=CITYSCAPES)
    assert (viewer.frame["height"], viewer.frame["width"]) == (6, 4)
    with pytest.raises(ShapeError, match="the image is 6 x 4, its prediction is 4 x 6"):
        widgets.view([phone], prediction=[MASK], scheme=CITYSCAPES)


def test_a_phone_s_photograph_does_not_go_with_a_truth(phone):
    with pytest.raises(DataError, match="orientation 6"):
        widgets.view([phone], [MASK.T], scheme=CITYSCAPES)
