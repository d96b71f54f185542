"""A scene: shapes in painting order, each with its label, its outline and its paint."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cityseg_utils.minicity.catalogue import RGB, City, Light
from cityseg_utils.minicity.geometry import Camera

FIXED, FAR_AWAY, GROUND, FIRST = 0, 1, 2, 3  # what a shape belongs to; FIRST: the first thing


@dataclass(frozen=True)
class Ride:
    """How far a camera will drive along its street and has driven, in metres; none for a still."""

    length: float = 0.0
    travelled: float = 0.0
    seconds: float = 0.0
    speed: float = 0.0  # metres a second
    frame: int | None = None


STILL = Ride()


class Spot(NamedTuple):
    """Where a thing is on a ride, in metres, and how fast it goes our way, in metres a second."""

    wall: bool  # does it go along the street?
    across: float
    ahead: float
    speed: float


@dataclass
class Coat:
    """Polygons, each ``(N, 2)`` pixels (x, y), painted at once: where they overlap is a hole."""

    polygons: list[np.ndarray]
    color: RGB
    grain: float = 0.25  # how strongly the texture of the surface shows, 0 to 1


@dataclass
class Shape:
    """One object of the label map, or without a label a shadow.

    A `leafy` shape lets through what is behind it, in holes of about that many pixels; `density`
    is the part that does not.
    """

    label: str | None
    outline: np.ndarray  # (N, 2) float pixels (x, y)
    coats: list[Coat] = field(default_factory=list)
    leafy: float = 0.0
    density: float = 1.0
    thing: int = FIXED


@dataclass
class Scene:
    """What was drawn so far, and what is needed to draw more. What is out of view is left out."""

    size: tuple[int, int]  # (height, width) in pixels
    seed: tuple[int, int, int]
    city: City
    light: Light
    sun: float  # -1: from the left, 1: from the right; how far over
    rng: np.random.Generator
    camera: Camera
    has: set[str]  # the things and structures dealt to it
    ride: Ride = STILL
    spots: dict[int, Spot] = field(default_factory=dict)  # of the things, on a ride
    thing: int = FIXED  # what the next shapes belong to
    shapes: list[Shape] = field(default_factory=list)
    _seen: bool = False

    def add(self, label: str, outline, color: RGB | None = None, ahead=0.0, grain=0.25, **leafy):
        """Start a new shape, `ahead` metres away; with a colour its whole outline is painted."""
        (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
        height, width = self.size
        self._seen = right >= 0 and bottom >= 0 and left < width and top < height
        if self._seen:
            self.shapes.append(Shape(label, outline, **leafy, thing=self.thing))
        if color is not None:
            self.paint(outline, color, ahead, grain)

    def paint(self, polygons, color: RGB, ahead: float, grain: float = 0.25):
        """Paint one or more polygons ``(..., N, 2)`` on the last shape, paler with distance."""
        if not self._seen or not len(polygons):
            return
        polygons = list(polygons) if np.ndim(polygons[0]) == 2 else [polygons]
        clear, sky = math.exp(-max(ahead, 0) / self.light.visibility), self.light.sky[1]
        color = tuple(clear * c + (1 - clear) * s for c, s in zip(color, sky, strict=True))
        self.shapes[-1].coats.append(Coat(polygons, color, grain * clear))

    def darken(self, patches: list[np.ndarray]):
        """Add one shadow, made of patches that may overlap."""
        coats = [Coat([patch], (255, 255, 255)) for patch in patches]
        self.shapes.append(Shape(None, np.zeros((0, 2)), coats))
