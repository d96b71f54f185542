import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

from cityseg_utils.errors import DataError, StorageError
from cityseg_utils.minicity import drive as driving
from cityseg_utils.minicity.drive import drive, film, flicker
from cityseg_utils.minicity.geometry import Camera
from cityseg_utils.minicity.scene import Spot


@pytest.fixture(scope="module")
def frames():
    return list(drive("ashford", 12, (128, 256), seed=3))


def test_the_same_seed_gives_the_same_drive_and_another_one_another(frames):
    again, other = (list(drive("ashford", 12, (128, 256), seed=seed))[:3] for seed in (3, 4))
    for a, b, c in zip(frames, again, other, strict=False):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.labels != c.labels).mean() > 0.1


def test_labels_are_what_the_official_tool_draws(frames, tmp_path):
    for frame in frames[::5]:
        (tmp_path / "polygons.json").write_text(json.dumps(frame.polygons))
        json2labelImg(str(tmp_path / "polygons.json"), str(tmp_path / "official.png"))
        official = np.asarray(Image.open(tmp_path / "official.png"))
        np.testing.assert_array_equal(frame.labels, official)


def test_the_own_car_and_the_borders_of_the_picture_stay_where_they_are():
    frames = list(drive("elmsund", 8, (128, 256), seed=0, speed=40))
    fixed = [np.isin(frame.labels, (1, 2, 3)) for frame in frames]
    assert (frames[0].labels == 2).any()
    assert all((mask == fixed[0]).all() for mask in fixed)


def test_pictures_fit_their_labels(frames):
    """The sky is brighter than the road, frame after frame."""
    for frame in frames:
        bright = frame.image.mean(axis=-1)
        assert bright[frame.labels == 23].mean() > bright[frame.labels == 7].mean() + 20


@pytest.mark.parametrize("wall", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_points_of_walls_the_ground_and_upright_things_are_found_again(seed, wall):
    rng = np.random.default_rng(seed)
    camera = Camera((256, 512), rng, 1.5)
    ahead = rng.uniform(3, 60, 50)
    across = np.full(50, 7.0) if wall else rng.uniform(-6, 6, 50)
    up = rng.uniform(0, 5, 50) if wall else np.zeros(50)
    points = np.column_stack([across, up, ahead])
    columns, rows = camera.project(points).T
    found = driving._lift(camera, rows, columns, Spot(True, 7.0, 3.0, 0.0) if wall else None)
    np.testing.assert_allclose(found, points, rtol=1e-6, atol=1e-6)
    upright = np.column_stack([rng.uniform(-6, 6, 50), rng.uniform(0, 5, 50), np.full(50, 9.0)])
    columns, rows = camera.project(upright).T
    found = driving._lift(camera, rows, columns, Spot(False, 0.0, 9.0, 0.0))
    np.testing.assert_allclose(found, upright, rtol=1e-6, atol=1e-6)


def test_pixels_are_followed_to_their_own_class(frames):
    for before, after in pairwise(frames):
        to, seen = before.follow(after)
        assert seen.mean() > 0.7
        same = after.labels.ravel()[to] == before.labels
        stayed = after.labels == before.labels
        assert same[seen].mean() > 0.99 > stayed[seen].mean()


def test_what_moves_by_itself_is_told_from_what_stands(frames):
    first, last = frames[0], frames[-1]
    driven = last.ride.travelled - first.ride.travelled
    seconds = last.ride.seconds - first.ride.seconds
    shared = first.spots.keys() & last.spots.keys()
    for then, now in ((first.spots[number], last.spots[number]) for number in shared):
        assert now.ahead == pytest.approx(then.ahead - driven + then.speed * seconds)
    speeds = [first.spots[number].speed for number in shared]
    assert min(speeds) < 0 < max(speeds) and 0 in speeds


def test_what_comes_towards_us_is_followed_by_its_own_speed(frames):
    before, after = frames[0], frames[8]
    coming = [number for number, spot in before.spots.items() if spot.speed < -5]
    at = np.isin(before.things, coming)
    _, seen = before.follow(after)
    stands = {n: spot._replace(speed=0.0) for n, spot in before.spots.items()}
    _, taken_for_standing = replace(before, spots=stands).follow(after)
    assert seen[at].mean() > 0.8 > taken_for_standing[at].mean()


def test_flicker_is_none_for_the_truth_and_grows_with_noise(frames):
    truth = [frame.labels for frame in frames]
    assert flicker(frames, truth) == 0
    rng, found = np.random.default_rng(0), []
    for share in (0.01, 0.05, 0.2):
        noisy = [np.where(rng.random(x.shape) < share, 99, x) for x in truth]
        found.append(flicker(frames, noisy))
    # A pixel changes if it is wrong in one of two frames and not in both.
    np.testing.assert_allclose(found, [2 * p * (1 - p) for p in (0.01, 0.05, 0.2)], rtol=0.1)


def test_what_is_ignored_does_not_flicker(frames):
    rng = np.random.default_rng(0)
    on_road = [np.where(x.labels == 7, rng.integers(0, 9, x.labels.shape), 50) for x in frames]
    assert flicker(frames, on_road) > 0.2
    assert flicker(frames, on_road, ignore=(7,)) == 0


def test_flicker_refuses_what_cannot_be_compared(frames):
    truth = [frame.labels for frame in frames]
    for some, answers in ((frames, truth[1:]), (frames[:1], truth[:1])):
        with pytest.raises(DataError, match="two of each or more"):
            flicker(some, answers)
    with pytest.raises(DataError, match=r"an answer is \(2, 2\), its frame \(128, 256\)"):
        flicker(frames, [np.zeros((2, 2))] * len(frames))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"city": "rome"}, "city is one of ashford"),
        ({"frames": 0}, "1 to 10000 frames"),
        ({"speed": 0}, "a speed above 0"),
        ({"rate": -1}, "a rate above 0"),
        ({"seed": -1}, "seed is a whole number"),
        ({"size": (8, 8)}, "height is a whole number"),
        ({"clutter": 9}, "clutter is above 0"),
    ],
)
def test_a_drive_that_cannot_be_is_refused_at_once(wrong, words):
    with pytest.raises(ValueError, match=words):
        drive(**wrong)


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_a_film_holds_its_pictures(tmp_path, ending):
    pictures = [np.full((64, 96, 3), 40 * k, np.uint8) for k in range(1, 6)]
    path = film(tmp_path / f"film.{ending}", pictures)
    if ending == "gif":
        with Image.open(path) as shown:
            assert (shown.n_frames, shown.size) == (5, (96, 64))
    else:
        shown = cv2.VideoCapture(str(path))
        read = [shown.read()[1] for _ in range(5)]
        np.testing.assert_allclose([x.mean() for x in read], [40 * k for k in range(1, 6)], atol=6)
        assert not shown.read()[0]


def test_a_film_that_cannot_be_is_refused(tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4"):
        film(tmp_path / "film.avi", [picture])
    with pytest.raises(ValueError, match="one picture or more"):
        film(tmp_path / "film.gif", [])
    (tmp_path / "file").write_text("")
    for ending in ("gif", "mp4"):
        with pytest.raises(StorageError):
            film(tmp_path / "file" / f"film.{ending}", [picture])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_command_line(tmp_path):
    command = [sys.executable, "-m", "cityseg_utils.minicity.drive", tmp_path / "a.gif"]
    subprocess.run([*command, "--frames", "3"], check=True)
    with Image.open(tmp_path / "a.gif") as shown:
        assert (shown.n_frames, shown.size) == (3, (512, 512))
