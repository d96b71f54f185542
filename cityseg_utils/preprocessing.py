"""From files to arrays a network can take: read, resize, renumber, normalise, one-hot.

Sizes are (height, width). A mask is never interpolated.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cityseg_utils.errors import DataError, LabelError, ShapeError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.storage import read_header, read_palette, read_picture

Size = tuple[int, int]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def read_image(path: Path | str, size: Size | None = None) -> np.ndarray:
    """Read a photograph as ``(H, W, 3) uint8`` RGB, upright, resized to `size` if given.

    Raises
    ------
    DataError
        If the file is missing, damaged or no picture.
    """
    image = read_picture(path, color=True)
    return image if size is None else resize_image(image, size)


def read_mask(
    path: Path | str, scheme: ClassScheme | None = None, size: Size | None = None
) -> np.ndarray:
    """Read a label mask as ``(H, W) uint8``.

    Its file holds ids or, where `scheme` has `file_colors`, perhaps those.

    Parameters
    ----------
    path : Path or str
    scheme : ClassScheme, optional
        If given, the raw ids become train ids, 255 = void; otherwise they stay raw.
    size : (height, width), optional
        Resize to this by nearest neighbour.

    Raises
    ------
    DataError
        If the file is missing, damaged or no label map in a PNG.
    LabelError
        If it holds an id that no class of `scheme` has.
    """
    in_colors = scheme is not None and _holds_colors(path, scheme)
    mask = read_picture(path, color=in_colors)
    if scheme is not None:
        try:
            mask = scheme.remap_colors(mask) if in_colors else scheme.remap(mask)
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from None
    return mask if size is None else resize_mask(mask, size)


def _holds_colors(path: Path | str, scheme: ClassScheme) -> bool:
    """Tell whether a label map holds the scheme's `file_colors` and not ids.

    In a palette it does if any of them is used and stands for another class than its number. But
    two palettes say nothing of classes, however few of their colours are used: the gray ramp, and
    the one of PASCAL VOC that many tools put beside any ids.
    """
    header = read_header(path) if scheme.file_colors else None
    if header is None or header.kind != "PNG" or header.orientation != 1:
        return False  # of ids, or refused
    if not header.palette:
        return header.channels == 3
    palette = [tuple(color) for color in read_palette(path).tolist()]
    silent = ([(k, k, k) for k in range(256)], [_voc(k) for k in range(256)])
    if len(palette) > 2 and any(palette == colors[: len(palette)] for colors in silent):
        return False
    ids, known = np.unique(read_picture(path, color=False)), scheme.file_colors
    used = [(k, palette[k]) for k in ids.tolist() if k < len(palette)]
    return any(known.get(color, scheme.table[k]) != scheme.table[k] for k, color in used)


def _voc(k: int) -> tuple[int, ...]:
    """Return the colour of a number in PASCAL VOC's palette: its bits, dealt to red, green, blue.

    Everingham and others, "The PASCAL Visual Object Classes Challenge 2012 development kit".
    """
    return tuple(
        sum(((k >> (3 * place + channel)) & 1) << (7 - place) for place in range(3))
        for channel in range(3)
    )


def read_pair(
    image: Path | str, mask: Path | str, scheme: ClassScheme, size: Size | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a photograph and its labels, as :func:`read_image` and :func:`read_mask` do.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the two do not lie on each other.
    LabelError
        If the mask holds an id that no class of `scheme` has.
    """
    check_pair(image, mask)
    return read_image(image, size), read_mask(mask, scheme, size)


def check_pair(image: Path | str, mask: Path | str) -> None:
    """Refuse a photograph and a mask that do not lie on each other, by the heads of their files.

    Raises
    ------
    DataError
        If they differ in size, or EXIF turns one of them.
    """
    sizes = check_upright(image), check_upright(mask)
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{mask}: is {sizes[1]} (height, width), but its image {image} is {sizes[0]}"
        )


def check_upright(path: Path | str) -> Size:
    """Refuse a picture that EXIF turns, if a mask goes with it; return its (height, width).

    Nobody can know whether the mask was drawn before or after that turn.

    Raises
    ------
    DataError
        If EXIF's orientation is another than 1.
    """
    header = read_header(path)
    if header.orientation != 1:
        copy = f"storage.write_png('upright.png', preprocessing.read_image({str(path)!r}))"
        raise DataError(
            f"{path}: is turned by its EXIF (orientation {header.orientation}), and whether the "
            "mask that goes with it was drawn before or after that cannot be known. Write an "
            f"upright copy, {copy}, and see which way the mask fits it"
        )
    return header.size


def check_image(image: np.ndarray, name: str = "the image") -> np.ndarray:
    """Return an array if it is a photograph, ``(H, W, 3) uint8`` RGB, or refuse it.

    Raises
    ------
    ShapeError
        If it is grey, has floats or a fourth channel, or is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"{name}: must be (H, W, 3) uint8 RGB, is {image.shape} {image.dtype}")
    return image


def remap(mask: np.ndarray, scheme: ClassScheme) -> np.ndarray:
    """Turn ``(H, W) uint8`` raw ids into train ids, 255 = void (see `ClassScheme.remap`)."""
    return scheme.remap(mask)


def resize_image(image: np.ndarray, size: Size) -> np.ndarray:
    """Resize ``(H, W, 3)`` pixels to (height, width): area means down, bilinear up.

    At that size already, it is the very array that is returned.
    """
    height, width = size
    smaller = min(height, image.shape[0]), min(width, image.shape[1])
    if smaller != image.shape[:2]:
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize ``(H, W)`` ids to (height, width) by nearest neighbour: no new ids appear.

    Pixel centres are matched exactly (``INTER_NEAREST_EXACT``); OpenCV's plain ``INTER_NEAREST``
    shifts a mask by up to half a pixel against its image.
    """
    height, width = size
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def resize_pair(image: np.ndarray, mask: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image and its mask to (height, width), each by its own rule.

    Raises
    ------
    ShapeError
        If they differ in size to begin with.
    """
    if image.shape[:2] != mask.shape:
        raise ShapeError(f"the image is {image.shape[:2]} (height, width), its mask {mask.shape}")
    return resize_image(image, size), resize_mask(mask, size)


def normalize(
    image: np.ndarray,
    method: str = "unit",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> np.ndarray:
    """Bring ``(..., 3) uint8`` pixels to the numbers a network likes, as float32.

    Parameters
    ----------
    image : array
        RGB, 0 .. 255.
    method : str
        ``"unit"`` divides by 255; ``"standard"`` then also takes off `mean` and divides by
        `std`; any other word is a backbone's name, such as ``"resnet34"``, and applies the
        preprocessing that segmentation-models couples to that backbone's ImageNet weights.
    mean, std : sequence of 3 floats
        In units of 0 .. 1, for ``"standard"``.
    """
    scale, offset = affine(method, mean, std)
    return image.astype(np.float32) @ scale + offset


def denormalize(
    image: np.ndarray,
    method: str = "unit",
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> np.ndarray:
    """Undo :func:`normalize`: float in, ``(..., 3) uint8`` RGB out, rounded and clipped."""
    scale, offset = affine(method, mean, std)
    pixels = (image - offset) @ np.linalg.inv(scale)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def affine(
    method: str, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (3, 3) scale and (3,) offset, float32, with normalised = pixels @ scale + offset.

    Every normalisation in use can be written so; `pixels` are 0 .. 255.
    """
    if method == "unit":
        return np.eye(3, dtype=np.float32) / np.float32(255), np.zeros(3, np.float32)
    if method == "standard":
        scale = np.diag(1 / (255 * np.asarray(std)))
        return scale.astype(np.float32), np.float32(-np.asarray(mean) / std)
    preprocess = backbone_preprocessing(method)
    # A backbone's function may scale, shift and swap channels; three colours and black tell how.
    probe = np.vstack([255 * np.eye(3), np.zeros((1, 3))]).astype(np.float32)[None]
    red, green, blue, black = np.asarray(preprocess(probe))[0]
    scale = np.stack([red - black, green - black, blue - black]) / 255
    return scale.astype(np.float32), black.astype(np.float32)


def backbone_preprocessing(backbone: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return segmentation-models' own preprocessing for a backbone (loads TensorFlow)."""
    from cityseg_utils.framework import load_segmentation_models

    sm = load_segmentation_models()
    names = sm.get_available_backbone_names()
    if backbone not in names:
        raise ValueError(
            f"{backbone!r} is neither 'unit' nor 'standard' nor a backbone; backbones are {names}"
        )
    return sm.get_preprocessing(backbone)


def one_hot(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Turn ``(..., H, W) uint8`` train ids into ``(..., H, W, C) float32``; void is all zeros.

    Raises
    ------
    LabelError
        If the mask holds a number that is neither a train id nor 255.
    """
    wrong = np.unique(mask[((mask < 0) | (mask >= num_classes)) & (mask != VOID)])
    if wrong.size:
        raise LabelError(
            f"the mask holds {wrong.tolist()}, but train ids end at {num_classes - 1} and void "
            f"is {VOID}; remap it first"
        )
    rows = np.zeros((256, num_classes), np.float32)
    rows[:num_classes] = np.eye(num_classes)
    return rows[mask]


def from_one_hot(encoded: np.ndarray) -> np.ndarray:
    """Undo :func:`one_hot`: ``(..., C)`` to train ids, 255 where a pixel is all zeros."""
    mask = encoded.argmax(-1).astype(np.uint8)
    mask[encoded.sum(-1) == 0] = VOID
    return mask
