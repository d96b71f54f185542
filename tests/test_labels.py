import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label
from cityscapesscripts.helpers.labels import labels as OFFICIAL
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cityseg_utils.errors import CitysegError, DataError, LabelError
from cityseg_utils.labels import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_FULL,
    CITYSCAPES_TO_CAMVID,
    VOID,
    ClassScheme,
    distinct_colors,
    merging,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)
PAIR = ClassScheme("pair", ("left", "right"), (RED, BLUE), (7, 11), (0, 3))


def test_cityscapes_has_19_classes():
    assert CITYSCAPES.num_classes == 19


@pytest.mark.parametrize(
    "label", [x for x in OFFICIAL if not x.ignoreInEval], ids=lambda label: label.name
)
def test_cityscapes_row_is_the_official_one(label):
    k = label.trainId
    row = CITYSCAPES.names[k], CITYSCAPES.colors[k], CITYSCAPES.ids[k]
    assert row == (label.name, label.color, label.id)


@pytest.mark.parametrize("raw", range(34))
def test_remap_gives_the_official_train_id(raw):
    assert CITYSCAPES.remap(np.uint8([raw])).tolist() == [id2label[raw].trainId]


@pytest.mark.parametrize("label", [x for x in OFFICIAL if x.ignoreInEval and x.id >= 0])
def test_every_ignored_id_is_void(label):
    assert CITYSCAPES.remap(np.uint8([label.id])).tolist() == [VOID]


def test_cityscapes_full_keeps_every_id():
    ids = np.arange(34, dtype=np.uint8)
    assert CITYSCAPES_FULL.remap(ids).tolist() == list(range(34))
    assert CITYSCAPES_FULL.names == tuple(id2label[i].name for i in range(34))


def test_camvid_has_11_classes_and_11_is_void():
    assert CAMVID.num_classes == 11
    assert CAMVID.remap(np.arange(12, dtype=np.uint8)).tolist() == [*range(11), VOID]
    assert (CAMVID.names[0], CAMVID.names[3], CAMVID.names[8]) == ("sky", "road", "car")


def test_remap_and_unmap_by_hand():
    raw = np.uint8([[7, 11], [0, 3]])
    assert PAIR.remap(raw).tolist() == [[0, 1], [VOID, VOID]]
    assert PAIR.unmap(np.uint8([[0, 1], [VOID, VOID]])).tolist() == [[7, 11], [0, 0]]


@pytest.mark.parametrize("scheme", [CITYSCAPES, CAMVID, PAIR], ids=lambda scheme: scheme.name)
@given(data=st.data())
def test_unmap_then_remap_changes_nothing(scheme, data):
    train_ids = st.sampled_from([*range(scheme.num_classes), VOID])
    mask = data.draw(arrays(np.uint8, array_shapes(max_dims=3), elements=train_ids))
    back = scheme.remap(scheme.unmap(mask))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, mask)


@pytest.mark.parametrize("unknown", [34, 99, 255])
def test_unknown_id_is_named(unknown):
    with pytest.raises(LabelError, match=rf"\b{unknown} \(2 pixels\)"):
        CITYSCAPES.remap(np.uint8([[7, unknown], [unknown, 8]]))


def test_numbers_that_no_file_of_labels_stores_are_refused():
    """What would not fit into eight bits must not become another id."""
    with pytest.raises(LabelError, match="uint8, as files store them; got int64"):
        CITYSCAPES.remap(np.array([7, 263]))
    assert CITYSCAPES.remap(np.zeros((0, 4), np.uint8)).shape == (0, 4)


def test_unmap_names_what_is_no_train_id():
    with pytest.raises(LabelError, match="19"):
        CITYSCAPES.unmap(np.uint8([0, 19]))


def test_unmap_counts_no_negative_number_from_the_end():
    with pytest.raises(LabelError, match=r"\[-245, -1\] are no train ids"):
        CITYSCAPES.unmap(np.array([-1, 3, -245]))


def test_what_colours_mean_is_part_of_what_a_scheme_means():
    child = dataclasses.replace(CAMVID, file_colors=CAMVID.file_colors | {(192, 128, 64): VOID})
    assert child.meaning != CAMVID.meaning
    assert CITYSCAPES.meaning == (CITYSCAPES.names, CITYSCAPES.ids, CITYSCAPES.void_ids)


def test_unmap_refuses_void_where_the_scheme_has_none():
    with pytest.raises(LabelError, match="255.*has no id for void"):
        CITYSCAPES_FULL.unmap(np.uint8([VOID]))


def test_colorize_paints_void_black():
    painted = PAIR.colorize(np.uint8([[0, 1, VOID]]))
    assert painted.tolist() == [[list(RED), list(BLUE), [0, 0, 0]]]


def test_to_frame_has_one_row_per_class():
    frame = PAIR.to_frame()
    assert frame.index.tolist() == [0, 1]
    assert frame["name"].tolist() == ["left", "right"]
    assert frame["id"].tolist() == [7, 11]


def test_from_masks_numbers_the_values_of_all_files_from_0(tmp_path, write_picture):
    masks = ([[26, 0], [0, 0]], [[7, 7], [7, 7]], [[7, 11], [26, 7]])
    paths = [write_picture(tmp_path / f"{k}.png", mask) for k, mask in enumerate(masks)]
    scheme = ClassScheme.from_masks(paths, names={7: "road"})
    assert scheme.ids == (0, 7, 11, 26)
    assert scheme.names == ("id 0", "road", "id 11", "id 26")
    assert scheme.remap(np.uint8([0, 7, 11, 26])).tolist() == [0, 1, 2, 3]


def test_from_masks_without_masks_is_refused():
    with pytest.raises(LabelError, match="no masks"):
        ClassScheme.from_masks([])


def test_from_masks_names_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="lost.png"):
        ClassScheme.from_masks([tmp_path / "lost.png"])


@pytest.mark.parametrize(
    ("names", "colors", "ids", "void"),
    [
        (("a", "b"), (RED, BLUE), (1,), ()),
        (("a", "b"), (RED,), (1, 2), ()),
        (("a", "b"), (RED, BLUE), (1, 1), ()),
        (("a", "b"), (RED, BLUE), (1, 2), (2,)),
        (("a", "a"), (RED, BLUE), (1, 2), ()),
        (("a", "b"), (RED, BLUE), (1, 256), ()),
        (("a", "b"), (RED, BLUE), (-1, 2), ()),
    ],
    ids=["few ids", "few colours", "id twice", "id is void", "name twice", "256", "negative"],
)
def test_bad_scheme_is_refused(names, colors, ids, void):
    with pytest.raises(LabelError, match="broken"):
        ClassScheme("broken", names, colors, ids, void)


def test_no_class_may_take_the_number_of_void(tmp_path, write_picture):
    path = write_picture(tmp_path / "all.png", np.arange(256).reshape(16, 16))
    with pytest.raises(CitysegError, match="255"):
        ClassScheme.from_masks([path])


def test_distinct_colors_differ():
    assert len(set(distinct_colors(40))) == 40


# -- from one scheme to another -------------------------------------------------------------------


def test_merged_scores_add_up():
    matrix = merging(CITYSCAPES, CAMVID, CITYSCAPES_TO_CAMVID)
    assert matrix.shape == (19, 11)
    assert (matrix.sum(axis=1) == 1).all(), "every class becomes exactly one"
    assert (matrix.sum(axis=0) > 0).all(), "every class of CamVid comes from some"
    scores = np.zeros(19)
    scores[[CITYSCAPES.names.index(name) for name in ("car", "bus", "road")]] = 0.3, 0.3, 0.4
    merged = scores @ matrix
    assert CAMVID.names[merged.argmax()] == "car"
    assert merged.sum() == pytest.approx(1)


def test_a_class_that_goes_nowhere_is_refused():
    names = {**CITYSCAPES_TO_CAMVID, "truck": "lorry"}
    with pytest.raises(LabelError, match="'truck' becomes 'lorry'"):
        merging(CITYSCAPES, CAMVID, names)


# -- colours --------------------------------------------------------------------------------------

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
# deficiency", 2009: what dichromats see, in linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def nearest_colors(scheme, kind):
    """The smallest distance in CIELAB between two classes, as someone sees them."""
    linear = (np.array(scheme.colors) / 255) ** 2.2
    seen = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distance[np.triu_indices(len(lab), 1)].min()


@pytest.mark.parametrize("scheme", [CITYSCAPES, CAMVID], ids=["Cityscapes", "CamVid"])
def test_the_safe_colours_can_be_told_apart(scheme):
    safe = scheme.color_blind_safe()
    assert (safe.names, safe.ids) == (scheme.names, scheme.ids)
    worst = min(nearest_colors(safe, kind) for kind in BLINDNESS)
    assert worst > 8
    assert worst > min(nearest_colors(scheme, kind) for kind in BLINDNESS)


def test_safe_colours_for_classes_without_categories():
    bare = ClassScheme("bare", ("a", "b", "c"), ((0, 0, 0),) * 3, (0, 1, 2))
    assert len(set(bare.color_blind_safe().colors)) == 3


def test_unknown_ids_are_counted():
    mask = np.array([[7, 200, 200], [99, 7, 200]], np.uint8)
    with pytest.raises(LabelError, match=r"99 \(1 pixel\), 200 \(3 pixels\)"):
        CITYSCAPES.remap(mask)


def test_ids_in_three_channels_are_named():
    with pytest.raises(LabelError, match="three channels are equal: if they hold ids"):
        CAMVID.remap_colors(np.full((2, 3, 3), 7, np.uint8))


def test_the_cheat_sheet_has_the_table_of_ids():
    sheet = (Path(__file__).parents[1] / "notebooks" / "cheat_sheet.md").read_text()
    for train_id, (i, name) in enumerate(zip(CITYSCAPES.ids, CITYSCAPES.names, strict=True)):
        assert f"| {train_id} | {i} | {name} |" in sheet
