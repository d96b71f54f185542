"""A drive: the camera moves along one street, frame after frame, cars and people too.

    python -m cityseg_utils.minicity.drive drive.gif --frames 100

Each frame is drawn as a still is, with all its labels, and knows where each of its pixels has gone
in a later one. So one can ask how steady a network's answers are: :func:`flicker`.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from cityseg_utils import storage
from cityseg_utils.errors import DataError
from cityseg_utils.minicity import CITIES, _check, painting
from cityseg_utils.minicity.geometry import FAR, NEAR, Camera
from cityseg_utils.minicity.scene import GROUND, Ride, Spot
from cityseg_utils.minicity.street import make_scene

RATE = 10  # frames a second
SPEED = 7.0  # metres a second


@dataclass(frozen=True)
class Frame:
    """One frame of a drive.

    Parameters
    ----------
    image : (H, W, 3) uint8
    labels : (H, W) uint8
        Label ids of Cityscapes, as the official tool draws them.
    things : (H, W) int32
        What each pixel belongs to; the same number in every frame.
    polygons : dict
        The content of its ``_gtFine_polygons.json``.
    """

    image: np.ndarray
    labels: np.ndarray
    things: np.ndarray
    polygons: dict
    camera: Camera
    ride: Ride
    spots: dict[int, Spot]  # where the things are, by their number

    def follow(self, later: "Frame") -> tuple[np.ndarray, np.ndarray]:
        """Tell where the pixels have gone in a later frame of the drive.

        A vehicle or a person is taken for a flat picture that faces the camera, a house for its
        front. Pixels of the sky, of what is far away and of the own car stay where they are.

        Returns
        -------
        to : (H, W) int64
            The pixel's place in the flattened later frame.
        seen : (H, W) bool
            Whether it is there, neither out of view nor hidden by another thing.
        """
        rows, columns = np.mgrid[: self.labels.shape[0], : self.labels.shape[1]].astype(float)
        to_rows, to_columns = rows.copy(), columns.copy()
        ahead = np.full(rows.shape, np.inf)
        for thing in np.unique(self.things[self.things >= GROUND]):
            at = self.things == thing
            spot = self.spots.get(int(thing))  # None: the ground
            points = _lift(self.camera, rows[at], columns[at], spot)
            points[:, 2] -= later.ride.travelled - self.ride.travelled
            if spot:
                points[:, 2] += spot.speed * (later.ride.seconds - self.ride.seconds)
            moved = self.camera.project(points)
            to_columns[at], to_rows[at], ahead[at] = moved[:, 0], moved[:, 1], points[:, 2]
        height, width = self.labels.shape
        seen = (ahead > NEAR) & (to_rows > -0.5) & (to_rows < height - 0.5)
        seen &= (to_columns > -0.5) & (to_columns < width - 0.5)
        to = np.where(seen, np.round(to_rows) * width + np.round(to_columns), 0).astype(np.int64)
        return to, seen & (later.things.ravel()[to] == self.things)


def _lift(camera: Camera, rows, columns, spot: Spot | None) -> np.ndarray:
    """Return the points of the street, ``(N, 3)`` metres, that pixels of one thing show.

    They lie on a wall along the street, on a picture across it, or (None) on the ground.
    """
    x, y, f = columns - camera.column, rows - camera.horizon, camera.focal
    if spot is None:  # y = f / z * (height - rise z^2 / 2)
        z = _root(f * camera.rise / 2, y, -f * camera.height)
    elif spot.wall:  # x = f / z * (across + bend z^2 / 2 - own place)
        z = _root(f * camera.bend / 2, -x, f * (spot.across - camera.across))
    else:
        z = np.full(rows.shape, max(spot.ahead, NEAR))
    curve = z * z / 2
    points = np.empty((len(rows), 3))
    points[:, 0] = x * z / f + camera.across - camera.bend * curve
    points[:, 1] = camera.height - camera.rise * curve - y * z / f
    points[:, 2] = z
    return points


def _root(a: float, b: np.ndarray, c: float) -> np.ndarray:
    """Return the positive z with ``a z^2 + b z + c = 0`` that a small `a` hardly changes."""
    inner = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    with np.errstate(divide="ignore"):
        z = -2 * c / (b - np.sign(c) * inner)
    return np.where(np.isfinite(z) & (z > 0), np.minimum(z, FAR), FAR)


def drive(
    city: str = "elmsund",
    frames: int = 100,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    clutter: float = 1.0,
    speed: float = SPEED,
    rate: float = RATE,
) -> Iterator[Frame]:
    """Drive along a street; equal arguments give equal drives.

    Parameters
    ----------
    city : str
        One of MiniCity's.
    frames : int
        At least 1.
    size : (height, width)
    seed : int
    clutter : float
        As for `minicity.generate`.
    speed : float
        In metres a second.
    rate : float
        Frames a second.

    Raises
    ------
    ValueError
        If there is no such city, or a number is out of range.
    """
    height, width = size
    _check(clutter, 1, height=height, width=width, seed=seed)
    splits = [split for split, cities in CITIES.items() if city in cities]
    if not splits:
        known = ", ".join(name for cities in CITIES.values() for name in cities)
        raise ValueError(f"city is one of {known}, got {city!r}")
    if not 1 <= frames <= 10_000 or not 0 < speed <= 50 or not 0 < rate <= 100:
        raise ValueError(
            "a drive has 1 to 10000 frames, a speed above 0, up to 50 m/s, and a rate above 0, up "
            f"to 100; got {frames} frames, {speed} m/s and {rate}"
        )
    return _drawn(city, splits[0], frames, (height, width), seed, clutter, speed, rate)


def _drawn(city, split, frames, size, seed, clutter, speed, rate) -> Iterator[Frame]:
    # No still of a data set has this number.
    key, length = (seed, list(CITIES).index(split), 1_000_000), frames / rate * speed
    for k in range(frames):
        ride = Ride(length, k / rate * speed, k / rate, speed, k)
        yield _frame(make_scene(city, key, size, clutter, ride))


def _frame(scene) -> Frame:
    height, width = scene.size
    polygons = painting.polygons_json(scene)
    things = Image.new("I", (width, height))
    draw = ImageDraw.Draw(things)
    numbers = [shape.thing for shape in scene.shapes if shape.label]
    for thing, drawn in zip(numbers, polygons["objects"], strict=True):
        draw.polygon([tuple(corner) for corner in drawn["polygon"]], fill=thing)
    return Frame(
        painting.paint(scene),
        painting.draw_labels(polygons)[0],
        np.asarray(things).astype(np.int32),
        polygons,
        scene.camera,
        scene.ride,
        scene.spots,
    )


def flicker(
    frames: Sequence[Frame], answers: Sequence[np.ndarray], ignore: Sequence[int] = ()
) -> float:
    """Return how often an answer changes from frame to frame where the truth does not.

    Parameters
    ----------
    frames : sequence of Frame
    answers : sequence of (H, W) arrays
        The class of each pixel, in any numbering.
    ignore : sequence of int
        Label ids that do not count, as where a network has nothing to say.

    Returns
    -------
    float
        The share, 0 to 1, among the pixels that can be followed into the next frame and are of the
        same class there.

    Raises
    ------
    DataError
        If there are not as many answers as frames, fewer than two, or answers of another size.
    """
    frames, answers = list(frames), list(answers)
    if len(frames) != len(answers) or len(frames) < 2:
        raise DataError(f"{len(frames)} frames and {len(answers)} answers: two of each or more")
    for frame, answer in zip(frames, answers, strict=True):
        if frame.labels.shape != answer.shape:
            raise DataError(f"an answer is {answer.shape}, its frame {frame.labels.shape}")
    changed = followed = 0
    for (before, said), (after, says) in pairwise(zip(frames, answers, strict=True)):
        to, seen = before.follow(after)
        same = seen & (after.labels.ravel()[to] == before.labels)
        same &= ~np.isin(before.labels, ignore)
        changed += np.count_nonzero(same & (says.ravel()[to] != said))
        followed += np.count_nonzero(same)
    return changed / followed


def film(path: Path | str, pictures: Sequence[np.ndarray], rate: float = RATE) -> Path:
    """Write pictures, ``(H, W, 3) uint8``, as a film: an animated GIF or an MP4, by the ending.

    Raises
    ------
    ValueError
        If the name ends otherwise, or there is no picture.
    StorageError
        If it cannot be written.
    """
    path, pictures = Path(path), list(pictures)
    if path.suffix not in (".gif", ".mp4") or not pictures:
        raise ValueError(f"a film is a .gif or an .mp4 of one picture or more, got {path.name}")
    with storage.write_whole(path) as temporary:
        if path.suffix == ".gif":
            first, *rest = (Image.fromarray(picture) for picture in pictures)
            first.save(temporary, save_all=True, append_images=rest, duration=1000 / rate, loop=0)
        else:
            _write_mp4(temporary, pictures, rate)
    return path


def _write_mp4(path: Path, pictures: Sequence[np.ndarray], rate: float) -> None:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()


def main() -> None:
    """Write a drive as a film: the picture, and its labels below."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.minicity.drive")
    parser.add_argument("film", type=Path, help="a .gif or an .mp4")
    parser.add_argument("--city", default="elmsund")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    frames = drive(options.city, options.frames, seed=options.seed)
    both = [np.vstack([x.image, painting.COLORS[x.labels][..., :3]]) for x in frames]
    film(options.film, both)


if __name__ == "__main__":
    main()
