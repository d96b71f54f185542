import json
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cityseg_utils import annotations, widgets
from cityseg_utils.annotations import AnswerLog
from cityseg_utils.datasets import find_pairs, open_dataset
from cityseg_utils.errors import DataError, LabelError, ShapeError
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme
from cityseg_utils.preprocessing import read_mask, read_pair

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


@pytest.mark.parametrize("layers", ["image", "truth", "prediction", "both"])
def test_the_twin_is_a_picture_with_the_same_content(layers):
    maps = {
        "image": (None, None),
        "truth": ([MASK], None),
        "prediction": (None, [MASK]),
        "both": ([MASK], [MASK]),
    }[layers]
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


# -- the annotator --------------------------------------------------------------------------------


class Browser:
    """What a browser would hear and say, at the other end of the widget's line."""

    def __init__(self, annotator):
        self.annotator, self.heard = annotator, []
        annotator.send = self._hear  # where ipywidgets 7 and 8 are alike

    def _hear(self, content, buffers=None):
        self.heard.append((content, buffers))

    def say(self, **content):
        data = {"method": "custom", "content": content}
        self.annotator._handle_msg({"content": {"data": data}, "buffers": []})
        return self.heard[-1]


@pytest.fixture
def annotated(val_pairs, tmp_path):
    log = AnswerLog(tmp_path / "answers", CITYSCAPES)
    likely = np.zeros((8, 16, CITYSCAPES.num_classes), np.float32)
    likely[..., 2], likely[..., 0] = 0.6, 0.4
    questions = [[((5, 1),), ((128, 3),)]] * len(val_pairs)
    return Browser(widgets.annotate(val_pairs, log, lambda k: likely, questions)), log


def test_an_annotator_shows_a_frame_its_guess_and_what_is_asked(annotated, val_pairs):
    browser, _ = annotated
    facts, maps = browser.say(op="look", index=1)
    named = dict(zip(facts["maps"], maps, strict=True))
    assert facts["op"] == "frame" and (facts["height"], facts["width"]) == (64, 128)
    assert (unpacked(named["guess"], (64, 128)) == 2).all()
    assert (unpacked(named["doubt"], (64, 128)) == 204).all()  # 0.2 before the next
    assert (unpacked(named["labels"], (64, 128)) == 254).all()
    assert facts["questions"][1]["pixels"] == [[128, 3]]
    assert facts["questions"][0]["candidates"][:2] == [2, 0]
    assert (facts["asked"], facts["done"], facts["version"]) == (8, 0, 0)


def test_an_annotator_stores_what_is_said_and_goes_on_where_it_was_left(annotated, val_pairs):
    browser, log = annotated
    for number, label in enumerate((2, VOID)):
        answers = [{"pixels": [[(5, 128)[number], 1]], "label": label}]
        said = browser.say(op="answer", index=0, version=number, call=number, answers=answers)[0]
        assert (said["op"], said["call"], said["done"]) == ("saved", number, number + 1)
    assert [x.label for x in log.answers] == [2, VOID]
    again = widgets.annotate(val_pairs, AnswerLog(log.path, CITYSCAPES), None, [[((5, 1),)]] * 4)
    assert again.start == 1
    assert repr(again) == "Annotator(4 frames, 2 answers)"
    facts, maps = browser.say(op="undo", index=3, version=2)
    assert (facts["index"], facts["done"], facts["answered"]) == (0, 1, [True, False])
    labels = unpacked(dict(zip(facts["maps"], maps, strict=True))["labels"], (64, 128))
    assert (labels[0, 5], (labels != 254).sum()) == (2, 1)


def test_an_answer_to_an_older_picture_is_refused(annotated):
    browser, log = annotated
    answers = [{"pixels": [[5, 1]], "label": 2}]
    browser.say(op="answer", index=0, version=0, call=1, answers=answers)
    said = browser.say(op="answer", index=0, version=0, call=2, answers=answers)[0]
    assert (said["op"], said["stale"]) == ("refused", True)
    assert "another window" in said["message"]
    assert len(log.answers) == 1


def test_each_answer_leaves_the_frame_s_label_map_or_says_why_not(val_pairs, tmp_path):
    log, folder = AnswerLog(tmp_path / "answers", CITYSCAPES), tmp_path / "saved"
    browser = Browser(widgets.annotate(val_pairs, log, folder=folder))
    answers = [{"pixels": [[5, 1]], "label": 2}]
    said = browser.say(op="answer", index=1, version=0, call=1, answers=answers)[0]
    (file,) = (folder / "labels").iterdir()
    mask = read_mask(file, CITYSCAPES)
    assert (mask[0, 5], (mask != VOID).sum(), said["warning"]) == (2, 1, "")
    assert (browser.say(op="undo", index=1, version=1)[0]["done"], log.answers) == (0, ())
    assert (read_mask(file, CITYSCAPES) == VOID).all()

    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("a file where the folder was")
    said = browser.say(op="answer", index=1, version=2, call=2, answers=answers)[0]
    assert said["op"] == "saved" and len(log.answers) == 1
    assert "the answer is saved, the frame's label map is not: " in said["warning"]


def test_an_annotator_refuses_what_does_not_fit(val_pairs, tmp_path):
    log = AnswerLog(tmp_path / "answers", CITYSCAPES)
    with pytest.raises(DataError, match="no frames to annotate"):
        widgets.annotate(val_pairs.iloc[:0], log)
    with pytest.raises(DataError, match="questions for 1 frames were given, there are 4"):
        widgets.annotate(val_pairs, log, questions=[[]])
    with pytest.raises(ShapeError, match="segments 0 are"):
        widgets.annotate(val_pairs, log, segments=[MASK] * 4)


def test_an_annotator_s_twin_is_a_picture_with_a_line_around_what_is_asked(val_pairs, tmp_path):
    log = AnswerLog(tmp_path / "answers", CITYSCAPES)

    def twin(questions=None):
        data = widgets.annotate(val_pairs, log, questions=questions).picture()
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)

    plain, asked = twin(), twin([[((32 * 128 + 64, 1),)]] * len(val_pairs))
    assert plain.shape[1] > 600
    rows, _ = np.nonzero(np.abs(asked - plain).max(-1) > 60)
    assert 0 < np.ptp(rows) < 0.2 * len(plain)


def test_a_phone_s_photograph_is_annotated_and_saved_upright(phone, tmp_path):
    row = {"image": phone, "mask": None, "split": "train", "city": "own", "frame": "phone"}
    pairs = pd.DataFrame([row])
    log = AnswerLog(tmp_path / "answers", CITYSCAPES)
    browser = Browser(widgets.annotate(pairs, log))
    facts, _ = browser.say(op="look", index=0)
    assert (facts["height"], facts["width"]) == (6, 4)
    answers = [{"pixels": [[0, 4]], "label": 10}]  # the first row of the upright picture
    browser.say(op="answer", index=0, version=0, call=1, answers=answers)
    annotations.save(tmp_path / "saved", pairs, log)
    opened, scheme = open_dataset(tmp_path / "saved")
    image, mask = read_pair(opened["image"][0], opened["mask"][0], scheme)
    assert image.shape == (6, 4, 3)
    assert (mask[0] == 10).all() and (mask[1:] == VOID).all()


@pytest.mark.parametrize("rate", [0, -1, 61, float("nan")])
def test_a_film_with_no_such_rate_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        widgets.view([np.zeros((2, 2, 3), np.uint8)], scheme=CITYSCAPES, rate=rate)
