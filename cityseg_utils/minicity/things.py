"""One function for each kind of thing: puts its shapes and their paint into a scene.

All take the scene, how far ahead the thing stands and how far across, in metres, and what kind of
it is wanted. Chance is drawn in the same order whatever the size of the picture.
"""

import itertools
import math

import numpy as np

from cityseg_utils.minicity import catalogue, geometry
from cityseg_utils.minicity.catalogue import VEHICLES
from cityseg_utils.minicity.geometry import Place, box, disc, stroke

DARK = np.array((24, 24, 26))
AWNINGS = 0.5  # the share of rows of shops that have one


def muted(rng) -> np.ndarray:
    """Return a colour that is seldom loud."""
    return np.clip(rng.uniform(50, 205) + rng.normal(0, 26, 3), 20, 235)


# -- along the road -----------------------------------------------------------------------------


def house(scene, ahead, across, end, storeys):
    """Draw a house from `ahead` to `end`: gable, roof, facade, windows, perhaps shops."""
    camera, rng, city = scene.camera, scene.rng, scene.city
    storey = rng.uniform(2.9, 3.5)
    height, out = storey * storeys, np.sign(across)
    color = np.array(city.facades[rng.integers(len(city.facades))]) * rng.uniform(0.82, 1.12)
    lit = 1 - 0.35 * scene.light.shadow * out * scene.sun  # the side across from the sun
    color = np.clip(color * lit * rng.uniform(0.96, 1.04, 3), 30, 245)
    levels = np.arange(0.9, height - 1.6, storey)
    # The gable looks at the camera where the neighbour is lower or a side street leaves.
    gable = camera.upright(across, ahead, box(0, 0, out * 14, height))
    scene.add("building", gable, color * 0.82, ahead, 0.5)
    panes = [box(out * a, y, out * (a + 1.1), y + 1.5) for y in levels for a in (2, 6, 10)]
    scene.paint(camera.upright(across, ahead, panes), color * 0.4, ahead)
    ridge = across + out * 4, height + 3.2
    roof = [(across, height, ahead), (*ridge, ahead), (*ridge, end), (across, height, end)]
    tiles = np.multiply(city.roofs, rng.uniform(0.8, 1.2))
    scene.add("building", camera.project(roof), tiles, ahead, 0.6)
    scene.add("building", camera.wall(across, ahead, end, 0, height), color, ahead, 0.5)
    low, high = np.array([height - 0.3, storey - 0.15]), np.array([height, storey])
    scene.paint(camera.wall(across, ahead, end, low, high), np.minimum(color * 1.15, 250), ahead)
    _windows(scene, ahead, across, end, storey, levels, color)


def _windows(scene, ahead, across, end, storey, levels, color):
    camera, rng = scene.camera, scene.rng
    step, wide, tall = rng.uniform(2.0, 3.2), rng.uniform(0.9, 1.4), rng.uniform(1.3, 1.9)
    columns = np.arange(ahead + 0.8, end - wide - 0.4, step)
    frame = np.minimum(color * (1.2 if rng.random() < 0.6 else 0.7), 240)
    glass = np.array((58, 66, 74)) * rng.uniform(0.7, 1.5)

    def paint(z, y, wide, tall, color):
        scene.paint(camera.wall(across, z, z + wide, y, y + tall), color, ahead)

    z, y = (grid.ravel() for grid in np.meshgrid(columns, levels[1:]))
    paint(z - 0.14, y - 0.14, wide + 0.28, tall + 0.28, frame)
    paint(z, y, wide, tall, glass)
    bright = rng.random(z.size) < 0.25  # the sky, or a lamp, in some panes
    paint(z[bright], y[bright] + tall / 2, wide, tall / 2, glass * 1.9 + 20)
    if rng.random() < 0.5:  # a row of shops
        paint(columns, 0.5, step * 0.86, storey - 1.2, glass * 0.8)
        paint(np.array([ahead + 0.3]), storey - 0.65, end - ahead - 0.6, 0.55, muted(rng))
        if rng.random() < AWNINGS:
            awning(scene, ahead + 0.5, across, end)
    else:
        paint(columns, 1.0, wide, 1.3, glass)
        paint(columns[:1] + step, 0.1, 1.1, 2.2, rng.uniform(30, 110, 3))


def awning(scene, ahead, across, end):
    """Draw an awning over the sidewalk, from `ahead` to `end` at most."""
    rng, out = scene.rng, np.sign(across)
    end, color = min(end, ahead + rng.uniform(2, 6)), muted(rng)
    edge = across - out * rng.uniform(0.9, 1.6)
    over = [(across, 3.1, ahead), (edge, 2.5, ahead), (edge, 2.5, end), (across, 3.1, end)]
    scene.add("static", scene.camera.project(over), color, ahead)
    scene.paint(scene.camera.wall(edge, ahead, end, 2.25, 2.5), color * 0.8, ahead)


def barrier(scene, ahead, across, end, kind):
    """Draw a hedge, wall, fence or guard rail along the street, from `ahead` to `end`."""
    camera, rng = scene.camera, scene.rng
    height = {"hedge": 1.8, "guard rail": 0.75}.get(kind, rng.uniform(1.1, 2.1))
    face = camera.wall(across, ahead, end, 0, height)
    if kind == "hedge":
        scene.add("vegetation", face, scene.city.green, ahead, 1.0)
    elif kind == "wall":
        scene.add("wall", face, np.array((150, 140, 126)) * rng.uniform(0.75, 1.15), ahead, 0.8)
        scene.paint(camera.wall(across, ahead, end, height - 0.15, height), (176, 170, 160), ahead)
    else:  # one sees through it
        scene.add(kind, face)
        fence = kind == "fence"
        step, thick = (0.35, 0.1) if fence else (2.0, 0.34)
        low = np.array([0.15, height - 0.15] if fence else [0.4])
        gray, posts = np.full(3, rng.uniform(50, 130)), np.arange(ahead, end, step)
        scene.paint(camera.wall(across, posts, posts + 0.1, 0.05, height), gray, ahead)
        scene.paint(camera.wall(across, ahead, end, low, low + thick), gray * 1.15, ahead)


def bridge(scene, ahead, across, road, line, tunnel):
    """Draw a deck across the street, or the mouth of a tunnel under it."""
    camera, rng = scene.camera, scene.rng
    gray, reach = rng.uniform(110, 165) + np.zeros(3), line + 16

    def upright(label, outline, color):
        scene.add(label, camera.upright(across, ahead, outline), color, ahead, 0.6)

    if tunnel:
        upright("wall" if "wall" in scene.has else "building", box(-reach, -0.2, reach, 8), gray)
        upright("tunnel", box(-road, -0.2, road, 4.8), DARK)
    else:
        upright("bridge", box(-reach, 4.7, reach, 6.2), gray)
        scene.paint(camera.upright(across, ahead, box(-reach, 4.7, reach, 5.0)), gray * 0.6, ahead)
        for x in (-road - 1, road + 1):
            upright("bridge", box(x - 0.5, 0, x + 0.5, 4.8), gray * 0.8)


def tree(scene, ahead, across, scale):
    """Draw a tree: trunk, branches, and a crown that lets through what is behind it."""
    camera, rng, city = scene.camera, scene.rng, scene.city
    trunk, radius = rng.uniform(2.2, 3.6), rng.uniform(1.6, 3.0) * scale
    bark = np.array((86, 74, 64)) * rng.uniform(0.7, 1.2)
    stem = [(-0.17, 0), (-0.11, trunk + 1), (0.11, trunk + 1), (0.17, 0)]
    scene.add("vegetation", camera.upright(across, ahead, stem), bark, ahead, 0.7)
    forks = rng.uniform((-0.6, 0.5), (0.6, 1.6), (6, 2)) * radius
    forks = [stroke((0, trunk), (x, trunk + y), 0.09) for x, y in forks]
    ragged = disc(0, 0, radius, 26) * rng.uniform(0.78, 1.12, (26, 1)) * (1, 1.3)
    outline = camera.upright(across, ahead, ragged + np.array((0, trunk + 1.1 * radius)))
    green = np.array(city.green) * rng.uniform(0.75, 1.3) * rng.uniform(0.93, 1.07, 3)
    leaf, density = max(camera.pixels(0.3, ahead), 1.2), city.leaves * rng.uniform(0.85, 1.05)
    scene.add("vegetation", outline)
    scene.paint(camera.upright(across, ahead, forks), bark, ahead)
    scene.add("vegetation", outline, green, ahead, 0.6, leafy=leaf, density=density)


# -- traffic ------------------------------------------------------------------------------------


def car(scene, ahead, across, name):
    """Draw a car on its lane: ours on the right, those that come towards us on the left."""
    crosses = scene.rng.random() < 0.06
    vehicle(scene, ahead, across, name, np.pi / 2 if crosses else np.pi * (across < 0))


def large(scene, ahead, across, name):
    """Draw one of the large vehicles of the table; a train always goes our way."""
    vehicle(scene, ahead, across, name, np.pi * (across < 0) * (name != "train"))


def vehicle(scene, ahead, across, name, turn):
    """Draw a vehicle of the table, or any ``car``, turned by so many radians."""
    camera, rng = scene.camera, scene.rng
    turn = turn + rng.normal(0, 0.02)
    if name == "car":
        name = catalogue.CARS[rng.integers(len(catalogue.CARS))]
        paint = np.array(catalogue.PAINTS[rng.integers(len(catalogue.PAINTS))])
    else:
        paint = np.clip(rng.uniform(70, 235) + rng.normal(0, 40, 3), 25, 240)
    parts = [VEHICLES[part] for part in catalogue.PARTS.get(name, (name,))]
    paint = paint * rng.uniform(0.85, 1.1)
    # One that comes towards us begins with its front, which is the far end of its side view.
    coming = np.cos(turn) < -0.5
    place = Place(across, ahead + coming * parts[0].length, turn)
    parts = parts if coming else parts[::-1]
    faces = [face for part in parts for face in geometry.faces_of(part, camera, place)]
    if not faces:
        return
    outline = geometry.hull(np.concatenate([polygon for _, polygon in faces]))
    scene.add(parts[0].label, outline, DARK, ahead)
    for what, polygon in faces:
        _paint_face(scene, what, polygon, paint, ahead, rear=np.cos(turn) > 0)


def _paint_face(scene, what, polygon, paint, ahead, rear):
    center = polygon.mean(axis=0)
    if what == "tyre":
        scene.paint(polygon, DARK, ahead)
        scene.paint(center + 0.55 * (polygon - center), (120, 122, 124), ahead)
    elif what in ("window", "glass"):
        if what == "glass":
            scene.paint(polygon, paint * 0.9, ahead)
            polygon = geometry.on_face(polygon, 0.08, 0.1, 0.92, 0.9)
        scene.paint(polygon, 0.1 * np.array(scene.light.sky[1]) + (32, 38, 43), ahead)
    else:
        shade = {"side": 0.8, "paint": 1.08, "end": 0.95, "dark": 0.3}[what]
        scene.paint(polygon, paint * shade, ahead, 0.12)
    if what == "end":
        lamps = [geometry.on_face(polygon, a, 0.6, a + 0.12, 0.88) for a in (0.02, 0.86)]
        scene.paint(lamps, (172, 26, 24) if rear else (226, 228, 220), ahead)
        scene.paint(geometry.on_face(polygon, 0.34, 0.3, 0.66, 0.5), (214, 212, 196), ahead)
        scene.paint(geometry.on_face(polygon, 0, 0, 1, 0.2), (44, 44, 46), ahead)


def two_wheeler(scene, ahead, across, name):
    """Draw a bicycle or motorcycle, and for a cyclist or motorcyclist the rider on it."""
    camera, rng = scene.camera, scene.rng
    motor, ridden = name.startswith("motor"), name.endswith("cyclist")
    turn = rng.normal(0, 0.25) + (0 if ridden else rng.choice([0, 0.7, np.pi / 2]))
    place, color = Place(across, ahead, turn), muted(rng) * 0.7
    radius, half, thick = (0.31, 0.72, 0.3) if motor else (0.34, 0.52, 0.2)

    def seen(outline, sideways=0.0):
        outline = np.asarray(outline)
        return camera.project(place.at(sideways, outline[:, 1], outline[:, 0]))

    wheels = [disc(x, radius, radius) for x in (-half, half)]
    body = np.multiply(catalogue.MOTORCYCLE if motor else catalogue.BICYCLE, (half, 1))
    bar = [seen([(half * 0.6, 1.0)], side * thick * 1.3)[0] for side in (-1, 1)]
    sides = [seen(part, s * thick / 3) for part in (*wheels, body) for s in (-1, 1)]
    outline = geometry.hull(np.concatenate([*sides, bar]))
    scene.add("motorcycle" if motor else "bicycle", outline)
    for wheel in wheels:
        center = wheel.mean(axis=0)
        inner = seen(center + (0.55 if motor else 0.8) * (wheel - center))
        scene.paint([seen(wheel, thick / 3), inner], DARK, ahead)  # a ring
    if motor:
        sides = np.concatenate([seen(body, side * thick) for side in (-1, 1)])
        scene.paint(geometry.hull(sides), color, ahead)
        scene.paint(seen(box(-half * 0.85, 0.74, 0, 0.88)), DARK, ahead)
        scene.paint(seen(box(-0.25, 0.3, 0.25, 0.52)), (92, 92, 96), ahead)
        scene.paint(seen(stroke((half * 0.6, 0.95), (half, 0.31), 0.1)), (110, 110, 114), ahead)
    else:
        for a, b in itertools.pairwise(body):
            scene.paint(seen(stroke(a, b, 0.07)), color, ahead)
    scene.paint(stroke(*bar, camera.pixels(0.07, ahead)), DARK, ahead)
    if ridden:
        person(scene, ahead, across, "rider", lift=0.3)


def person(scene, ahead, across, name, lift=0.0):
    """Draw someone on foot, or a rider, who sits so many metres higher."""
    camera, rng = scene.camera, scene.rng
    tall, stride = rng.uniform(1.5, 1.88), rng.uniform(0.06, 0.3)
    stride *= abs(math.cos(5 * scene.ride.seconds)) if name == "pedestrian" else 1
    coat = rng.uniform(20, 170) + rng.normal(0, 28, 3)
    legs = rng.uniform(18, 90) + rng.normal(0, 10, 3)
    skin = np.array((206, 164, 138)) * rng.uniform(0.5, 1.05)

    def seen(polygon):
        return camera.upright(across, ahead, np.add(polygon, (0, lift)))

    outline = seen(geometry.person_outline(tall, stride))
    scene.add("rider" if name == "rider" else "person", outline, legs, ahead)
    scene.paint(seen(np.multiply(catalogue.TORSO, (1, tall))), coat, ahead, 0.4)
    arms = [stroke((s * 0.24, 0.78 * tall), (s * 0.26, 0.47 * tall), 0.09) for s in (-1, 1)]
    scene.paint(seen(arms), coat * 0.75, ahead)
    scene.paint(seen(disc(0, 0.925 * tall, 0.1)), skin, ahead)
    scene.paint(seen(disc(0, 0.955 * tall, 0.09)), rng.uniform(15, 110, 3), ahead)


# -- furniture ----------------------------------------------------------------------------------


def pole(scene, ahead, across, name):
    """Draw a post and what it carries: a lamp, signs or traffic lights."""
    camera, rng = scene.camera, scene.rng
    height = rng.uniform(*{"lamp": (5.5, 9), "sign": (2.4, 3.6), "traffic light": (2.6, 4.2)}[name])
    gray, half, reach = np.full(3, rng.uniform(70, 140)), rng.uniform(0.05, 0.09), -np.sign(across)

    def add(label, outline, color, grain=0.2):
        scene.add(label, camera.upright(across, ahead, outline), color, ahead, grain)

    def light(x, y):
        lit = rng.integers(3)
        add("traffic light", box(x - 0.16, y - 0.45, x + 0.16, y + 0.5), (30, 34, 32))
        lamp = camera.upright(across, ahead, disc(x, y + (0.32, 0.02, -0.28)[lit], 0.11))
        scene.paint(lamp, ((236, 52, 40), (246, 180, 50), (60, 226, 130))[lit], 0)

    on_arm = name == "traffic light" and rng.random() < 0.4
    top = height + 1.8 * on_arm
    add("pole", box(-half, 0, half, top), gray)
    if name == "lamp":
        add("pole", stroke((0, top), (reach * 1.6, top + 0.2), 0.1), gray)
        add("static", stroke((reach * 1.3, top + 0.2), (reach * 2.1, top + 0.25), 0.22), gray * 1.5)
    elif name == "sign":
        for k in range(rng.integers(1, 3)):
            _plate(scene, camera, ahead, across, top - 0.66 * k)
    else:
        if on_arm:
            add("pole", stroke((0, top), (reach * 3, top), 0.12), gray)
            light(reach * 2.8, top - 0.4)
        light(0.0, min(height, 3.3) - 0.5)


def _plate(scene, camera, ahead, across, y):
    """Draw a sign: a ban, a warning, a place name, or the gray back of one."""
    rng = scene.rng
    kind, wide = rng.integers(5), rng.uniform(0.22, 0.6)
    plate = (disc(0, y, 0.3), np.array([(-0.35, y - 0.25), (0, y + 0.36), (0.35, y - 0.25)]))
    plate = (plate * 2)[kind] if kind < 3 else box(-wide, y - 0.28, wide, y + 0.28)
    inner = plate.mean(axis=0) + 0.62 * (plate - plate.mean(axis=0))
    rim, face = catalogue.SIGNS[rng.integers(len(catalogue.SIGNS))]
    scene.add("traffic sign", camera.upright(across, ahead, plate), rim, ahead, 0.1)
    scene.paint(camera.upright(across, ahead, inner), face, ahead, 0.1)


def bollard(scene, ahead, across, name):
    """Draw a bollard, or the group of posts that the labels call a pole group."""
    number, label = (4, "polegroup") if name == "polegroup" else (1, "pole")
    posts = [box(x - 0.06, 0, x + 0.06, 1.0) for x in 0.35 * np.arange(number)]
    whole = box(-0.06, 0, 0.35 * number - 0.29, 1.0)
    scene.add(label, scene.camera.upright(across, ahead, whole))
    gray = np.full(3, scene.rng.uniform(60, 150))
    scene.paint(scene.camera.upright(across, ahead, posts), gray, ahead)


def crate(scene, ahead, across, name):
    """Draw what is a box to a passing driver: bins, adverts, bags, strollers, the unnamed."""
    camera, rng = scene.camera, scene.rng
    label, low, wide, tall = catalogue.CRATES[name]
    wide, tall, low = rng.uniform(*wide), rng.uniform(*tall), low * rng.integers(2)
    color = rng.uniform(30, 200) + rng.normal(0, 25, 3)
    front = box(-wide / 2, low, wide / 2, low + tall)
    points = Place(across, ahead).at(
        np.r_[front[:, 0], front[:, 0]], np.r_[front[:, 1], front[:, 1]], np.repeat((0, 0.6), 4)
    )
    scene.add(label, geometry.hull(camera.project(points)), color * 0.7, ahead, 0.3)
    scene.paint(camera.upright(across, ahead, front), color, ahead, 0.3)
    if name == "advert":
        inner = box(-wide * 0.4, low + 0.2 * tall, wide * 0.4, low + 0.92 * tall)
        scene.paint(camera.upright(across, ahead, inner), muted(rng) + 30, ahead, 0.5)


DRAW = {
    "pedestrian": person,
    "car": car,
    **dict.fromkeys(("cyclist", "bicycle", "motorcycle", "motorcyclist"), two_wheeler),
    **dict.fromkeys(("truck", "bus", "train", "caravan", "trailer"), large),
    **dict.fromkeys(("lamp", "sign", "traffic light"), pole),
    **dict.fromkeys(("bollards", "polegroup"), bollard),
    **dict.fromkeys(catalogue.CRATES, crate),
}  # the names of the catalogue's things
