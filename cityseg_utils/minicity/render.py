"""From polygons to a picture and a label map of the same street."""

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import name2label
from PIL import Image, ImageDraw

from cityseg_utils.minicity.scene import Scene

_SUBPIXEL = 4  # bits of a pixel that OpenCV's polygon filler takes in fixed point


def render(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture, ``(H, W, 3) uint8`` RGB, and its raw label ids, ``(H, W) uint8``.

    Labels are filled as the official ``json2labelImg`` does it, with Pillow's polygons on whole
    pixels; the picture is anti-aliased.
    """
    height, width = scene.size
    canvas = np.zeros((height, width, 3), np.uint8)
    labels = Image.new("L", (width, height), 0)
    drawer = ImageDraw.Draw(labels)
    for shape in scene.shapes:
        corners = whole_pixels(shape.polygon, scene.size)
        drawer.polygon([tuple(corner) for corner in corners], fill=name2label[shape.label].id)
        for polygon, color in ((corners, shape.color), *shape.details):
            _fill(canvas, polygon, color)
    return _photograph(canvas, scene), np.asarray(labels)


def polygons_json(scene: Scene) -> dict:
    """Return the content of a ``_gtFine_polygons.json`` file."""
    height, width = scene.size
    objects = [
        {"label": shape.label, "polygon": whole_pixels(shape.polygon, scene.size).tolist()}
        for shape in scene.shapes
    ]
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


def whole_pixels(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Round ``(N, 2)`` corners, and keep those far outside the picture within reach of it."""
    height, width = size
    return np.clip(np.round(polygon), (-4 * width, -4 * height), (5 * width, 5 * height)).astype(
        int
    )


def _fill(canvas, polygon, color):
    far = 30 * max(canvas.shape)  # OpenCV overflows beyond about 32000 pixels
    fixed = np.round(np.clip(polygon, -far, far) * 2**_SUBPIXEL).astype(np.int32)
    color = tuple(float(np.clip(c, 0, 255)) for c in color)
    cv2.fillPoly(canvas, [fixed], color, cv2.LINE_AA, _SUBPIXEL)


def _photograph(canvas: np.ndarray, scene: Scene) -> np.ndarray:
    """Add what a camera adds: texture, haze towards the horizon, light, softness and noise."""
    height, width = scene.size
    rng = np.random.default_rng((*scene.seed, 1))
    coarse = cv2.resize(rng.normal(0, 9, (height // 8, width // 8)), (width, height))
    texture = coarse + rng.normal(0, 7, (height, width))
    picture = canvas.astype(np.float32) + texture[..., None].astype(np.float32)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    veil = 0.35 * scene.haze * np.exp(-(((rows - 0.42) / 0.16) ** 2))
    picture = (1 - veil) * picture + veil * 205
    picture = cv2.GaussianBlur(picture * scene.light, (0, 0), 0.0012 * width)
    picture += rng.normal(0, 3, picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
