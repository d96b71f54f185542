"""From the shapes of a scene to its picture and its labels."""

from statistics import NormalDist

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import id2label, name2label
from PIL import Image, ImageDraw

from cityseg_utils.minicity.scene import Coat, Scene, Shape

_SUBPIXEL = 4  # bits of a pixel that OpenCV's polygon filler takes in fixed point
_JPEG_QUALITY = 92
COLORS = np.array([(*id2label[k].color, 255) for k in range(34)], np.uint8)


# -- labels, as the official json2labelImg and json2instanceImg draw them ------------------------


def polygons_json(scene: Scene) -> dict:
    """Return the content of a ``_gtFine_polygons.json`` file."""
    height, width = scene.size
    objects = [
        {"label": shape.label, "polygon": whole_pixels(shape.outline, scene.size).tolist()}
        for shape in scene.shapes
        if shape.label
    ]
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


def whole_pixels(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the corner pixels of an outline, ``(N, 2) int``, as an annotator would click them.

    Pillow fills corners and edges too, so the right and lower ones lie a pixel further in.
    """
    height, width = size
    corners = np.round(outline) - (outline > outline.mean(axis=0))
    return np.clip(corners, (-2 * width, -2 * height), (3 * width, 3 * height)).astype(int)


def draw_labels(polygons: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return label ids, ``(H, W) uint8``, and instance ids, ``(H, W) uint16``.

    The n-th object of a class that has instances gets id * 1000 + n, all others their label id.
    """
    size = polygons["imgWidth"], polygons["imgHeight"]
    labels, instances = Image.new("L", size, 0), Image.new("I", size, 0)
    draw_label, draw_instance = ImageDraw.Draw(labels), ImageDraw.Draw(instances)
    seen: dict[str, int] = {}
    for thing in polygons["objects"]:
        label = name2label[thing["label"]]
        corners = [tuple(corner) for corner in thing["polygon"]]
        draw_label.polygon(corners, fill=label.id)
        number = label.id
        if label.hasInstances:
            number = label.id * 1000 + seen.setdefault(label.name, 0)
            seen[label.name] += 1
        draw_instance.polygon(corners, fill=number)
    return np.asarray(labels), np.asarray(instances).astype(np.uint16)


# -- the picture --------------------------------------------------------------------------------


def paint(scene: Scene) -> np.ndarray:
    """Return the photograph of a scene, ``(H, W, 3) uint8`` RGB."""
    height, width = scene.size
    rng = np.random.default_rng((*scene.seed, 1))
    noise = _noise(rng, 256)
    if scene.ride.frame is not None:  # leaves stay as they are, grain and noise do not
        rng = np.random.default_rng((*scene.seed, 1, scene.ride.frame))
    canvas = np.zeros((height, width, 4), np.uint8)  # RGB, and how strongly texture shows
    for shape in scene.shapes:
        if shape.label is None:
            _darken(canvas, shape, scene)
        elif shape.leafy:
            still = scene.ride.frame is None
            _leaves(canvas, shape, noise, rng if still else np.random.default_rng(shape.thing))
        else:
            for coat in shape.coats:
                _fill(canvas, coat)
    return _photograph(canvas, scene, rng)


def _noise(rng, size: int) -> np.ndarray:
    """Return ``(size, size) float32`` noise with mean 0 and spread 1, fine and coarse at once."""
    octaves = [
        cv2.resize(rng.normal(0, 1, (size // k, size // k)), (size, size)) for k in (1, 2, 4, 8)
    ]
    noise = np.sum(octaves, axis=0)
    return (noise / noise.std()).astype(np.float32)


def _fill(canvas, coat: Coat):
    far = 8 * max(canvas.shape)  # OpenCV overflows beyond about 32000 pixels
    fixed = [
        np.round(np.clip(polygon, -far, far) * 2**_SUBPIXEL).astype(np.int32)
        for polygon in coat.polygons
    ]
    color = (*np.clip(coat.color, 0, 255).tolist(), 255 * coat.grain)
    cv2.fillPoly(canvas, fixed, color, cv2.LINE_AA, _SUBPIXEL)


def _darken(canvas, shape: Shape, scene: Scene):
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for coat in shape.coats:
        _fill(mask, coat)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.004 * canvas.shape[1])
    left = 1 - max(scene.light.shadow, 0.4) * (mask[..., None] / np.float32(255))
    canvas[..., :3] = (canvas[..., :3] * left).astype(np.uint8)


def _leaves(canvas, shape: Shape, noise, rng):
    """Paint a crown: darker below, blotched, and with holes through which one sees."""
    height, width = canvas.shape[:2]
    low = np.floor(shape.outline.min(axis=0)).astype(int)
    high = np.ceil(shape.outline.max(axis=0)).astype(int) + 1
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, (width, height))
    shift = rng.integers(0, noise.shape[0], 2)
    if x0 >= x1 or y0 >= y1:
        return
    cells = np.clip(np.ceil((high - low) / (shape.leafy / 2)).astype(int), 2, noise.shape[0])
    leaves = np.roll(noise, shift, (0, 1))[: cells[1], : cells[0]]
    leaves = cv2.resize(leaves, tuple(int(n) for n in high - low), interpolation=cv2.INTER_LINEAR)
    leaves = leaves[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]
    mask = np.zeros(leaves.shape, np.uint8)
    _fill(mask, Coat([shape.outline - (x0, y0)], (255, 0, 0)))
    threshold = NormalDist().inv_cdf(1 - min(shape.density, 0.98))
    alpha = np.clip((leaves - threshold) * 3 + 0.5, 0, 1) * (mask / np.float32(255))
    rows = np.linspace(1.25, 0.7, high[1] - low[1], dtype=np.float32)[y0 - low[1] : y1 - low[1]]
    tone = rows[:, None] * (1 + 0.22 * leaves)
    coat = shape.coats[0]
    color = np.clip(tone[..., None] * np.array(coat.color, np.float32), 0, 255)
    color = np.concatenate([color, np.full((*tone.shape, 1), 255 * coat.grain, np.float32)], axis=2)
    region = canvas[y0:y1, x0:x1]
    region[:] = np.round(region + alpha[..., None] * (color - region)).astype(np.uint8)


def _photograph(canvas: np.ndarray, scene: Scene, rng) -> np.ndarray:
    """Add what a camera adds: texture, light, softness, noise and a trace of JPEG."""
    height, width = scene.size
    shape = (-(-height // 3), -(-width // 3))
    coarse = cv2.resize(rng.normal(0, 9, shape).astype(np.float32), (width, height))
    texture = coarse + rng.normal(0, 11, (height, width)).astype(np.float32)
    patches = cv2.resize(rng.normal(0, 5, (6, 12)).astype(np.float32), (width, height))
    grain = canvas[..., 3] / np.float32(255)
    picture = canvas[..., :3] + (texture * grain + patches * (grain > 0))[..., None]
    light = rng if scene.ride.frame is None else np.random.default_rng((*scene.seed, 1))
    exposure = np.float32(light.uniform(*scene.light.exposure)) * np.float32(scene.light.tint)
    picture = cv2.GaussianBlur(picture * exposure, (0, 0), 0.0009 * width)
    # A shoulder keeps highlights from clipping, as a camera's tone curve does.
    picture = np.where(picture > 200, 200 + 55 * np.tanh((picture - 200) / 55), picture)
    picture += rng.normal(0, 2.5, picture.shape).astype(np.float32)
    picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
