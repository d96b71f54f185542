"""Geometry of a street: a camera on a road that may bend and rise, and outlines of things.

Street coordinates are metres: `across` to the right of the road's middle line, `up` from the road,
and `ahead` along it. Bending and rising are part of the projection, so that a street is laid out
as if it were straight and flat.
"""

from dataclasses import dataclass

import numpy as np

from cityseg_utils.minicity.catalogue import Vehicle

NEAR, FAR = 1.6, 110.0  # metres ahead between which things are drawn


class Camera:
    """A pinhole camera on a car, in a lane of the road, looking more or less along it."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, lane: float):
        self.size = size
        self.focal = size[1] * rng.uniform(1.02, 1.16)
        pitch, yaw = rng.normal(0, 0.018), float(np.clip(rng.normal(0, 0.12), -0.3, 0.3))
        self.horizon = 0.417 * size[0] + pitch * self.focal
        self.column = 0.52 * size[1] + yaw * self.focal
        self.height = rng.uniform(1.15, 1.35)
        self.across = lane + rng.normal(0, 0.35)
        self.bend = float(rng.random() < 0.6) * rng.normal(0, 1 / 130)
        self.rise = rng.normal(0, 1 / 4000)

    def project(self, points) -> np.ndarray:
        """Project ``(..., 3)`` metres (across, up, ahead) to ``(..., 2)`` pixels."""
        points = np.asarray(points, float)
        ahead = np.maximum(points[..., 2], NEAR)
        scale, curve = self.focal / ahead, ahead * ahead / 2
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.column + scale * (points[..., 0] + self.bend * curve - self.across)
        pixels[..., 1] = self.horizon + scale * (self.height - points[..., 1] - self.rise * curve)
        return pixels

    def upright(self, across: float, ahead: float, outline) -> np.ndarray:
        """Project a flat outline, ``(..., 2)`` metres (across, up), that faces the camera."""
        outline = np.asarray(outline, float)
        points = np.empty((*outline.shape[:-1], 3))
        points[..., :2], points[..., 2] = outline, ahead
        points[..., 0] += across
        return self.project(points)

    def ground(self, left, right, near: float, far: float, up: float = 0.0) -> np.ndarray:
        """Project a strip of the ground, cut finely enough to follow a bend."""
        near, far = max(near, NEAR), max(far, NEAR)
        ahead = near * (far / near) ** np.linspace(0, 1, 10 if far - near > 6 else 2)
        points = np.empty((2 * len(ahead), 3))
        points[: len(ahead), 0], points[len(ahead) :, 0], points[:, 1] = left, right, up
        points[:, 2] = np.r_[ahead, ahead[::-1]]
        return self.project(points)

    def wall(self, across: float, near: float, far: float, low, high) -> np.ndarray:
        """Project ``(..., 4, 2)`` corners of upright rectangles along the street."""
        low, high, near, far = np.broadcast_arrays(low, high, near, far)
        points = np.empty((*low.shape, 4, 3))
        points[..., 0] = across
        for corner, (up, ahead) in enumerate([(low, near), (high, near), (high, far), (low, far)]):
            points[..., corner, 1], points[..., corner, 2] = up, ahead
        return self.project(points)

    def pixels(self, metres: float, ahead: float) -> float:
        """Tell how many pixels a length is at a distance."""
        return metres * self.focal / ahead


@dataclass(frozen=True)
class Place:
    """Where a thing stands, and which way it is turned (radians; 0: along the street)."""

    across: float
    ahead: float
    turn: float = 0.0

    def at(self, sideways, up, along) -> np.ndarray:
        """Turn ``(...)`` metres of the thing's own into ``(..., 3)`` of the street."""
        sideways, along = np.asarray(sideways, float), np.asarray(along, float)
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        points = np.empty((*np.broadcast_shapes(sideways.shape, np.shape(up), along.shape), 3))
        points[..., 0] = self.across + cos * sideways + sin * along
        points[..., 1] = up
        points[..., 2] = self.ahead - sin * sideways + cos * along
        return points


def box(left, low, right, high) -> np.ndarray:
    """Return the corners of a rectangle."""
    return np.array([(left, low), (left, high), (right, high), (right, low)], float)


def disc(x: float, y: float, radius: float, corners: int = 14) -> np.ndarray:
    """Return the corners of a regular polygon."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def stroke(start, end, width: float) -> np.ndarray:
    """Return a line of some width as a polygon."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = (end - start) / max(np.hypot(*(end - start)), 1e-9)
    off = np.array((-along[1], along[0])) * width / 2
    return np.array([start - off, end - off, end + off, start + off])


def hull(points: np.ndarray) -> np.ndarray:
    """Return the convex hull of ``(N, 2)`` points (Andrew's monotone chain, 1979).

    OpenCV has one too, but labels must be the same with every build of it.
    """
    points = np.unique(points.reshape(-1, 2), axis=0)

    def chain(ordered):
        kept = []
        for p in ordered:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                kept.pop()
            kept.append(tuple(p))
        return kept[:-1]

    ordered = points.tolist()
    return np.array(chain(ordered) + chain(ordered[::-1]))


def on_face(face: np.ndarray, left, low, right, high) -> np.ndarray:
    """Return a rectangle on a face whose corners are left low, left high, right high, right low."""
    u, v = np.moveaxis(box(left, low, right, high), -1, 0)[..., None]
    a, b, c, d = face
    return (1 - u) * (1 - v) * a + (1 - u) * v * b + u * v * c + u * (1 - v) * d


def area(polygon: np.ndarray) -> float:
    """Return the signed area; clockwise on the screen is positive."""
    x, y = polygon.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def faces_of(vehicle: Vehicle, camera: Camera, place: Place):
    """Yield (what, projected polygon) for the faces of a prism that look at the camera.

    `what` is paint, glass or dark for a face across the vehicle, ``side`` for one along it,
    ``window`` and ``tyre`` for what is on that, and ``end`` for the lowest paint at both ends.
    """
    length, height, half = vehicle.length, vehicle.height, vehicle.width / 2
    along, up, wide = np.array([corner[:3] for corner in vehicle.profile]).T
    along, up, wide = along * length, up * height, wide * half
    corners = {s: camera.project(place.at(s * wide, up, along)) for s in (-1, 1)}
    for s in (-1, 1):
        if s * area(corners[s]) > 0:
            yield "side", corners[s]
            for a, b, low, high in vehicle.windows:
                x = np.array([a, a, b, b]) * length
                y = np.array([low, high, high, low]) * height
                # Windows lean in with the side they are in.
                lean = np.interp(y, np.sort(up[:4]), wide[:4][np.argsort(up[:4])])
                yield "window", camera.project(place.at(s * lean, y, x))
            for a in vehicle.wheels:
                rim = disc(a * length, vehicle.wheel, vehicle.wheel)
                yield "tyre", camera.project(place.at(s * half, rim[:, 1], rim[:, 0]))
    for i, (*_, what) in enumerate(vehicle.profile):
        j = (i + 1) % len(vehicle.profile)
        face = np.array([corners[-1][i], corners[-1][j], corners[1][j], corners[1][i]])
        if area(face) > 0:
            upright = abs(along[i] - along[j]) < 0.05 * length and what == "paint"
            yield ("end" if upright else what), face


def person_outline(tall: float, stride: float) -> np.ndarray:
    """Return the outline of someone on foot, ``(N, 2)`` metres (sideways, up)."""
    right = [(stride - 0.07, 0), (stride + 0.1, 0), (stride + 0.1, 0.07), (0.2, 0.48 * tall)]
    right += [(0.29, 0.46 * tall), (0.27, 0.7 * tall), (0.2, 0.82 * tall), (0.06, 0.85 * tall)]
    right += [(0.09, 0.92 * tall), (0.07, 0.98 * tall), (0, tall)]
    left = [(-x, y) for x, y in right[-2::-1]]
    return np.array([(0.0, 0.44 * tall), *right, *left])
