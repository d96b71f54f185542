"""Folders with pairs.csv and classes.csv."""

import codecs
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cityseg_utils import own
from cityseg_utils.datasets import check_pairs, find_pairs, open_dataset, save_pairs
from cityseg_utils.errors import DataError, LabelError
from cityseg_utils.labels import CAMVID, CITYSCAPES, ClassScheme
from cityseg_utils.preprocessing import read_mask

PAIRS = """image,mask,split,city
photos/a.jpg,labels/a.png,train,north
photos/b.jpg,labels/b.png,val,south
photos/c.jpg,,test,south
"""
CLASSES = """id,name,red,green,blue,void
9,tarmac,100,100,100,0
3,hedge,0,200,0,no
255,,0,0,0,1
"""


@pytest.fixture
def mine(tmp_path, write_picture):
    """Three streets, the last without labels."""
    root = tmp_path / "my streets"
    for name in "abc":
        write_picture(root / "photos" / f"{name}.jpg", np.full((16, 16, 3), 90))
        write_picture(root / "labels" / f"{name}.png", [[9, 3] * 8, [255] * 16] * 8)
    (root / "pairs.csv").write_text(PAIRS)
    (root / "classes.csv").write_text(CLASSES)
    return root


def test_a_folder_of_one_s_own_opens_like_any_other(mine):
    pairs, scheme = open_dataset(mine)
    assert pairs[["split", "city", "frame"]].to_numpy().tolist() == [
        ["test", "south", "c"],
        ["train", "north", "a"],
        ["val", "south", "b"],
    ]
    assert pairs["mask"].isna().tolist() == [True, False, False]
    assert (scheme.name, scheme.names, scheme.ids) == ("my streets", ("tarmac", "hedge"), (9, 3))
    assert (scheme.colors[1], scheme.void_ids) == ((0, 200, 0), (255,))
    assert scheme.categories == scheme.names
    assert check_pairs(pairs, scheme)["height"].tolist() == [16] * 3
    assert read_mask(pairs["mask"][1], scheme)[:2, :2].tolist() == [[0, 1], [255, 255]]


def test_as_a_spreadsheet_writes_it(mine):
    for name in ("pairs.csv", "classes.csv"):
        text = (mine / name).read_text().replace("\n", "\r\n")
        (mine / name).write_bytes(codecs.BOM_UTF8 + text.encode())
    assert len(find_pairs(mine)) == 3


def test_a_spreadsheet_s_empty_rows_and_names_of_splits(mine):
    text = PAIRS.replace("train", "Training ").replace("val", "Val") + ",,,\n,,,\n"
    (mine / "pairs.csv").write_text(text)
    assert find_pairs(mine)["split"].tolist() == ["test", "train", "val"]


def test_a_table_in_utf_16_is_refused_by_name(mine):
    (mine / "pairs.csv").write_text(PAIRS, encoding="utf-16")
    with pytest.raises(DataError, match="is in UTF-16"):
        find_pairs(mine)


def test_two_photographs_of_one_name_need_names_of_their_own(mine, write_picture):
    """One's answers would become the other's labels."""
    write_picture(mine / "more" / "a.jpg", np.full((16, 16, 3), 50))
    text = PAIRS + "more/a.jpg,,test,north\n"
    (mine / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match="(?s)its columns city and frame.*would be called north_a,"):
        find_pairs(mine)
    # Files that are made of a frame are called CITY_FRAME.
    other = text.replace("city\n", "city,frame\n").replace(
        "more/a.jpg,,test,north", "more/a.jpg,,test,north_a,b"
    )
    other = other.replace(",north\n", ",north,a_b\n").replace(",south\n", ",south,\n")
    (mine / "pairs.csv").write_text(other)
    with pytest.raises(DataError, match="would be called north_a_b, as that of"):
        find_pairs(mine)
    (mine / "pairs.csv").write_text(text.replace("test,north", "test,east"))
    pairs, scheme = open_dataset(mine)
    assert len(pairs) == 4
    with pytest.raises(DataError, match="1 frames have the name of another"):
        own.save_pairs(
            mine / "copy", pairs.assign(city="north", frame=["a", "b", "c", "a"]), scheme
        )
    assert not (mine / "copy").exists()


def test_any_column_names_the_group(mine):
    (mine / "pairs.csv").write_text(PAIRS.replace("city", "drive"))
    assert find_pairs(mine)["city"].tolist() == ["south", "north", "south"]
    lines = [line.rpartition(",")[0] for line in PAIRS.splitlines()]
    (mine / "pairs.csv").write_text("\n".join(lines))
    assert find_pairs(mine)["city"].tolist() == ["all"] * 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("photos/a.jpg", "photos/z.jpg", "line 2: 'photos/z.jpg' is not there"),
        ("labels/b.png", "labels", "line 3: 'labels' is not there"),
        ("photos/a.jpg", "", "line 2: '' is not there"),
        ("photos/b.jpg", "photos/a.jpg", r"a\.jpg: is in two pairs"),
        (",val,", ",,", "line 3: has no split"),
        ("north", "../north", r"line 2: gives the city '\.\./north'"),
        (",mask,", ",label,", r"lacks the columns \['mask'\]"),
        (",north", "", "line 2 has 3 columns, not 4"),
        ("image,", "image,image,", "two columns have the same name"),
        (",north", ",north,more", "line 2 has 5 columns, not 4"),
        ('photos/a.jpg', 'pho"tos/a.jpg', "is not there"),
        ("photos/a", '"photos"/a', "is no table of commas and lines"),
        (PAIRS, "", "lacks the columns"),
        (PAIRS, "image,mask,split\n", "has pairs.csv, but not one image"),
        (PAIRS, PAIRS.replace(",", ";"), "with commas between them"),
        ("photos/a", r"photos\\a", "write / in place of"),
    ],
)  # fmt: skip
def test_a_wrong_table_of_pairs_is_refused(mine, old, new, said):
    (mine / "pairs.csv").write_text(PAIRS.replace(old, new))
    with pytest.raises(DataError, match=said):
        find_pairs(mine)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("9,", "nine,", "ids and colours are whole numbers"),
        ("3,hedge", "9,hedge", "raw ids must be unique"),
        ("3,hedge", "300,hedge", "raw ids must be unique and lie in 0..255"),
        (",200,", ",256,", r"colours lie in 0\.\.255"),
        ("hedge", "tarmac", "two classes have the same name"),
        ("hedge", "", "every class needs a name"),
        (",no", ",perhaps", r"void is 1 or 0, found \['perhaps'\]"),
        ("id,", "raw,", r"lacks the columns \['id'\]"),
    ],
)
def test_a_wrong_table_of_classes_is_refused(mine, old, new, said):
    (mine / "classes.csv").write_text(CLASSES.replace(old, new))
    with pytest.raises((DataError, LabelError), match=r"classes\.csv: ") as caught:
        open_dataset(mine)
    assert caught.match(said)


def test_a_table_without_the_other_is_refused(mine):
    (mine / "classes.csv").unlink()
    with pytest.raises(DataError, match=r"classes\.csv: cannot be read: No such file"):
        open_dataset(mine)


def test_masks_in_colours_are_not_saved(tmp_path, write_picture):
    write_picture(tmp_path / "mask.png", np.full((4, 4, 3), 128))
    row = dict.fromkeys(["image", "mask"], tmp_path / "mask.png")
    pairs = pd.DataFrame([{**row, "split": "train", "city": "a", "frame": "1"}])
    with pytest.raises(DataError, match=r"mask\.png: holds colours.*Write ids first"):
        save_pairs(tmp_path / "saved", pairs, CAMVID)
    with pytest.raises(DataError, match=r"lack the columns \['city'\]"):
        save_pairs(tmp_path / "saved", pairs.drop(columns="city"), CAMVID)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("scheme", [CITYSCAPES, CAMVID], ids=lambda scheme: scheme.name)
def test_what_is_saved_opens_as_it_was(tiny_city, tmp_path, scheme):
    pairs = find_pairs(tiny_city)
    pairs.loc[pairs["split"] == "test", "mask"] = None
    folder = save_pairs(tmp_path / "saved", pairs, scheme)
    found, classes = open_dataset(folder)
    assert [p.resolve() for p in found["image"]] == [p.resolve() for p in pairs["image"]]
    columns = ["split", "city", "frame"]
    pd.testing.assert_frame_equal(found[columns], pairs[columns])
    assert found["mask"].isna().tolist() == pairs["mask"].isna().tolist()
    for what in ("names", "colors", "ids", "void_ids", "categories"):
        assert getattr(classes, what) == getattr(scheme, what)


def test_saved_paths_move_with_the_folder(mine, tmp_path):
    save_pairs(mine, *open_dataset(mine))
    mine.rename(tmp_path / "moved")
    pairs, _ = open_dataset(tmp_path / "moved")
    assert all(path.is_file() for path in pairs["image"])
    assert not (tmp_path / "moved" / "pairs.csv").read_text().count(os.sep + "moved")


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1)


@given(names=st.lists(NAMES.filter(str.strip), min_size=1, max_size=6, unique=True))
def test_any_class_names_survive(names):
    scheme = ClassScheme("x", tuple(names), ((1, 2, 3),) * len(names), tuple(range(len(names))))
    empty = pd.DataFrame(columns=["image", "mask", "split", "city", "frame"])
    with tempfile.TemporaryDirectory() as folder:
        save_pairs(folder, empty, scheme)
        assert own.read_classes(Path(folder)).names == scheme.names
