import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cityseg_utils import minicity, own, storage
from cityseg_utils.datasets import find_pairs, open_dataset
from cityseg_utils.errors import DataError
from cityseg_utils.preprocessing import read_image, read_pair
from cityseg_utils.shrinking import NOTE, shrink

SIZE = (32, 64)


@pytest.fixture
def city(tmp_path):
    return minicity.generate(tmp_path / "city", train=3, val=1, test=0, size=(96, 192))


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_a_small_frame_is_what_the_large_one_is_resized_to(city, tmp_path):
    small, scheme = open_dataset(shrink(city, tmp_path / "small", SIZE, jobs=1))
    large, _ = open_dataset(city)
    assert list(small["frame"]) == list(large["frame"])
    for a, b in zip(small.itertuples(), large.itertuples(), strict=True):
        found, wanted = read_pair(a.image, a.mask, scheme), read_pair(b.image, b.mask, scheme, SIZE)
        for x, y in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(x, y)


def test_what_is_there_is_kept_and_what_has_changed_is_made_anew(city, tmp_path):
    target = shrink(city, tmp_path / "small", SIZE)
    before = times(target)
    pairs = find_pairs(city)
    gone, changed = find_pairs(target)["mask"].iloc[0], pairs["image"].iloc[1]
    gone.unlink()
    later = max(before.values()) + 10**9
    os.utime(changed, ns=(later, later))
    shrink(city, target, SIZE)
    after = times(target)
    assert after.keys() == before.keys()
    again = {target / path.relative_to(city) for path in (pairs["image"].iloc[0], changed)}
    again |= {target / path.relative_to(city) for path in pairs["mask"].iloc[:2]}
    assert {path for path in after if after[path] != before[path]} == again


def test_a_corrected_mask_with_an_older_date_is_shrunk_anew(city, tmp_path):
    """As an archive or a copy that keeps dates puts it there."""
    target = shrink(city, tmp_path / "small", SIZE)
    mask = find_pairs(city)["mask"].iloc[0]
    storage.write_png(mask, np.full((96, 192), 7, np.uint8))
    os.utime(mask, (10**9, 10**9))
    shrink(city, target, SIZE)
    assert (storage.read_picture(target / mask.relative_to(city), color=False) == 7).all()


def test_what_the_data_set_no_longer_has_is_told(city, tmp_path):
    target = shrink(city, tmp_path / "small", SIZE)
    gone = find_pairs(city).iloc[0]
    gone["image"].unlink()
    gone["mask"].unlink()
    with pytest.raises(DataError, match="remove what the data set does not have") as error:
        shrink(city, target, SIZE)
    assert len(error.value.faults) == 2


def test_a_folder_with_pictures_of_its_own_is_left_alone(city, tmp_path, write_picture):
    write_picture(tmp_path / "holidays" / "beach.png", np.zeros((8, 8, 3)))
    with pytest.raises(DataError, match="holds other pictures; name a new folder"):
        shrink(city, tmp_path / "holidays", SIZE)
    assert [path.name for path in (tmp_path / "holidays").iterdir()] == ["beach.png"]


def test_who_shrinks_into_the_same_folder_waits(city, tmp_path):
    target = tmp_path / "small"
    with ThreadPoolExecutor() as pool, storage.unfinished(target, "by another one"):
        other = pool.submit(shrink, city, target, SIZE, 1)
        with pytest.raises(TimeoutError):
            other.result(timeout=1)
        assert not list(target.rglob("*.png"))
    assert other.result() == target
    storage.check_finished(target)
    assert len(find_pairs(target)) == len(find_pairs(city))


def test_faults_are_told_together_and_the_others_are_written(city, tmp_path):
    pairs = find_pairs(city)
    for path in pairs["image"].iloc[:2]:
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="2 frames cannot be shrunk") as error:
        shrink(city, tmp_path / "small", SIZE)
    assert len(error.value.faults) == 2
    assert str(pairs["image"].iloc[0]) in error.value.faults[0]
    assert len(list((tmp_path / "small").rglob("*_leftImg8bit.png"))) == 2
    with pytest.raises(DataError, match="is not finished: .*shrink the data set once more"):
        open_dataset(tmp_path / "small")
    for path in pairs[["image", "mask"]].iloc[:2].to_numpy().ravel():
        path.unlink()
    assert len(open_dataset(shrink(city, tmp_path / "small", SIZE))[0]) == 2


def test_another_size_wants_another_folder(city, tmp_path):
    target = shrink(city, tmp_path / "small", SIZE)
    before = times(target)
    other = minicity.generate(tmp_path / "other", 3, 1, 0, size=(96, 192), seed=1)
    for root, size in ((city, (16, 32)), (other, SIZE)):
        with pytest.raises(DataError, match="were made otherwise .*; name a new folder"):
            shrink(root, target, size)
    assert times(target) == before
    (target / NOTE).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        shrink(city, target, SIZE)


def test_two_files_that_would_become_one_are_refused(city, tmp_path):
    pairs, scheme = open_dataset(city)
    image, mask = tmp_path / "mine" / "0.jpg", tmp_path / "mine" / "0.png"
    image.parent.mkdir()
    Image.open(pairs["image"].iloc[0]).save(image)
    mask.write_bytes(pairs["mask"].iloc[0].read_bytes())
    own.save_pairs(image.parent, pairs.iloc[:1].assign(image=[image], mask=[mask]), scheme)
    with pytest.raises(DataError, match="would become one"):
        shrink(image.parent, tmp_path / "small", SIZE)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("size", [(0, 0), (-3, 5), (32,)])
def test_a_size_without_pixels_is_refused(city, tmp_path, size):
    with pytest.raises(ValueError, match="both above 0"):
        shrink(city, tmp_path / "small", size)


def test_no_frame_is_made_larger(city, tmp_path):
    with pytest.raises(DataError, match="is 96 x 192, smaller than 128 x 128"):
        shrink(city, tmp_path / "small", (128, 128))
    assert not list(tmp_path.glob("small/**/*.png"))


@pytest.mark.parametrize("target", [".", "inside", ".."])
def test_the_data_set_itself_is_no_place_for_it(city, target):
    before = times(city)
    with pytest.raises(DataError, match="name another"):
        shrink(city, city / target, SIZE)
    assert times(city) == before


def test_photographs_of_one_s_own_and_frames_without_masks(tmp_path, city):
    pairs, scheme = open_dataset(city)
    root, folder = tmp_path / "mine", tmp_path / "small"
    places = []
    for k, path in enumerate(pairs["image"].iloc[:2]):
        storage.write_png(root / "pictures" / f"{k}.png", read_image(path))
        places.append(root / "pictures" / f"{k}.png")
    mask = root / "masks" / "0.png"
    storage.write_png(mask, storage.read_picture(pairs["mask"].iloc[0], color=False))
    mine = pairs.iloc[:2].assign(image=places, mask=[mask, None], split=["train", "test"])
    own.save_pairs(root, mine, scheme)
    small, classes = open_dataset(shrink(root, folder, SIZE))
    assert classes.names == scheme.names
    assert [read_image(path).shape for path in small["image"]] == [(*SIZE, 3)] * 2
    assert list(small["mask"].isna()) == list(open_dataset(root)[0]["mask"].isna())

    outside = mine.assign(image=[places[0], pairs["image"].iloc[1]])
    own.save_pairs(root, outside, scheme)
    with pytest.raises(DataError, match="lies outside"):
        shrink(root, tmp_path / "other", SIZE)


def test_the_command(city, tmp_path):
    command = [sys.executable, "-m", "cityseg_utils.shrinking", city, tmp_path / "small"]
    command += ["--size", "32", "64", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "small")
    assert len(find_pairs(tmp_path / "small")) == 4
