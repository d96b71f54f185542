"""What stands in a street: things in metres, seen through a pinhole camera, back to front.

Axes: x to the right, y up from the road, z ahead, in metres; the camera looks along z.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np

RGB = tuple[float, float, float]


@dataclass
class Shape:
    """One labelled polygon, ``(N, 2) float`` pixels (x, y), and details painted on it."""

    label: str
    polygon: np.ndarray
    color: RGB
    details: list[tuple[np.ndarray, RGB]] = field(default_factory=list)


@dataclass
class Scene:
    """Shapes in painting order, for a picture of `size` (height, width) in a certain light."""

    size: tuple[int, int]
    light: float
    haze: float
    seed: tuple
    shapes: list[Shape] = field(default_factory=list)


@dataclass(frozen=True)
class Style:
    """What makes a city look like itself; drawn once from its name."""

    hue: np.ndarray
    road: float
    greenery: float
    storeys: float
    sky: RGB


def city_style(city: str) -> Style:
    """Return the look of a city, the same on every machine."""
    rng = np.random.default_rng(zlib.crc32(city.encode()))
    return Style(
        hue=rng.uniform(0.88, 1.15, 3),
        road=rng.uniform(70, 115),
        greenery=rng.uniform(0.2, 0.6),
        storeys=rng.uniform(2.5, 5.5),
        sky=tuple(rng.uniform(165, 215) + np.array((0, 8, 18)) * rng.uniform(0.3, 1.5)),
    )


class Camera:
    """A pinhole 1.2 m above the road, somewhere on it, looking more or less along it."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator):
        self.height, self.width = size
        self.focal = self.width * rng.uniform(0.95, 1.15)
        self.center = self.width * rng.uniform(0.25, 0.75)
        self.horizon = self.height * rng.uniform(0.34, 0.50)
        self.aside = rng.uniform(-0.5, 1.8)  # metres right of the middle of the road

    def project(self, points) -> np.ndarray:
        """Project ``(N, 3)`` metres to ``(N, 2)`` pixels; points must lie ahead (z > 0)."""
        x, y, z = np.asarray(points, float).T
        return np.stack(
            [
                self.center + self.focal * (x - self.aside) / z,
                self.horizon + self.focal * (1.2 - y) / z,
            ],
            axis=1,
        )

    def upright(self, x: float, z: float, outline) -> np.ndarray:
        """Project an outline, ``(N, 2)`` metres (sideways, up), that stands at (x, z)."""
        outline = np.asarray(outline, float)
        return self.project([(x + a, b, z) for a, b in outline])


NEAR, FAR = 2.2, 90.0


def make_scene(city: str, seed: tuple, size: tuple[int, int]) -> Scene:
    """Draw one street of `city`; equal arguments give equal scenes."""
    rng = np.random.default_rng(seed)
    style = city_style(city)
    camera = Camera(size, rng)
    scene = Scene(size, rng.uniform(0.75, 1.1), rng.uniform(0.2, 0.8), seed)
    road, walk = rng.uniform(3.2, 5.5), rng.uniform(2.0, 4.5)
    _backdrop(scene, camera, style, rng)
    _ground(scene, camera, style, rng, road, walk)
    # Seen from the road, nothing on it or on the sidewalk is ever behind the line of houses.
    for things in (_house_line(rng, style, road + walk), _furniture(rng, style, road, walk)):
        for z, draw, arguments in sorted(things, key=lambda thing: -thing[0]):
            draw(scene, camera, style, rng, z, *arguments)
    _own_car(scene, rng)
    return scene


# -- behind everything --------------------------------------------------------------------------


def _backdrop(scene, camera, style, rng):
    h, w = scene.size
    scene.shapes.append(Shape("sky", _box(0, 0, w, camera.horizon + 2), style.sky))
    xs = np.linspace(0, w, 24)
    tops = camera.horizon - h * rng.uniform(0.01, 0.10, xs.size)
    ridge = np.column_stack([np.r_[0, xs, w], np.r_[camera.horizon + 2, tops, camera.horizon + 2]])
    label = "vegetation" if rng.random() < 0.5 else "building"
    color = (95, 110, 85) if label == "vegetation" else (140, 138, 135)
    scene.shapes.append(Shape(label, ridge, color))


def _ground(scene, camera, style, rng, road, walk):
    h, w = scene.size
    grass = rng.random() < style.greenery
    color = (112, 120, 82) if grass else (135, 132, 128)
    scene.shapes.append(
        Shape("terrain" if grass else "static", _box(0, camera.horizon, w, h), color)
    )
    for side in (-1, 1):
        strip = [(side * road, 0.12, FAR), (side * (road + walk), 0.12, FAR)]
        strip += [(side * (road + walk), 0.12, NEAR), (side * road, 0.12, NEAR)]
        scene.shapes.append(Shape("sidewalk", camera.project(strip), (150, 145, 145)))
        edge = [(side * road, y, z) for y, z in ((0.12, FAR), (0.12, NEAR), (0, NEAR), (0, FAR))]
        scene.shapes.append(Shape("sidewalk", camera.project(edge), (172, 168, 164)))
    gray = style.road + rng.uniform(-8, 8)
    surface = [(-road, 0, FAR), (road, 0, FAR), (road, 0, NEAR / 2), (-road, 0, NEAR / 2)]
    dashes = [
        (
            camera.project([(-0.07, 0, z), (0.07, 0, z), (0.07, 0, z + 3), (-0.07, 0, z + 3)]),
            (215,) * 3,
        )
        for z in np.arange(NEAR + rng.uniform(0, 6), FAR, 9)
    ]
    scene.shapes.append(Shape("road", camera.project(surface), (gray, gray, gray + 3), dashes))


# -- along the road -----------------------------------------------------------------------------


def _house_line(rng, style, line):
    """Yield (z, draw, arguments) for houses and what stands in their gaps, on both sides."""
    for side in (-1, 1):
        z = 3.0
        while z < FAR:
            end = z + rng.uniform(8, 20)
            kind = rng.random()
            if kind > style.greenery * 0.6:
                height = 3.1 * max(1.5, rng.normal(style.storeys, 1.2))
                tint = rng.uniform(0.65, 1.3) * rng.uniform(0.9, 1.12, 3)
                yield z, _house, (side * line, end, height, tint)
            elif kind > 0.1:
                label = str(rng.choice(["fence", "wall", "vegetation"]))
                yield z, _barrier, (side * line, end, label)
            z = end


def _furniture(rng, style, road, walk):
    """Yield (z, draw, arguments) for everything that stands free, from trees to traffic."""
    for side in (-1, 1):
        for z in np.arange(rng.uniform(5, 12), 70, rng.uniform(9, 16)):
            if rng.random() < style.greenery + 0.25:
                yield z, _tree, (side * (road + rng.uniform(0.6, walk)),)
        for z in np.arange(rng.uniform(4, 14), 70, rng.uniform(9, 18)):
            yield z, _pole, (side * (road + 0.35), str(rng.choice(["none", "sign", "light"])))
    yield from _traffic(rng, road, walk)


def _house(scene, camera, style, rng, z, line, end, height, tint):
    color = tuple(np.clip(135 * style.hue * tint, 40, 235))
    wall = [(line, 0, z), (line, height, z), (line, height, end), (line, 0, end)]
    dark = tuple(np.multiply(color, 0.55))
    windows = []
    for y in np.arange(1.0, height - 1.5, 3.1):
        for a in np.arange(z + 1, end - 1.5, 2.6):
            pane = [(line, y, a), (line, y + 1.5, a), (line, y + 1.5, a + 1.2), (line, y, a + 1.2)]
            windows.append((camera.project(pane), dark))
    # The gable that faces the camera, where the neighbour is lower or missing.
    depth = np.sign(line) * 8
    gable = [(line, 0, z), (line, height, z), (line + depth, height, z), (line + depth, 0, z)]
    scene.shapes.append(Shape("building", camera.project(gable), tuple(np.multiply(color, 0.85))))
    scene.shapes.append(Shape("building", camera.project(wall), color, windows))


def _barrier(scene, camera, style, rng, z, line, end, label):
    height = {"fence": 1.3, "wall": 2.2, "vegetation": 2.0}[label]
    color = {"fence": (120, 112, 105), "wall": (150, 140, 128), "vegetation": (70, 95, 55)}[label]
    face = [(line, 0, z), (line, height, z), (line, height, end), (line, 0, end)]
    bars = [
        (
            camera.project(
                [(line, 0.1, a), (line, 1.2, a), (line, 1.2, a + 0.1), (line, 0.1, a + 0.1)]
            ),
            (60,) * 3,
        )
        for a in np.arange(z, end, 0.8)
        if label == "fence"
    ]
    scene.shapes.append(Shape(label, camera.project(face), color, bars))


def _tree(scene, camera, style, rng, z, x):
    trunk = rng.uniform(1.8, 3.0)
    radius = rng.uniform(1.2, 2.6)
    stem = camera.upright(x, z, [(-0.14, 0), (-0.1, trunk + 1), (0.1, trunk + 1), (0.14, 0)])
    scene.shapes.append(Shape("vegetation", stem, (82, 70, 58)))
    angle = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    ragged = radius * rng.uniform(0.75, 1.15, angle.size)
    crown = np.column_stack([ragged * np.cos(angle), trunk + radius + 1.2 * ragged * np.sin(angle)])
    green = tuple(np.array((78, 102, 58)) * rng.uniform(0.7, 1.2))
    spots = []
    for _ in range(10):
        aside, above = rng.uniform(-0.6, 0.6, 2) * radius
        leaves = camera.upright(x, z, _disc(aside, trunk + radius + above, radius * 0.25))
        spots.append((leaves, tuple(np.multiply(green, rng.uniform(0.6, 1.3)))))
    scene.shapes.append(Shape("vegetation", camera.upright(x, z, crown), green, spots))


def _pole(scene, camera, style, rng, z, x, head):
    height = rng.uniform(2.6, 3.4) if head != "none" else rng.uniform(4, 7)
    gray = rng.uniform(70, 130)
    bar = [(-0.06, 0), (-0.06, height), (0.06, height), (0.06, 0)]
    scene.shapes.append(Shape("pole", camera.upright(x, z, bar), (gray,) * 3))
    if head == "sign":
        color = ((190, 40, 40), (40, 70, 170), (225, 205, 60))[rng.integers(3)]
        plate = (
            _disc(0, height, 0.38)
            if rng.random() < 0.5
            else _box(-0.35, height - 0.4, 0.35, height + 0.4)
        )
        inner = (camera.upright(x, z, (plate - (0, height)) * 0.6 + (0, height)), (235, 235, 235))
        scene.shapes.append(Shape("traffic sign", camera.upright(x, z, plate), color, [inner]))
    elif head == "light":
        case = camera.upright(x, z, _box(-0.18, height - 0.5, 0.18, height + 0.5))
        lit = rng.integers(3)
        lamp = camera.upright(x, z, _disc(0, height + (0.3, 0, -0.3)[lit], 0.11))
        glow = ((230, 50, 40), (240, 180, 50), (60, 220, 110))[lit]
        scene.shapes.append(Shape("traffic light", case, (35, 38, 36), [(lamp, glow)]))


# -- on the road --------------------------------------------------------------------------------


def _traffic(rng, road, walk):
    """Yield (z, draw, arguments) for cars, people and cyclists."""
    for side in (-1, 1):
        z = rng.uniform(5, 15)
        while z < 60:
            if rng.random() < 0.55:
                yield z, _car, (side * (road - 1.1),)
            z += rng.uniform(5.5, 12)
    for _ in range(rng.integers(0, 3)):
        yield rng.uniform(9, 50), _car, (rng.choice([-1, 1]) * road * rng.uniform(0.2, 0.45),)
    for _ in range(rng.integers(3, 15)):
        x = rng.choice([-1, 1]) * (road + rng.uniform(0.3, walk))
        yield rng.uniform(5, 35), _person, (x,)
    for _ in range(rng.integers(0, 3)):
        yield rng.uniform(7, 30), _cyclist, (rng.choice([-1, 1]) * (road - rng.uniform(0.3, 2.4)),)
    if rng.random() < 0.2:
        yield rng.uniform(14, 45), _truck, (road * rng.uniform(-0.5, 0.5),)


def _car(scene, camera, style, rng, z, x):
    w = rng.uniform(0.82, 0.95)
    paint = ((40, 42, 48), (200, 202, 204), (120, 124, 130), (130, 35, 35), (45, 60, 110))[
        rng.integers(5)
    ]
    body = [(-w, 0.25), (-w, 0.85), (-w * 0.8, 1.42), (w * 0.8, 1.42), (w, 0.85), (w, 0.25)]
    wheels = [(-w, 0.0), (-w, 0.3), (-w * 0.7, 0.3), (-w * 0.7, 0.0)]
    mirrored = [(-a, b) for a, b in wheels]
    for tyre in (wheels, mirrored):
        scene.shapes.append(Shape("car", camera.upright(x, z, tyre), (22, 22, 24)))
    glass = camera.upright(
        x, z, [(-w * 0.8, 0.88), (-w * 0.7, 1.34), (w * 0.7, 1.34), (w * 0.8, 0.88)]
    )
    lamps = [
        camera.upright(x, z, _box(s * w * 0.8 - 0.1, 0.62, s * w * 0.8 + 0.1, 0.78))
        for s in (-1, 1)
    ]
    details = [(glass, (48, 56, 62)), *((lamp, (170, 30, 28)) for lamp in lamps)]
    # The flank, seen where the car stands off the middle of the picture.
    inner = -np.sign(x) * w
    flank = [(x + inner, 0.3, z), (x + inner, 0.85, z), (x + inner * 0.8, 1.4, z + 0.8)]
    flank += [(x + inner * 0.8, 1.4, z + 3), (x + inner, 0.85, z + 4), (x + inner, 0.3, z + 4)]
    shade = tuple(np.multiply(paint, 0.75))
    scene.shapes.append(Shape("car", camera.project(flank), shade))
    scene.shapes.append(Shape("car", camera.upright(x, z, body), paint, details))


def _truck(scene, camera, style, rng, z, x):
    label = str(rng.choice(["truck", "bus"]))
    paint = tuple(rng.uniform(60, 220, 3))
    details = (
        [(camera.upright(x, z, _box(-1.0, 1.9, 1.0, 2.7)), (45, 52, 58))] if label == "bus" else []
    )
    details.append((camera.upright(x, z, _box(-1.2, 0.3, 1.2, 0.55)), (40, 40, 42)))
    scene.shapes.append(
        Shape(label, camera.upright(x, z, _box(-1.25, 0.2, 1.25, 3.1)), paint, details)
    )


def _person(scene, camera, style, rng, z, x, label="person", lift=0.0):
    tall = rng.uniform(1.55, 1.85)
    coat, legs = tuple(rng.uniform(25, 190, 3)), tuple(rng.uniform(20, 90, 3))
    a = rng.uniform(0.08, 0.2)
    trousers = [
        (-a - 0.07, 0),
        (-0.17, 0.9),
        (0.17, 0.9),
        (a + 0.07, 0),
        (a - 0.06, 0),
        (0, 0.6),
        (-a + 0.06, 0),
    ]
    torso = [
        (-0.17, 0.8),
        (-0.25, 1.35),
        (-0.1, tall - 0.28),
        (0.1, tall - 0.28),
        (0.25, 1.35),
        (0.17, 0.8),
    ]
    parts = ((trousers, legs), (torso, coat), (_disc(0, tall - 0.13, 0.13), (185, 145, 120)))
    for outline, color in parts:
        scene.shapes.append(Shape(label, camera.upright(x, z, np.add(outline, (0, lift))), color))


def _cyclist(scene, camera, style, rng, z, x):
    for side in (-1, 1):
        wheel = camera.upright(x, z, _disc(side * 0.5, 0.34, 0.34))
        hub = camera.upright(x, z, _disc(side * 0.5, 0.34, 0.24))
        scene.shapes.append(Shape("bicycle", wheel, (30, 30, 32), [(hub, (95, 95, 98))]))
    frame = [(-0.5, 0.3), (-0.2, 0.85), (0.4, 0.9), (0.5, 0.34), (0.0, 0.3)]
    scene.shapes.append(
        Shape("bicycle", camera.upright(x, z, frame), tuple(rng.uniform(30, 180, 3)))
    )
    if rng.random() < 0.6:
        _person(scene, camera, style, rng, z, x, "rider", lift=0.25)


def _own_car(scene, rng):
    h, w = scene.size
    xs = np.linspace(0, w, 30)
    top = h * (1 - 0.09 * np.sin(np.pi * np.clip(xs / w, 0.02, 0.98)) ** 0.4)
    bonnet = np.column_stack([np.r_[0, xs, w], np.r_[h, top, h]])
    scene.shapes.append(Shape("ego vehicle", bonnet, (38, 42, 48)))
    edge = max(1, round(w * 0.006))
    for box in (_box(0, 0, edge, h), _box(w - edge, 0, w, h)):
        scene.shapes.append(Shape("out of roi", box, (12, 12, 12)))


def _box(left, low, right, high) -> np.ndarray:
    return np.array([(left, low), (left, high), (right, high), (right, low)], float)


def _disc(x, y, radius, corners=14) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
