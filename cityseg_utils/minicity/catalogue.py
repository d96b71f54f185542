"""What a city is made of: a table of its things, its vehicles, its cities and their light.

Sizes are metres, colours RGB in 0..255. Chances and numbers were set by measuring the result
against real streets (``python -m cityseg_utils.minicity.measure``).
"""

from dataclasses import dataclass

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """Something a street may have: in which share of scenes, how many there, and where.

    `where` is a strip of the street: ``lane``, ``edge`` (of the lane), ``track`` (of the tram),
    ``parked``, ``kerb``, ``walk``, ``wall`` (before the houses) or ``end`` (far away). `depth` is
    the range of distances, each doubling of which is as likely as the next.
    """

    chance: float
    number: tuple[int, int] = (1, 1)
    where: str = "walk"
    depth: tuple[float, float] = (8, 50)


# What a scene has of these is dealt (see `street.deal`), so that a handful of scenes has them all.
# Large vehicles come first, as what finds no room is left out.
THINGS = {
    "train": Thing(0.12, (1, 1), "track", (24, 55)),
    "bus": Thing(0.12, (1, 1), "lane", (42, 90)),
    "truck": Thing(0.12, (1, 1), "lane", (30, 75)),
    "caravan": Thing(0.05, (1, 1), "parked", (14, 40)),
    "trailer": Thing(0.05, (1, 1), "parked", (12, 40)),
    "car": Thing(1.00, (1, 4), "lane", (12, 75)),
    "pedestrian": Thing(0.80, (2, 10), "walk", (9, 48)),
    "cyclist": Thing(0.36, (1, 2), "edge", (12, 50)),
    "bicycle": Thing(0.60, (1, 5), "kerb", (8, 30)),
    "motorcycle": Thing(0.26, (1, 2), "parked", (6, 18)),
    "motorcyclist": Thing(0.08, (1, 1), "lane", (12, 35)),
    "lamp": Thing(1.00, (2, 5), "kerb", (9, 70)),
    "sign": Thing(1.00, (3, 7), "kerb", (10, 65)),
    "traffic light": Thing(0.70, (1, 4), "kerb", (13, 60)),
    "bollards": Thing(1.00, (0, 7), "kerb", (8, 30)),
    "polegroup": Thing(0.06, (1, 2), "kerb", (9, 22)),
    "bin": Thing(1.00, (0, 4), "wall", (8, 40)),
    "advert": Thing(1.00, (1, 4), "wall", (8, 40)),
    "bags": Thing(0.30, (2, 4), "kerb", (8, 28)),
    "stroller": Thing(0.12, (1, 2), "kerb", (9, 25)),
    "unlabeled": Thing(0.32, (1, 2), "end", (60, 95)),
}

# What the street itself may have: the share of scenes.
STRUCTURES = {
    "fence": 0.55,
    "wall": 0.45,
    "guard rail": 0.06,
    "parking": 0.20,
    "ground": 0.36,
    "terrain": 0.48,
    "bridge": 0.06,
    "tunnel": 0.05,
    "rectification border": 0.65,
}


@dataclass(frozen=True)
class Vehicle:
    """A prism: a side view drawn along the length, as wide as the vehicle, glass where it says so.

    `profile` lists (along, up, width) as parts of length, height and width, and what the face to
    the next corner is: paint, glass, or dark. Windows in the sides are (from, to, low, high).
    """

    label: str
    length: float
    width: float
    height: float
    profile: tuple[tuple[float, float, float, str], ...]
    windows: tuple[tuple[float, float, float, float], ...] = ()
    wheels: tuple[float, ...] = (0.18, 0.82)
    wheel: float = 0.32


# fmt: off
_SALOON = (
    (0.00, 0.16, 0.96, "paint"), (0.00, 0.60, 1.00, "paint"), (0.10, 0.66, 1.00, "glass"),
    (0.24, 0.98, 0.76, "paint"), (0.56, 1.00, 0.76, "glass"), (0.74, 0.66, 1.00, "paint"),
    (1.00, 0.50, 0.94, "paint"), (1.00, 0.16, 0.92, "dark"),
)
_HATCHBACK = (
    (0.00, 0.16, 0.96, "paint"), (0.00, 0.58, 1.00, "glass"), (0.09, 0.97, 0.78, "paint"),
    (0.52, 1.00, 0.78, "glass"), (0.74, 0.64, 1.00, "paint"), (1.00, 0.50, 0.94, "paint"),
    (1.00, 0.16, 0.92, "dark"),
)
_VAN = (
    (0.00, 0.14, 1.00, "paint"), (0.00, 0.55, 1.00, "glass"), (0.03, 0.92, 0.90, "paint"),
    (0.10, 1.00, 0.88, "paint"), (0.66, 1.00, 0.88, "glass"), (0.86, 0.58, 1.00, "paint"),
    (1.00, 0.46, 0.98, "paint"), (1.00, 0.14, 0.96, "dark"),
)
_BUS = (
    (0.00, 0.10, 1.00, "paint"), (0.00, 0.48, 1.00, "glass"), (0.00, 0.84, 1.00, "paint"),
    (0.01, 1.00, 0.96, "paint"), (0.99, 1.00, 0.96, "paint"), (1.00, 0.88, 1.00, "glass"),
    (1.00, 0.38, 1.00, "paint"), (1.00, 0.10, 1.00, "dark"),
)
_TRAM = (
    (0.00, 0.08, 0.80, "paint"), (0.00, 0.45, 0.92, "glass"), (0.02, 0.88, 0.84, "paint"),
    (0.05, 1.00, 0.70, "paint"), (0.95, 1.00, 0.70, "paint"), (0.98, 0.88, 0.84, "glass"),
    (1.00, 0.45, 0.92, "paint"), (1.00, 0.08, 0.80, "dark"),
)
_CARAVAN = (
    (0.00, 0.18, 0.95, "paint"), (0.02, 0.55, 1.00, "glass"), (0.05, 0.88, 0.96, "paint"),
    (0.12, 1.00, 0.92, "paint"), (0.88, 1.00, 0.92, "paint"), (1.00, 0.60, 1.00, "paint"),
    (0.96, 0.18, 0.95, "dark"),
)
_BOX = (
    (0.00, 0.22, 1.00, "paint"), (0.00, 1.00, 1.00, "paint"), (1.00, 1.00, 1.00, "paint"),
    (1.00, 0.22, 1.00, "dark"),
)
_CAB = (
    (0.74, 0.15, 0.94, "dark"), (0.74, 0.82, 0.94, "paint"), (0.94, 0.82, 0.92, "glass"),
    (1.00, 0.46, 0.96, "paint"), (1.00, 0.12, 0.94, "dark"),
)
# fmt: on
_FRONT, _REAR = (0.45, 0.66, 0.66, 0.93), (0.16, 0.42, 0.66, 0.93)
_ROW = tuple((a, a + 0.1, 0.45, 0.85) for a in (0.03, 0.15, 0.27, 0.39, 0.51, 0.63, 0.75))

VEHICLES = {
    "saloon": Vehicle("car", 4.5, 1.78, 1.45, _SALOON, ((0.2, 0.4, 0.68, 0.93), _FRONT)),
    "hatchback": Vehicle("car", 3.9, 1.72, 1.48, _HATCHBACK, (_REAR, _FRONT)),
    "estate": Vehicle("car", 4.6, 1.82, 1.52, _HATCHBACK, ((0.1, 0.26, 0.66, 0.93), _REAR, _FRONT)),
    "van": Vehicle("car", 4.8, 1.92, 1.95, _VAN, ((0.5, 0.72, 0.6, 0.9),)),
    "truck": Vehicle("truck", 8.5, 2.45, 3.4, _BOX, (), (0.16, 0.3, 0.86), 0.48),
    "cab": Vehicle("truck", 8.5, 2.45, 3.0, _CAB, ((0.82, 0.92, 0.5, 0.76),), ()),
    "bus": Vehicle("bus", 11.5, 2.5, 3.1, _BUS, _ROW, (0.22, 0.78), 0.48),
    "train": Vehicle("train", 24.0, 2.5, 3.4, _TRAM, _ROW, ()),
    "caravan": Vehicle("caravan", 5.5, 2.2, 2.5, _CARAVAN, ((0.3, 0.6, 0.5, 0.75),), (0.5,)),
    "trailer": Vehicle("trailer", 3.2, 1.6, 1.3, _BOX, (), (0.5,), 0.3),
}
PARTS = {"truck": ("truck", "cab")}  # of more than one prism, the rearmost first
CARS = ("hatchback", "saloon", "estate", "hatchback", "van")

# fmt: off
PAINTS = (
    (32, 34, 40), (48, 50, 56), (178, 180, 184), (122, 126, 132), (225, 226, 226),
    (128, 30, 32), (38, 56, 108), (44, 78, 62), (150, 130, 96),
)
SIGNS = (  # rim and face
    ((186, 30, 34), (236, 236, 236)), ((32, 72, 160), (225, 228, 236)),
    ((236, 200, 40), (24, 24, 26)), ((140, 142, 144), (140, 142, 144)),
)
# Side views (along, up); along is in parts of half the distance of the wheels.
BICYCLE = ((-1, 0.34), (-0.3, 0.85), (0.67, 0.85), (0, 0.3), (-0.3, 0.85), (1, 0.34))
MOTORCYCLE = (
    (-0.9, 0.55), (-0.85, 0.8), (0, 0.78), (0.25, 0.95), (0.6, 0.9), (0.35, 0.45), (-0.3, 0.3),
)
TORSO = (  # (sideways in metres, up in parts of the height)
    (-0.29, 0.46), (-0.27, 0.70), (-0.20, 0.82), (0.20, 0.82),
    (0.27, 0.70), (0.29, 0.46), (0.18, 0.45), (-0.18, 0.45),
)
# fmt: on
CRATES = {  # label, height above the ground (or on it), ranges of width and height
    "bin": ("static", 0, (0.5, 1.0), (0.9, 1.4)),
    "advert": ("static", 2.2, (0.9, 1.6), (1.6, 2.6)),
    "bags": ("dynamic", 0, (0.4, 0.8), (0.3, 0.6)),
    "stroller": ("dynamic", 0, (0.45, 0.6), (0.9, 1.1)),
    "unlabeled": ("unlabeled", 0, (1.0, 2.5), (1.0, 2.5)),
}


@dataclass(frozen=True)
class Light:
    """Weather and hour: how bright, how tinted, how far one sees, how deep the shadows are."""

    exposure: tuple[float, float]
    tint: RGB
    sky: tuple[RGB, RGB]  # at the top and at the horizon
    visibility: float  # metres after which 63 % of a colour is air
    shadow: float  # how much light a shadow takes away; 0: no sun


LIGHTS = {
    "overcast": Light((0.80, 1.05), (1.0, 1.0, 1.02), ((196, 202, 208), (226, 229, 232)), 380, 0),
    "sun": Light((0.95, 1.20), (1.04, 1.0, 0.95), ((120, 165, 222), (214, 228, 240)), 600, 0.5),
    "dusk": Light((0.45, 0.65), (0.98, 0.97, 1.08), ((88, 100, 130), (206, 178, 156)), 420, 0),
    "haze": Light((0.85, 1.05), (1.0, 1.0, 1.0), ((214, 216, 218), (222, 223, 224)), 110, 0),
}


@dataclass(frozen=True)
class City:
    """What makes a city look like itself."""

    facades: tuple[RGB, ...]
    roofs: RGB
    storeys: float
    trees: float  # metres between trees on a side
    leaves: float  # how dense the crowns are: 1 in summer, 0.4 in winter
    green: RGB
    asphalt: float
    lights: dict[str, float]


_BRICK = ((142, 92, 74), (158, 112, 88), (128, 84, 72))
_STUCCO = ((212, 200, 174), (196, 186, 170), (220, 214, 202), (186, 160, 120))
_STONE = ((168, 158, 140), (150, 144, 134), (180, 172, 156))
_PAINTED = ((206, 190, 130), (176, 104, 84), (150, 168, 150), (214, 210, 200), (136, 148, 168))
_CONCRETE = ((150, 150, 150), (172, 172, 170), (130, 132, 136))
_LEAF, _OLIVE, _AUTUMN, _TWIGS = (66, 92, 44), (88, 100, 52), (130, 104, 58), (86, 76, 66)
_FAIR = {"overcast": 0.5, "sun": 0.4, "dusk": 0.1}
_SUNNY = {"sun": 0.7, "dusk": 0.3}
_GRAY = {"overcast": 0.6, "sun": 0.15, "haze": 0.25}

CITIES = {
    "ashford": City(_BRICK, (84, 72, 68), 4.1, 13, 0.9, _LEAF, 96, _FAIR),
    "birkstadt": City(_STUCCO, (132, 74, 56), 5.6, 9, 0.85, _OLIVE, 84, _GRAY),
    "corvina": City(_PAINTED, (146, 84, 60), 5.1, 15, 0.75, _AUTUMN, 108, _SUNNY),
    "dunmere": City(_STONE, (90, 92, 98), 4.6, 11, 0.4, _TWIGS, 90, _GRAY),
    "elmsund": City(_BRICK + _PAINTED, (96, 84, 80), 4.6, 10, 0.8, _LEAF, 100, _FAIR),
    "farholt": City(_CONCRETE + _STUCCO, (104, 100, 98), 6.1, 12, 0.55, _OLIVE, 80, _GRAY),
    "greyport": City(_STONE + _CONCRETE, (88, 90, 94), 5.1, 11, 0.7, _LEAF, 92, _GRAY),
    "hollens": City(_STUCCO + _BRICK, (140, 80, 60), 4.1, 10, 0.6, _AUTUMN, 104, _FAIR),
}
