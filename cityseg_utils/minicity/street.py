"""Lays out a street of a city and sets its things into it, from far to near."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cityseg_utils.minicity import things
from cityseg_utils.minicity.catalogue import CITIES, LIGHTS, STRUCTURES, THINGS, VEHICLES
from cityseg_utils.minicity.geometry import FAR, NEAR, Camera, box, disc
from cityseg_utils.minicity.scene import FAR_AWAY, FIRST, FIXED, GROUND, STILL, Ride, Scene, Spot

_IRRATIONAL = np.sqrt([n for n in range(2, 240) if all(n % d for d in range(2, n))])
EXTRAS = (7, 9)  # fewest and most labels, in a scene, of those that some scenes lack
TWO_LABELS = {"cyclist": 2, "motorcyclist": 2, "train": 2}  # riders, and the rail track
BLACK, WHITE = (0, 0, 0), np.array((222, 222, 220))
# How fast traffic is on a ride, in parts of the camera's speed: it keeps its distance.
MOVING = {**dict.fromkeys(("car", "bus", "truck", "train", "motorcyclist"), 1.1), "cyclist": 0.55}


@dataclass(frozen=True)
class Street:
    """Widths in metres, and where the side streets leave."""

    road: float  # half of the road
    verge: float
    walk: float
    parked: tuple[bool, bool]  # is there a row of parked cars, left and right
    gaps: tuple[tuple[int, float, float], ...]  # side, near and far end of a side street

    @property
    def line(self) -> float:
        """Distance of the houses from the middle of the road."""
        return self.road + self.verge + self.walk

    @property
    def track(self) -> float:
        """Where the tram runs, if there is one."""
        return -0.45 * self.road

    def seen_after(self, metres: float) -> "Street":
        """Return the street as a camera sees it that has driven so far."""
        return replace(self, gaps=tuple((s, a - metres, b - metres) for s, a, b in self.gaps))


@dataclass(frozen=True)
class Placed:
    """A thing at its place: `draw` is called with the scene, `ahead`, `across` and the rest."""

    ahead: float
    across: float
    draw: Callable
    rest: tuple
    layer: int = 2  # 0: the line of houses, 1: right before it, 2: all else
    number: int = FIRST

    @property
    def is_wall(self) -> bool:
        """Whether it goes along the street, up to the first of the rest."""
        return self.draw in (things.house, things.barrier)

    def seen_after(self, ride: Ride, speed: float) -> "Placed | None":
        """Return the thing as a camera sees it on its ride, or None where that is not at all."""
        metres = ride.travelled - speed * ride.seconds
        end = self.rest[0] if self.is_wall else self.ahead - 0.8
        if end - metres < NEAR or self.ahead - metres > FAR:
            return None
        rest = (end - metres, *self.rest[1:]) if self.is_wall else self.rest
        return replace(self, ahead=self.ahead - metres, rest=rest)


def deal(seed: tuple[int, int, int], clutter: float) -> set[str]:
    """Deal things and structures to scene k of a split, ``seed = (seed, split, k)``.

    Each is dealt by its own additive recurrence, so its chance holds in every run of scenes, not
    only in the long one: with a chance of 0.1 some scene of twenty has it.
    """
    chances = {name: thing.chance * clutter**0.5 for name, thing in THINGS.items()} | STRUCTURES
    names, chance = list(chances), np.array(list(chances.values()))
    offset = np.random.default_rng(seed[:2]).random(len(names))
    draw = (offset + seed[2] * _IRRATIONAL[: len(names)]) % 1 / chance
    draw[[name in THINGS and THINGS[name].chance == 1 for name in names]] = 0
    order = np.argsort(draw)
    labels = np.cumsum([TWO_LABELS.get(names[i], draw[i] > 0) for i in order])
    wanted = np.clip(labels[np.searchsorted(draw[order], 1) - 1], *EXTRAS)
    return {names[i] for i in order[labels <= wanted]}


def make_scene(
    city: str,
    seed: tuple[int, int, int],
    size: tuple[int, int],
    clutter: float = 1.0,
    ride: Ride = STILL,
) -> Scene:
    """Draw one street of `city`; equal arguments give equal scenes.

    On a `ride` of some length the street goes on for so long; it begins as the still does.
    """
    rng = np.random.default_rng(seed)
    look, has = CITIES[city], deal(seed, clutter)
    light = LIGHTS[str(rng.choice(list(look.lights), p=list(look.lights.values())))]
    street = _plan(rng, has)
    lane = (street.road - 2.1 * street.parked[1]) * rng.uniform(0.25, 0.55)
    sun, camera = rng.uniform(-1, 1), Camera(size, rng, lane)
    scene = Scene(size, seed, look, light, sun, rng, camera, has, ride=ride, thing=FAR_AWAY)
    _backdrop(scene)
    scene.thing = GROUND
    _ground(scene, street.seen_after(ride.travelled))
    placed = [*_built(scene, street), *_planted(scene, street), *_set(scene, street, clutter)]
    if ride.length:
        placed = _ridden_past(scene, placed)
    _shadows(scene, placed)
    # Seen from the road, nothing on it or on the sidewalk is ever behind the line of houses.
    for thing in sorted(placed, key=lambda thing: (thing.layer, -thing.ahead)):
        if ride.length:
            scene.thing = thing.number
            scene.rng = np.random.default_rng((*seed, thing.number))  # looks the same next time
        thing.draw(scene, thing.ahead, thing.across, *thing.rest)
    if ride.length:
        scene.rng = np.random.default_rng((*seed, FIXED))
    scene.thing = FIXED
    _own_car(scene)
    return scene


def _stretches(scene, metres: float) -> np.ndarray:
    """Return where on a ride what fills so many metres of a still begins again; 0 for a still."""
    length = scene.ride.length
    return np.arange(0, length + metres if length else 1, metres)


def _ridden_past(scene, placed: list[Placed]) -> list[Placed]:
    """Return what is in view on a ride, where it is by now."""
    ride, now = scene.ride, []
    walks = np.random.default_rng((*scene.seed, 0)).choice([-1.3, 1.3], len(placed))
    for number, (thing, walk) in enumerate(zip(placed, walks, strict=True), FIRST):
        if thing.rest[:1] == ("unlabeled",):  # it stands on the road, to be seen from far only
            continue
        name = thing.rest[0] if thing.rest else None
        ours = thing.across > 0 or name == "train"
        if thing.draw is things.person:
            speed = walk
        elif name in MOVING and thing.draw is not things.vehicle:  # those are parked
            speed = MOVING[name] * ride.speed * (1 if ours else -1)
        else:
            speed = 0.0
        if thing.draw is things.car:  # none that crosses
            thing = replace(thing, draw=things.vehicle, rest=("car", 0.0 if ours else np.pi))
        if seen := thing.seen_after(ride, speed):
            now.append(replace(seen, number=number))
            scene.spots[number] = Spot(seen.is_wall, seen.across, seen.ahead, speed)
    return now


def _plan(rng, has) -> Street:
    gaps = []
    for side in rng.permutation([-1, 1])[: rng.choice([0, 1, 2], p=(0.45, 0.28, 0.27))]:
        near = rng.uniform(12, 45)
        gaps.append((int(side), near, near + rng.uniform(7, 11)))
    parked = rng.random() < 0.62, rng.random() < 0.62
    return Street(
        road=rng.uniform(2.9, 4.7) + 1.1 * sum(parked),
        verge=rng.uniform(0.7, 1.8) if "terrain" in has else 0.0,
        walk=rng.uniform(3.8, 8.0),
        parked=parked,
        gaps=tuple(gaps),
    )


# -- what lies flat -----------------------------------------------------------------------------


def _backdrop(scene):
    """Draw the sky, and houses and hills where the street ends."""
    (h, w), rng = scene.size, scene.rng
    end = scene.camera.project((0, 0, FAR))[1]
    top, low = (np.array(color) for color in scene.light.sky)
    rows = np.linspace(0, end + 3, 13)
    scene.add("sky", box(0, 0, w, end + 3), top, 0, 0.1)
    for k in range(12):
        scene.paint(box(0, rows[k], w, rows[k + 1]), top + (low - top) * k / 11, 0, 0.1)
    edges = np.linspace(0, w, 13)
    walls = np.repeat(rng.uniform(0.1, 1, 12) * rng.uniform(0.3, 1) * 0.56, 2)
    hills = np.linspace(0, w, 60)
    crowns = 0.16 * np.interp(hills, edges, rng.uniform(0.05, 0.8, 13)) + rng.normal(0, 0.006, 60)
    for label, xs, tall, color in (
        ("building", np.repeat(edges, 2)[1:-1], walls, (150, 146, 142)),
        ("vegetation", hills, crowns, np.multiply(scene.city.green, 0.9)),
    ):
        outline = np.column_stack([np.r_[0, xs, w], np.r_[end + 3, end - h * tall, end + 3]])
        scene.add(label, outline, color, FAR)


def _ground(scene, street):
    """Draw the road and all that lies beside it, the widest first."""
    (h, w), camera, rng, has = scene.size, scene.camera, scene.rng, scene.has
    end = camera.project((0, 0, FAR))[1]
    scene.add("static", box(0, end, w, h), (128, 124, 118), FAR / 3, 0.6)
    stone = rng.uniform(128, 160) + rng.uniform(-6, 6, 3)
    asphalt = scene.city.asphalt * rng.uniform(0.9, 1.1) + np.array((0, 0, 3))
    grass = np.multiply(scene.city.green, 0.5) + np.array((62, 60, 34))
    walk = camera.ground(-street.line - 1, street.line + 1, 1, FAR)
    scene.add("sidewalk", walk, stone, 15, 0.3)
    sides = (-street.line, -street.road), (street.road, street.line)
    gone = scene.ride.travelled
    tiles = np.arange(4, 26, 1.6) - gone % 1.6
    joints = [camera.ground(*s, z, z + 0.06) for z in tiles for s in sides]
    scene.paint(joints, stone * 0.8, 12)
    for side, near, far in street.gaps:
        strip = camera.ground(0, side * 70, near + 1.5, far - 1.5)
        scene.add("road", strip, asphalt, near, 0.35)
    for side in (-1, 1) if street.verge else ():
        inner, outer = side * street.road, side * (street.road + street.verge)
        ends = [2.0, *(z for s, *gap in street.gaps if s == side for z in gap), FAR]
        for near, far in zip(ends[::2], ends[1::2], strict=True):
            scene.add("terrain", camera.ground(inner, outer, near, far), grass, near + 9, 0.9)
    for start in _stretches(scene, 36) - gone if "ground" in has else ():
        for near in start + rng.uniform(7, 40, 3):  # driveways
            side, far = rng.choice([-1, 1]), near + rng.uniform(3, 7)
            drive = camera.ground(side * street.road, side * street.line, near, far)
            scene.add("ground", drive, stone * 0.82 + rng.uniform(-9, 9, 3), near, 0.7)
    kerb = camera.ground(-street.road - 0.18, street.road + 0.18, 1, FAR)
    scene.add("sidewalk", kerb, stone * 1.12, 15)
    scene.add("road", camera.ground(-street.road, street.road, 0, FAR), asphalt, 12, 0.35)
    _wear(scene, street, asphalt)
    if "parking" in has:
        side, near = rng.choice([-1, 1]), rng.uniform(10, 25) - gone
        bay = camera.ground(side * street.road, side * (street.road - 2.2), near, near + 22)
        scene.add("parking", bay, asphalt * 1.16, 15, 0.6)
    if "train" in has:
        start = 9 - gone
        bed = camera.ground(street.track - 1.1, street.track + 1.1, start, FAR)
        scene.add("rail track", bed, asphalt * 1.05, 25)
        for x in (street.track - 0.72, street.track + 0.72):
            scene.paint(camera.ground(x - 0.05, x + 0.05, start, FAR), (72, 70, 72), 25)
    _markings(scene, street)


def _wear(scene, street, asphalt):
    """Paint patches, seams and gutters, so that a road is not one colour."""
    camera, rng, half = scene.camera, scene.rng, street.road
    for start in _stretches(scene, 36) - scene.ride.travelled:
        for _ in range(rng.integers(3, 8)):
            x, z, long = rng.uniform(-half, half), start + rng.uniform(4, 40), rng.uniform(1, 9)
            patch = camera.ground(x, min(x + rng.uniform(0.6, 2.5), half), z, z + long)
            scene.paint(patch, asphalt * rng.uniform(0.84, 1.12), z, 0.4)
    for x in rng.uniform(-half, half, 3):
        scene.paint(camera.ground(x, x + 0.06, 3, 50), asphalt * 0.72, 12)
    for x in (-half + 0.15, half - 0.15):
        scene.paint(camera.ground(x - 0.15, x + 0.15, 2, FAR), asphalt * 0.8, 14)


def _markings(scene, street):
    """Paint dashes, a pedestrian crossing with its stop line, and the edges of side streets."""
    camera, rng, half = scene.camera, scene.rng, street.road
    white = WHITE * rng.uniform(0.72, 0.98)
    starts = np.arange(3, FAR, 6) + rng.uniform(0, 6) - scene.ride.travelled % 6
    for x in ((0,) if half < 6 else (-half / 3, half / 3)) if rng.random() < 0.85 else ():
        dashes = [camera.ground(x - 0.07, x + 0.07, z, z + 3) for z in starts]
        scene.paint(dashes, white, 14)
    for start in _stretches(scene, 40) - scene.ride.travelled:
        if rng.random() >= 0.35:
            continue
        z = start + rng.uniform(9, 34)
        bars = np.arange(-half + 0.4, half - 0.6, 1.0)
        scene.paint([camera.ground(x, x + 0.5, z, z + 3) for x in bars], white, z)
        scene.paint(camera.ground(0.1, half - 0.3, z - 1.6, z - 1.2), white, z)
    for side, near, far in street.gaps:
        edge = camera.ground(side * (half + 0.3), side * half, near + 2, far - 2)
        scene.paint(edge, white, near)


# -- what stands --------------------------------------------------------------------------------


def _built(scene, street) -> Iterator[Placed]:
    """Yield houses on both sides, what stands before them or in their place, and bridges."""
    rng, has = scene.rng, scene.has
    kinds = [kind for kind in ("fence", "wall") if kind in has] or ["hedge"]
    for side in (-1, 1):
        ahead = 2.5
        while ahead < FAR + scene.ride.length:
            end = ahead + rng.uniform(7, 20)
            for s, near, far in street.gaps:
                if s == side and near < end and far > ahead:
                    ahead, end = (ahead, near) if near - ahead > 5 else (far, far + 9)
            draw = rng.random()
            if draw < 0.92:
                storeys = max(1.8, rng.normal(scene.city.storeys, 1.0))
                yield Placed(ahead, side * street.line, things.house, (end, storeys), 0)
            if draw > 0.62:
                kind = kinds[rng.integers(len(kinds))] if rng.random() < 0.8 else "hedge"
                across = side * (street.line - (rng.uniform(0.3, 0.8) if draw < 0.92 else 0))
                yield Placed(ahead, across, things.barrier, (end, kind), 1)
            ahead = end
    if "guard rail" in has:
        ahead, across = rng.uniform(8, 25), rng.choice([-1, 1]) * (street.road + 0.3)
        yield Placed(ahead, across, things.barrier, (ahead + 24, "guard rail"))
    for name in ("bridge", "tunnel"):
        if name in has:
            rest = street.road, street.line, name == "tunnel"
            yield Placed(rng.uniform(40, 72), 0.0, things.bridge, rest)


def _planted(scene, street) -> Iterator[Placed]:
    """Yield an alley of trees, or a tree here and there, and gardens behind the houses."""
    rng = scene.rng
    for side in (-1, 1):
        alley = rng.random() < 0.55
        step = scene.city.trees * (1.1 if alley else 2.6)
        for z in np.arange(rng.uniform(7, 7 + step), 90 + scene.ride.length, step):
            ahead = max(z + rng.normal(0, 0.08 * step), 6)
            off = 0.8 if alley else rng.uniform(0.8, street.verge + street.walk)
            yield Placed(ahead, side * (street.road + off), things.tree, (1.0,))
        for start in _stretches(scene, 68):
            for _ in range(rng.integers(0, 4)):
                across = side * (street.line + rng.uniform(4, 12))
                yield Placed(start + rng.uniform(12, 80), across, things.tree, (1.35,), 0)


def _set(scene, street, clutter) -> Iterator[Placed]:
    """Yield traffic, people and furniture, as the catalogue says, and rows of parked cars."""
    rng = scene.rng
    taken: list[tuple[float, float, float]] = []  # where vehicles are: across, from, to

    def free(across, ahead, length):
        if any(abs(across - x) < 2.1 and ahead < b and a < ahead + length for x, a, b in taken):
            return False
        taken.append((across, ahead - 0.8, ahead + length + 0.8))
        return True

    for name, thing in THINGS.items():
        low, high = thing.number
        # On a ride the rare ones come once, and traffic is dense, as it moves away or past us.
        starts = _stretches(scene, 60 if thing.where != "lane" else 30)[
            : 1 if thing.chance < 0.3 else None
        ]
        number = round(int(rng.integers(low, high + 1)) * clutter) or int(low > 0)
        for start in np.repeat(starts, number if name in scene.has else 0):
            near, far = thing.depth
            # As many per doubling of the distance.
            ahead = float(start) + near * (far / near) ** rng.random()
            across = _across(rng, street, thing.where, rng.choice([-1, 1]))
            length = VEHICLES[name].length if name in VEHICLES else 5.0
            if thing.where not in ("lane", "track", "parked") or free(across, ahead, length):
                yield Placed(ahead, across, things.DRAW[name], (name,))
    for side in (-1, 1):
        z = rng.uniform(5, 14)
        while street.parked[side > 0] and z < 75 + scene.ride.length:
            across = side * (street.road - 1.05 + rng.normal(0, 0.08))
            if rng.random() < 0.72 * min(1.3, clutter) and free(across, z, 4.5):
                turn = np.pi if side < 0 and rng.random() < 0.8 else 0.0
                yield Placed(z, across, things.vehicle, ("car", turn))
            z += rng.uniform(5.6, 8.5)


def _across(rng, street, where, side) -> float:
    low, high = {
        "lane": (0.2 * street.road, 0.45 * street.road),
        "edge": (street.road - 2.6, street.road - 1.9),
        "parked": (street.road - 1.0, street.road - 0.8),
        "kerb": (street.road + 0.3, street.road + 0.6),
        "walk": (street.road + 0.5, street.line - 0.3),
        "wall": (street.line - 0.9, street.line - 0.3),
        "track": (-side * street.track,) * 2,
        "end": (0, street.road),
    }[where]
    return (-1 if where == "track" else side) * rng.uniform(low, high)


# -- before everything, and over it -------------------------------------------------------------


def _shadows(scene, placed):
    """Darken the ground: under all that stands on it and, in the sun, beside houses and trees."""
    camera, sun, patches = scene.camera, scene.light.shadow > 0, []
    for thing in placed:
        x, z, side = thing.across, thing.ahead, np.sign(thing.across)
        if thing.draw in (things.car, things.large, things.vehicle):
            long = 9.0 if thing.draw is things.large else 4.4
            patches.append(camera.ground(x - 1.05, x + 1.05, z - 0.3, z + long))
        elif thing.draw in (things.person, things.two_wheeler):
            patches.append(camera.ground(x - 0.3, x + 0.3, z - 0.1, z + 0.5))
        elif thing.draw is things.house and sun and side == np.sign(scene.sun):
            end, storeys = thing.rest
            reach = 3.2 * storeys * abs(scene.sun)
            patches.append(camera.ground(x, x - side * reach, z, end))
        elif thing.draw is things.tree and sun:
            spot = disc(x - 3 * scene.sun, z, 2.4)
            patches.append(camera.project(np.insert(spot, 1, 0.0, axis=1)))
    scene.darken(patches)


def _own_car(scene):
    """Draw the own bonnet, and the borders that rectifying the image leaves."""
    h, w = scene.size
    rng = np.random.default_rng(scene.seed[:2])  # one car for the whole split
    middle, half = w * rng.uniform(0.47, 0.53), w * rng.uniform(0.32, 0.38)
    angle, top = np.linspace(0, np.pi, 40), h * rng.uniform(0.1, 0.13)
    arc = np.column_stack([half * np.cos(angle), -top * np.sin(angle) ** 0.8])
    bonnets = [size * arc + (middle, h) for size in (1.0, 0.86, 0.6)]  # fmt: skip
    scene.add("ego vehicle", bonnets[0])
    for bonnet, color in zip(bonnets, ((34, 38, 44), (58, 64, 72), (46, 50, 57)), strict=True):
        scene.paint(bonnet, color, 0)
    if "rectification border" in scene.has:
        side = 0.028 * w * scene.rng.uniform(0.8, 1.2)
        for left, right in ((0, side), (w, w - side)):
            wedge = np.array([(left, 0.1 * h), (right, h), (left, h)])
            scene.add("rectification border", wedge, BLACK, 0, 0)
        scene.add("rectification border", box(0, 0.978 * h, w, h), BLACK, 0, 0)
    edge = max(5 / 2048 * w - 1, 0)  # an outline includes its pixels
    outer, inner = box(0, 0, w, h), box(edge, edge, w - edge, h - edge)
    # A frame as one outline: round the outside, in along a seam, and back round the inside.
    scene.add("out of roi", np.concatenate([outer, outer[:1], inner[:1], inner[::-1], outer[:1]]))
    inner = box(edge + 1, edge + 1, w - edge - 1, h - edge - 1)
    scene.paint([outer, inner], BLACK, 0, 0)
