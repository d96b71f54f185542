"""From two loose folders to a data set, and to a prediction."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cityseg_utils import losses, pipeline, prediction, propose
from cityseg_utils.datasets import check_pairs, open_dataset
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow, set_seed

tf = load_tensorflow()


@pytest.fixture
def loose(tmp_path, write_picture):
    """Twelve photographs of four drives: a red roof over a green wall over a blue pond."""
    rng = np.random.default_rng(0)
    for k in range(12):
        ids = np.full((32, 32), 4, np.uint8)
        ids[rng.integers(8, 12) :] = 40
        ids[rng.integers(18, 24) :] = 7
        ids[0, :5] = 255
        colors = np.zeros((256, 3))
        colors[[4, 40, 7]] = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
        noise = rng.normal(0, 20, (32, 32, 3))
        name = f"drive{'abcd'[k % 4]}_{k:03d}"
        photo = np.clip(colors[ids] + noise, 0, 255)
        write_picture(tmp_path / "photos" / f"{name}.jpg", photo)
        write_picture(tmp_path / "labels" / f"{name}_mask.png", ids)
    return tmp_path


def test_from_loose_folders_to_a_trained_prediction(loose, monkeypatch, capsys):
    """With three classes that nobody else has."""
    arguments = [str(loose / name) for name in ("photos", "labels", "mine")]
    monkeypatch.setattr(sys, "argv", ["propose", *arguments])
    propose.main()
    assert "put in names and colours" in capsys.readouterr().out
    classes = (loose / "mine" / "classes.csv").read_text()
    for raw, name in ((4, "roof"), (40, "wall"), (7, "pond")):
        classes = classes.replace(f"id {raw},", f"{name},")
    (loose / "mine" / "classes.csv").write_text(classes)

    pairs, scheme = open_dataset(loose / "mine")
    assert (scheme.names, scheme.void_ids) == (("roof", "pond", "wall"), (255,))
    assert pairs.groupby("city")["split"].nunique().tolist() == [1] * 4
    assert set(check_pairs(pairs, scheme)["split"]) == {"train", "val", "test"}
    set_seed(0)
    model = tf.keras.Sequential(
        [tf.keras.layers.Input((32, 32, 3)), tf.keras.layers.Conv2D(3, 1, activation="softmax")]
    )
    model.compile(tf.keras.optimizers.Adam(0.1), losses.DiceLoss())
    train, val = (pairs[pairs["split"] == name] for name in ("train", "val"))
    model.fit(pipeline.make_dataset(train, scheme, (32, 32), 4), epochs=30, verbose=0)
    assert prediction.evaluate(model, val, scheme).mean_iou() > 0.9


def test_pictures_of_other_kinds_and_frames_of_one_name_are_told(loose, write_picture):
    for folder, name in (("photos", "odd.TIF"), ("labels", "odd_mask.TIF")):
        (loose / folder / name).write_bytes(b"II")
    with pytest.raises(DataError, match="no PNG or JPEG; convert them") as caught:
        propose.propose(loose / "photos", loose / "labels", loose / "mine")
    assert [Path(fault).name for fault in caught.value.faults] == ["odd.TIF"]
    for folder, name in (("photos", "odd.TIF"), ("labels", "odd_mask.TIF")):
        (loose / folder / name).unlink()
        for part in ("a_b", "a b"):
            write_picture(loose / folder / part / f"{name[:-4]}.png", np.zeros((32, 32)))
    with pytest.raises(DataError, match="1 frames have the name of another"):
        propose.propose(loose / "photos", loose / "labels", loose / "mine")
    assert not (loose / "mine").exists()


def test_few_groups_are_split_in_a_row(loose):
    """So that the fewest neighbours come apart; here all names begin alike."""
    for path in [*loose.glob("photos/*"), *loose.glob("labels/*")]:
        path.rename(path.with_name("drive" + path.name[5:].partition("_")[2].rjust(20, "0")))
    masks = sorted(loose.glob("labels/*"))
    for image, mask in zip(sorted(loose.glob("photos/*")), masks, strict=True):
        mask.rename(mask.with_name(f"{image.stem}.png"))
    pairs, _ = open_dataset(propose.propose(loose / "photos", loose / "labels", loose / "mine"))
    splits = pairs.sort_values("frame")["split"].tolist()
    assert splits == ["train"] * 9 + ["val"] * 2 + ["test"]


def test_subfolders_are_groups(loose):
    for path in [*loose.glob("photos/*"), *loose.glob("labels/*")]:
        drive, rest = path.name.split("_", 1)
        (path.parent / drive).mkdir(exist_ok=True)
        path.rename(path.parent / drive / rest)
    pairs, _ = open_dataset(propose.propose(loose / "photos", loose / "labels", loose / "mine"))
    assert sorted(pairs["city"].unique()) == [f"drive{letter}" for letter in "abcd"]


def test_groups_may_be_called_anything(loose):
    for path in sorted(loose.glob("*/*")):
        drive, rest = path.name.split("_", 1)
        names = {"drivea": "img(1)", "driveb": "Straße #3", "drivec": "..", "drived": "_d_"}
        path.rename(path.with_name(f"x{names[drive]}_{rest}"))
    pairs, _ = open_dataset(propose.propose(loose / "photos", loose / "labels", loose / "mine"))
    assert pairs["city"].nunique() == 4


def first(folder):
    return sorted(folder.iterdir())[0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root, _: first(root / "labels").unlink(), "drivea_000.jpg: has no mask"),
        (lambda root, _: first(root / "photos").unlink(), "drivea_000_mask.png: has no image"),
        (
            lambda root, write: write(first(root / "labels"), np.zeros((9, 9))),
            r"is \(9, 9\) .*but its image",
        ),
        (
            lambda root, write: write(first(root / "labels"), np.zeros((32, 32, 3))),
            "has one channel of 8 bits",
        ),
        (
            lambda root, write: write(root / "labels" / "drivea_000_mask.jpg", np.zeros((9, 9))),
            "has the name of",
        ),
        (lambda root, _: (root / "mine").mkdir() or (root / "mine/pairs.csv").touch(), "is there"),
    ],
    ids=["no mask", "no image", "two sizes", "colours", "twice", "already there"],
)
def test_what_cannot_be_known_is_refused_and_nothing_written(loose, write_picture, spoil, said):
    spoil(loose, write_picture)
    with pytest.raises(DataError, match=said):
        propose.propose(loose / "photos", loose / "labels", loose / "mine")
    assert not (loose / "mine" / "classes.csv").exists()


def test_an_empty_folder_is_named(loose, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no PNG or JPEG"):
        propose.propose(tmp_path / "empty", loose / "labels", loose / "mine")
