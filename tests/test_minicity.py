import json
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

from cityseg_utils import minicity
from cityseg_utils.datasets import check_pairs, find_pairs
from cityseg_utils.errors import DataError, StorageError
from cityseg_utils.labels import CITYSCAPES

SMALL = {"train": 5, "val": 3, "test": 1, "size": (32, 64)}


def content(root):
    """Every readable file below a folder, by its relative name."""
    files = [p for p in root.rglob("*") if p.is_file()]
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def test_the_tree_is_that_of_cityscapes(tmp_path):
    root = minicity.generate(tmp_path / "new" / "city", train=5, val=3, test=1, size=(32, 64))
    stems = [
        "train/ashford/ashford_000000_000019",
        "train/ashford/ashford_000001_000019",
        "train/birkstadt/birkstadt_000000_000019",
        "train/corvina/corvina_000000_000019",
        "train/dunmere/dunmere_000000_000019",
        "val/elmsund/elmsund_000000_000019",
        "val/elmsund/elmsund_000001_000019",
        "val/farholt/farholt_000000_000019",
        "test/greyport/greyport_000000_000019",
    ]
    expected = {f"leftImg8bit/{stem}_leftImg8bit.png" for stem in stems}
    expected |= {f"gtFine/{stem}_gtFine_labelIds.png" for stem in stems}
    expected |= {f"gtFine/{stem}_gtFine_polygons.json" for stem in stems}
    assert set(content(root)) == expected | {"minicity.json"}


def test_pictures_have_the_size_asked_for(tiny_city):
    pairs = check_pairs(find_pairs(tiny_city), CITYSCAPES)
    assert (pairs["height"] == 64).all() and (pairs["width"] == 128).all()
    assert np.array(Image.open(pairs["image"][0])).shape == (64, 128, 3)


def test_a_scene_does_not_depend_on_how_many_were_asked_for(tmp_path):
    few = content(minicity.generate(tmp_path / "few", **SMALL))
    many = content(minicity.generate(tmp_path / "many", train=9, val=4, test=3, size=(32, 64)))
    assert len(many) > len(few)
    assert {name: many[name] for name in few} == few


def test_more_scenes_can_be_added_and_the_old_ones_stay(tmp_path):
    root = minicity.generate(tmp_path / "a", train=2, val=1, test=1, size=(32, 64))
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*.png")}
    minicity.generate(root, **SMALL)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert content(root) == content(minicity.generate(tmp_path / "b", **SMALL))


def test_another_seed_gives_other_scenes(tmp_path):
    one = content(minicity.generate(tmp_path / "1", 1, 1, 1, (32, 64), seed=1))
    two = content(minicity.generate(tmp_path / "2", 1, 1, 1, (32, 64), seed=2))
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())


def test_scenes_differ_from_each_other(tiny_city):
    files = [p.read_bytes() for p in tiny_city.rglob("*labelIds.png")]
    assert len(set(files)) == len(files) == 14


def test_labels_are_what_the_official_tool_draws(tiny_city, tmp_path):
    """Byte for byte: the pixels, saved as PNG by the same writer."""
    for polygons in tiny_city.rglob("*_gtFine_polygons.json"):
        ours = polygons.with_name(polygons.name.replace("polygons.json", "labelIds.png"))
        json2labelImg(str(polygons), str(tmp_path / "official.png"))
        official = np.array(Image.open(tmp_path / "official.png"))
        assert cv2.imencode(".png", official)[1].tobytes() == ours.read_bytes()


def test_polygons_say_their_size(tiny_city):
    polygons = json.loads(next(tiny_city.rglob("*polygons.json")).read_text())
    assert (polygons["imgHeight"], polygons["imgWidth"]) == (64, 128)


@pytest.mark.parametrize("other", [{"size": (32, 96)}, {"seed": 1}], ids=["size", "seed"])
def test_another_minicity_in_the_same_folder_is_refused(tmp_path, other):
    root = minicity.generate(tmp_path / "city", **SMALL)
    before = content(root)
    with pytest.raises(DataError, match="holds a MiniCity made with"):
        minicity.generate(root, **{**SMALL, **other})
    assert content(root) == before


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match="is not empty"):
        minicity.generate(tmp_path, **SMALL)
    assert content(tmp_path) == {"thesis.tex": b"precious"}


def test_a_file_in_the_way_is_a_storage_error(tmp_path):
    (tmp_path / "city").write_text("")
    with pytest.raises(StorageError):
        minicity.generate(tmp_path / "city", **SMALL)


def test_complete_only_when_every_scene_is_there(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    assert not minicity.is_complete(tmp_path, counts)
    root = minicity.generate(tmp_path, **counts, size=(32, 64))
    assert minicity.is_complete(root, counts)
    next(root.rglob("*labelIds.png")).unlink()
    assert not minicity.is_complete(root, counts)


@pytest.mark.parametrize("scenes", [1, 7], ids=["early", "later"])
def test_killed_while_drawing_then_finished(tmp_path, start_python, wait_until, scenes):
    """After kill -9 a second call completes the data set, equal to an undisturbed one."""
    root, counts = tmp_path / "killed", {"train": 40, "val": 4, "test": 2}
    script = """
import sys
from cityseg_utils import minicity
minicity.generate(sys.argv[1], train=40, val=4, test=2, size=(64, 128))
"""
    process = start_python(script, root)
    wait_until(process, lambda: len(list(root.rglob("*labelIds.png"))) >= scenes)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not minicity.is_complete(root, counts)
    (root / "leftImg8bit" / "train" / "ashford" / ".writing-x").mkdir(exist_ok=True)
    (root / "leftImg8bit" / "train" / ".writing-y").mkdir(exist_ok=True)
    minicity.generate(root, **counts, size=(64, 128))
    undisturbed = content(minicity.generate(tmp_path / "other", **counts, size=(64, 128)))
    kept = {name: data for name, data in content(root).items() if "/.writing-" not in name}
    assert kept == undisturbed
    pairs = find_pairs(root)
    assert len(pairs) == 46
    assert not pairs["image"].astype(str).str.contains("writing").any()
    assert set(pairs["split"]) == {"train", "val", "test"}


def command_line(*arguments):
    command = [sys.executable, "-m", "cityseg_utils.minicity", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_line(tmp_path):
    asked = ["--train", 5, "--val", 3, "--test", 1, "--size", "64x32"]
    result = command_line(tmp_path / "cli", *asked)
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "cli") == content(minicity.generate(tmp_path / "py", **SMALL))
    again = command_line(tmp_path / "cli", *asked, "--seed", 1)
    assert again.returncode == 1
    assert "choose another folder" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize("size", ["512", "0x0", "63x32", "-4x8", "4096x2048", "wide", "1x2x3"])
def test_command_line_refuses_a_bad_size(tmp_path, size):
    result = command_line(tmp_path / "city", f"--size={size}")
    assert result.returncode == 2
    assert "size" in result.stderr
    assert not (tmp_path / "city").exists()


def test_command_line_refuses_fewer_than_no_scenes(tmp_path):
    asked = ["--train", "-3", "--val", "0", "--test", "0"]
    assert command_line(tmp_path / "city", *asked).returncode == 2
