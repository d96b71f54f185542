import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.preparation.json2instanceImg import json2instanceImg
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from packaging.requirements import Requirement
from PIL import Image

from cityseg_utils import minicity, storage
from cityseg_utils.datasets import check_pairs, find_pairs, minicity_root, open_dataset
from cityseg_utils.errors import CitysegError, DataError, StorageError
from cityseg_utils.labels import CITYSCAPES
from cityseg_utils.minicity.measure import beside_real, measure

ROOT = Path(__file__).resolve().parent.parent
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
    kinds = ("labelIds.png", "instanceIds.png", "color.png", "polygons.json")
    expected |= {f"gtFine/{stem}_gtFine_{kind}" for stem in stems for kind in kinds}
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


# -- the official tools ---------------------------------------------------------------------------


def pixels(path):
    """The picture in a file as Pillow reads it."""
    return np.array(Image.open(path))


def test_labels_are_what_the_official_tool_draws(tiny_city, tmp_path):
    """Byte for byte: the pixels, saved as PNG by the same writer."""
    for polygons in tiny_city.rglob("*_gtFine_polygons.json"):
        ours = polygons.with_name(polygons.name.replace("polygons.json", "labelIds.png"))
        json2labelImg(str(polygons), str(tmp_path / "official.png"))
        assert cv2.imencode(".png", pixels(tmp_path / "official.png"))[1].tobytes() == (
            ours.read_bytes()
        )


def test_colors_and_instances_are_what_the_official_tools_draw(tiny_city, tmp_path):
    for polygons in tiny_city.rglob("*_gtFine_polygons.json"):
        json2labelImg(str(polygons), str(tmp_path / "color.png"), "color")
        json2instanceImg(str(polygons), str(tmp_path / "instances.png"))
        stem = str(polygons).removesuffix("polygons.json")
        np.testing.assert_array_equal(pixels(stem + "color.png"), pixels(tmp_path / "color.png"))
        instances = pixels(stem + "instanceIds.png")
        np.testing.assert_array_equal(instances, pixels(tmp_path / "instances.png"))
        assert set(np.unique(instances[instances < 1000])) <= set(range(24)) | {29, 30}


PREPARE = """
from cityscapesscripts.preparation import createTrainIdInstanceImgs, createTrainIdLabelImgs
createTrainIdLabelImgs.main()
createTrainIdInstanceImgs.main()
"""


def test_the_official_preparation_runs_on_the_tree(tmp_path, run_python):
    """And its train ids are those of our class scheme."""
    root = minicity.generate(tmp_path / "city", **SMALL)
    run_python(PREPARE, CITYSCAPES_DATASET=str(root))
    made = sorted(root.rglob("*_labelTrainIds.png"))
    assert len(made) == len(sorted(root.rglob("*_instanceTrainIds.png"))) == 9
    for path in made:
        ids = pixels(str(path).replace("labelTrainIds", "labelIds"))
        np.testing.assert_array_equal(pixels(path), CITYSCAPES.remap(ids))


def test_the_official_scorer_gives_the_truth_full_marks(tiny_city, monkeypatch):
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # the scorer is older than NumPy 2.4
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    monkeypatch.setattr(official.args, "quiet", True)
    monkeypatch.setattr(official.args, "JSONOutput", False)
    monkeypatch.setattr(official.args, "evalInstLevelScore", True)  # reads instanceIds
    truths = [str(path) for path in sorted((tiny_city / "gtFine").rglob("*_gtFine_labelIds.png"))]
    result = official.evaluateImgLists(truths, truths, official.args)
    assert result["averageScoreClasses"] == result["averageScoreCategories"] == 1


# -- the same on every machine --------------------------------------------------------------------

CPU_FEATURES = """
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(*(name for name in __cpu_dispatch__ if __cpu_features__[name]))
"""


def test_labels_do_not_depend_on_the_processor(tiny_city, tmp_path, run_python):
    features = run_python(CPU_FEATURES).strip()
    if not features:
        pytest.skip("this NumPy has no CPU features to switch off")
    script = """
import sys
from cityseg_utils import minicity, storage
minicity.generate(sys.argv[1], train=8, val=4, test=2, size=(64, 128))
"""
    run_python(script, tmp_path / "plain", NPY_DISABLE_CPU_FEATURES=features)
    plain, quick = content(tmp_path / "plain"), content(tiny_city)
    labels = [name for name in quick if "gtFine" in name]
    assert len(labels) == 4 * 14
    assert {name: plain[name] for name in labels} == {name: quick[name] for name in labels}


DIGESTS = """
import hashlib, json, PIL
from cityseg_utils.minicity import CITIES, painting
from cityseg_utils.minicity.street import make_scene
print(PIL.__version__)
for split, cities in enumerate(CITIES.values()):
    for k, city in enumerate(cities):
        polygons = painting.polygons_json(make_scene(city, (0, split, k), (64, 128), 2.0))
        content = json.dumps(polygons).encode(), *painting.draw_labels(polygons)
        print(city, *(hashlib.sha256(part).hexdigest()[:8] for part in content))
"""
VERSION_2 = """
ashford e8ad50db 20a24381 89469274
birkstadt 56e68a37 0613aa84 60099ee5
corvina 01412a4f e0980d33 b0d6e040
dunmere a3bd422b e19240ef a417c6db
elmsund 82ff498e b1608491 14b46126
farholt 014c36db 78ac3068 eaa7d362
greyport 28fd7210 ef29e236 7f28006b
hollens 022716e1 dc689ccd f6c67ec5
"""  # of polygons, label ids and instance ids; another drawing gets another number


def test_the_drawing_is_that_of_its_version(run_python):
    assert minicity.VERSION == 2
    assert run_python(DIGESTS).endswith(VERSION_2)


def test_the_oldest_pillow_draws_the_same(run_python, pip_install):
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pillow = next(one for one in map(Requirement, listed) if one.name == "pillow")
    (oldest,) = (one.version for one in pillow.specifier if one.operator == ">=")
    path = os.pathsep.join([str(pip_install(f"pillow=={oldest}")), str(ROOT)])
    printed = run_python(DIGESTS, PYTHONPATH=path)
    assert printed.startswith(oldest)
    assert printed.endswith(VERSION_2)


def test_processes_and_order_make_no_difference(tmp_path):
    counts = {"train": 14, "val": 2, "test": 2}
    alone = minicity.generate(tmp_path / "alone", **counts, size=(32, 64), jobs=1)
    shared = minicity.generate(tmp_path / "shared", **counts, size=(32, 64), jobs=2)
    minicity.generate(tmp_path / "pieces", 0, 0, 2, size=(32, 64))
    minicity.generate(tmp_path / "pieces", 3, 2, 2, size=(32, 64))
    pieces = minicity.generate(tmp_path / "pieces", **counts, size=(32, 64))
    assert content(alone) == content(shared) == content(pieces)


# -- what is in a scene ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded():
    """The default MiniCity: there already, or drawn now."""
    return minicity_root()


@pytest.fixture(scope="module")
def measured(embedded):
    """The default MiniCity, measured."""
    table, whole = measure(sorted(embedded.rglob("*_gtFine_labelIds.png")))
    return beside_real(table), whole


def test_shares_are_those_of_real_streets(measured):
    """A looser form of what the table shows, so that small changes of the drawing pass."""
    (table, correlation), _ = measured
    assert correlation > 0.9
    common = table[table["real share"] > 1]
    assert len(common) == 11
    assert common["factor"].between(1 / 1.8, 1.8).all(), common["factor"]
    assert (common["height"] - common["real height"]).abs().max() < 0.15
    rare = table[table["real share"] <= 1]
    assert rare["factor"].between(1 / 5, 5).all(), rare["factor"]
    assert (table["images"] > 0).all(), "some label never occurs"


def test_scenes_are_as_cluttered_as_real_streets(measured):
    _, whole = measured
    assert whole["scenes"] == 200
    assert 15 < whole["ids per image"] < 19
    assert whole["fewest"] >= 12
    assert whole["most"] <= 21
    assert 4 < whole["pixels at a border (%)"] < 9


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_scored_class_occurs_in_every_split(measured, split):
    masks = (storage.home() / "data" / "minicity" / "gtFine" / split).rglob("*_labelIds.png")
    present = np.unique(np.concatenate([np.unique(pixels(mask)) for mask in masks]))
    assert set(CITYSCAPES.ids) <= set(present.tolist())


def test_measuring_a_tiny_mask_by_hand(tmp_path, write_picture):
    """Two rows of four: road below, sky and a car above."""
    mask = write_picture(tmp_path / "a.png", [[23, 23, 26, 26], [7, 7, 7, 7]])
    table, whole = measure([mask])
    assert table.loc[7, ["name", "share", "images", "height", "pieces"]].tolist() == [
        "road", 50, 100, 0.75, 1,
    ]  # fmt: skip
    assert table.loc[23, "share"] == 25
    assert table.loc[0, "share"] == 0
    assert np.isnan(table.loc[0, "height"])
    # All four of the upper row differ from the one below; none below has a different neighbour.
    assert whole["pixels at a border (%)"] == 50
    assert whole[["scenes", "ids per image", "fewest", "most"]].tolist() == [1, 3, 3, 3]


def test_measuring_nothing_is_refused(tmp_path):
    command = [sys.executable, "-m", "cityseg_utils.minicity.measure", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "no label maps" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_contact_sheet_has_a_row_for_every_city(tmp_path):
    root = minicity.generate(tmp_path / "city", train=8, val=4, test=4, size=(32, 64))
    hidden = (".DS_Store", "ashford/._a_leftImg8bit.png", "ashford/._a_gtFine_labelIds.png")
    for name in hidden:  # a Mac leaves such files
        for kind in ("leftImg8bit", "gtFine"):
            (root / kind / "train" / name).write_bytes(b"")
    command = [sys.executable, "-m", "cityseg_utils.minicity.measure", str(root)]
    subprocess.run([*command, "--sheet", str(tmp_path / "s.jpg")], check=True, capture_output=True)
    assert pixels(tmp_path / "s.jpg").shape == (8 * 128, 3 * 256, 3)  # two scenes and a map


def test_clutter_is_turned_up_and_down(tmp_path):
    def objects(clutter):
        root = tmp_path / str(clutter)
        minicity.generate(root, train=6, val=0, test=0, size=(64, 128), clutter=clutter)
        kinds = ("person", "car", "bicycle", "traffic sign", "pole")
        found = [json.loads(p.read_text())["objects"] for p in root.rglob("*polygons.json")]
        return sum(thing["label"] in kinds for things in found for thing in things)

    few, normal, many = objects(0.4), objects(1.0), objects(2.5)
    assert 1.3 * few < normal < many / 1.3


def test_pictures_agree_with_their_labels(measured):
    """Road is gray, summer leaves are greener than they are red, sky is the brightest."""
    pairs = find_pairs(storage.home() / "data" / "minicity")
    ashford = pairs[pairs["city"] == "ashford"].head(12)  # brick, green leaves
    colors = {7: [], 21: [], 23: []}
    for image, mask in zip(ashford["image"], ashford["mask"], strict=True):
        image, mask = pixels(image), pixels(mask)
        for k, found in colors.items():
            if (mask == k).sum() > 50:
                found.append(image[mask == k].mean(axis=0))
    road, leaves, sky = (np.mean(colors[k], axis=0) for k in (7, 21, 23))
    assert np.ptp(road) < 25
    assert leaves[1] > leaves[0] > leaves[2]
    assert sky.mean() > max(road.mean(), leaves.mean()) + 40


# -- files ----------------------------------------------------------------------------------------


def test_polygons_say_their_size(tiny_city):
    polygons = json.loads(next(tiny_city.rglob("*polygons.json")).read_text())
    assert (polygons["imgHeight"], polygons["imgWidth"]) == (64, 128)


@pytest.mark.parametrize("other", [{"size": (32, 96)}, {"seed": 1}, {"clutter": 2.0}])
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


def test_an_embedded_city_of_an_older_version_is_refused(embedded, own_home):
    root = own_home / "data" / "minicity"
    shutil.copytree(embedded, root, copy_function=os.symlink)
    open_dataset()
    (root / minicity.MARKER).unlink()
    (root / minicity.MARKER).write_text('{"size": [256, 512], "seed": 0, "version": 1}')
    with pytest.raises(DataError, match=r"'version': 1.*remove this one"):
        open_dataset()


KINDS = ["leftImg8bit", "polygons", "instanceIds", "color", "labelIds"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_file_that_is_missing_or_empty_is_drawn_anew(tmp_path, kind, loss):
    root = minicity.generate(tmp_path / "city", 2, 0, 0, size=(32, 64))
    before, counts = content(root), {"train": 2, "val": 0, "test": 0}
    loss(next(root.rglob(f"*_{kind}.*")))
    assert not minicity.is_complete(root, counts)
    minicity.generate(root, **counts, size=(32, 64))
    assert content(root) == before


NOT_JSON = [b"", b"{", b"\xff\xfe", b"[" * 10**5, b"null", b"[256, 512]"]


@pytest.mark.parametrize("damage", NOT_JSON, ids=lambda damage: repr(damage[:3]))
def test_a_damaged_marker_is_refused(tmp_path, damage):
    (tmp_path / minicity.MARKER).write_bytes(damage)
    with pytest.raises(DataError, match=r"minicity\.json: is damaged"):
        minicity.generate(tmp_path, **SMALL)
    assert content(tmp_path) == {minicity.MARKER: damage}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_marker_that_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / minicity.MARKER)
    with pytest.raises(DataError, match=r"minicity\.json: is damaged"):
        minicity.generate(tmp_path, **SMALL)
    assert len(list(tmp_path.iterdir())) == 1


WRONG = [
    {"train": -1},
    {"val": 1.5},
    {"test": 10**12},
    {"size": (0, 0)},
    {"size": (31, 64)},
    {"size": (32, 63)},
    {"size": (1025, 2048)},
    {"size": (512, 2049)},
    {"size": (32.5, 64)},
    {"size": (32, 64, 3)},
    {"seed": -1},
    {"seed": 0.5},
    {"clutter": 0},
    {"clutter": float("nan")},
    {"clutter": 4.1},
    {"jobs": 0},
    {"jobs": 1.5},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_arguments_leave_nothing_in_the_way_of_right_ones(tmp_path, wrong):
    with pytest.raises(ValueError) as raised:
        minicity.generate(tmp_path / "new" / "city", **{**SMALL, **wrong})
    assert not isinstance(raised.value, DataError)
    assert not (tmp_path / "new").exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
    asked = {"size": tuple(np.array([32, 64])), "seed": np.uint8(3), "clutter": np.float32(2)}
    root = minicity.generate(tmp_path / "numpy", np.int64(1), 0, 0, **asked)
    plain = minicity.generate(tmp_path / "plain", 1, 0, 0, size=[32, 64], seed=3, clutter=2)
    assert content(root) == content(plain)


AT_ONCE = """
import json, multiprocessing, sys
from cityseg_utils import errors, minicity
root, rounds, scenes, *widths = sys.argv[1], *map(int, sys.argv[2:])

def draw(width, start, answers):
    for n in range(rounds):
        start.wait()
        try:
            minicity.generate(f"{root}/{n}", scenes, 0, 0, size=(32, width))
        except errors.DataError as error:
            answers.put((n, str(error)))
        else:
            answers.put((n, [32, width]))

fork = multiprocessing.get_context("fork")
start, answers = fork.Barrier(2), fork.SimpleQueue()
both = [fork.Process(target=draw, args=(width, start, answers)) for width in widths]
for process in both:
    process.start()
print(json.dumps([answers.get() for _ in range(2 * rounds)]))
for process in both:
    process.join()
"""


def test_of_two_sizes_asked_for_at_once_one_is_refused(tmp_path, run_python):
    answers = json.loads(run_python(AT_ONCE, tmp_path, 60, 0, 64, 96))
    for n in range(60):
        size, told = sorted((answer for k, answer in answers if k == n), key=str, reverse=True)
        assert "holds a MiniCity made with" in told
        assert json.loads((tmp_path / str(n) / minicity.MARKER).read_text())["size"] == size


def test_two_equal_calls_at_once_share_the_work(tmp_path, run_python):
    answers = json.loads(run_python(AT_ONCE, tmp_path, 5, 1, 64, 64))
    assert [answer for _, answer in answers] == [[32, 64]] * 10
    alone = content(minicity.generate(tmp_path / "alone", 1, 0, 0, size=(32, 64)))
    assert all(content(tmp_path / str(n)) == alone for n in range(5))


def test_a_file_system_without_links_holds_a_city(tmp_path, monkeypatch):
    def refuse(*names, **options):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refuse)
    assert minicity.MARKER in content(minicity.generate(tmp_path / "city", 1, 0, 0, (32, 64)))


def test_a_file_in_the_way_is_a_storage_error(tmp_path):
    (tmp_path / "city").write_text("")
    with pytest.raises(StorageError):
        minicity.generate(tmp_path / "city", **SMALL)


NO_ROOM = """
import resource, sys
from cityseg_utils import errors, minicity
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    minicity.generate(sys.argv[1], train=int(sys.argv[2]), val=1, test=1, size=(64, 128))
except errors.StorageError as error:
    print("StorageError", error)
"""


@pytest.mark.parametrize("scenes", [2, 30], ids=["alone", "in parallel"])
def test_a_full_disk_is_one_clear_error(tmp_path, run_python, scenes):
    printed = run_python(NO_ROOM, tmp_path / "city", scenes)
    assert printed.startswith("StorageError")
    assert printed.count("\n") == 1
    assert "cannot be written" in printed
    left = [path for path in (tmp_path / "city").rglob("*") if path.is_file()]
    assert all(path.name == "minicity.json" or path.suffix != ".png" for path in left)


FOREIGN = """
import os, sys
from cityseg_utils import errors, minicity
os.setuid(65534)
try:
    minicity.generate(sys.argv[1], train=30, val=1, test=1, size=(64, 128))
except errors.StorageError as error:
    print("StorageError", error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
def test_a_folder_of_someone_else_is_one_clear_error(open_folder, run_python):
    printed = run_python(FOREIGN, open_folder / "city")
    assert printed.startswith("StorageError")
    assert "folder that you may write to" in printed
    assert not (open_folder / "city").exists()


CLOSED = """
import os, sys
from cityseg_utils import errors, minicity
if os.getuid() == 0:
    os.setuid(65534)  # root may read anywhere, nobody may not
try:
    minicity.generate(sys.argv[1], 4, 3, 0, size=(32, 64))
except errors.CitysegError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("closed", "mode", "expected"),
    [
        (".", 0o300, "DataError"),
        (".", 0o600, "DataError"),
        ("minicity.json", 0o200, "DataError"),
        ("gtFine/train/ashford", 0o600, "DataError"),
        ("leftImg8bit", 0o555, "StorageError"),
    ],
)
def test_what_one_may_not_read_or_write_is_one_clear_error(
    open_folder, run_python, closed, mode, expected
):
    root = minicity.generate(open_folder / "city", 4, 0, 0, size=(32, 64))
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (root / closed).chmod(mode)
    printed = run_python(CLOSED, root)
    (root / closed).chmod(0o700)
    assert printed.startswith(expected)
    assert closed.strip(".") in printed
    assert "cannot be" in printed
    assert printed.count("\n") == 1


def test_a_name_that_is_too_long_is_one_clear_error(tmp_path):
    with pytest.raises(CitysegError, match="too long"):
        minicity.generate(tmp_path / ("x" * 300), **SMALL)


def test_complete_only_when_every_scene_is_there(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    assert not minicity.is_complete(tmp_path, counts)
    root = minicity.generate(tmp_path, **counts, size=(32, 64))
    assert minicity.is_complete(root, counts)
    next(root.rglob("*labelIds.png")).unlink()
    assert not minicity.is_complete(root, counts)


def drawn(root):
    """How many scenes are complete, while others come and go (`rglob` trips over those)."""
    folders = (files for folder, _, files in os.walk(root) if ".writing-" not in folder)
    return sum(name.endswith("labelIds.png") for files in folders for name in files)


@pytest.mark.parametrize("scenes", [1, 7], ids=["early", "later"])
def test_killed_while_drawing_then_finished(tmp_path, start_python, wait_until, scenes):
    """After kill -9 a second call completes the data set, equal to an undisturbed one."""
    root, counts = tmp_path / "killed", {"train": 90, "val": 4, "test": 2}
    script = """
import sys
from cityseg_utils import minicity, storage
minicity.generate(sys.argv[1], train=90, val=4, test=2, size=(64, 128))
"""
    process = start_python(script, root)
    wait_until(process, lambda: drawn(root) >= scenes)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not minicity.is_complete(root, counts)
    for place in ("ashford/.writing-x", ".writing-y"):
        (root / "leftImg8bit" / "train" / place).mkdir(parents=True, exist_ok=True)
    minicity.generate(root, **counts, size=(64, 128))
    undisturbed = content(minicity.generate(tmp_path / "other", **counts, size=(64, 128)))
    kept = {name: data for name, data in content(root).items() if "/.writing-" not in name}
    assert kept == undisturbed
    pairs = find_pairs(root)
    assert len(pairs) == 96
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


@pytest.mark.parametrize("asked", ["--train=-3", "--seed=-1", "--clutter=nan", "--jobs=0"])
def test_command_line_refuses_what_cannot_be_drawn(tmp_path, asked):
    result = command_line(tmp_path / "city", asked)
    assert result.returncode == 2
    assert f"error: {asked[2:6]}" in result.stderr
    assert not (tmp_path / "city").exists()
