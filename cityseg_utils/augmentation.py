"""Joint transforms of an image and its mask, on stateless TensorFlow ops: one seed, one outcome.

Most take one frame, ``(H, W, 3) float32`` in 0 .. 1 and ``(H, W) uint8`` train ids, and a seed,
``(2,) int32``, and return image and mask, as `pipeline.make_dataset` wants it of ``augment``.
:class:`CutMix` and :class:`ClassMix` take a batch of frames, as it wants of ``mix``. Masks are only
ever moved by whole pixels or their nearest ones, and what comes into view from outside is void.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cityseg_utils.framework import load_tensorflow
from cityseg_utils.labels import VOID
from cityseg_utils.preprocessing import Size

tf = load_tensorflow()

GRAY = 0.5  # what an image shows where it has no pixels


def _key(seed, number: int):
    """Return a seed of its own for the n-th draw of a transform."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def _uniform(seed, number: int, low: float, high: float, shape=()):
    return tf.random.stateless_uniform(shape, _key(seed, number), low, high)


class Compose:
    """Transforms one after another, each with a seed of its own."""

    def __init__(self, *transforms: Callable):
        self.transforms = transforms

    def __call__(self, image, mask, seed):
        """Apply all transforms."""
        for k, transform in enumerate(self.transforms):
            image, mask = transform(image, mask, _key(seed, 1000 + k))
        return image, mask

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


# -- where things are -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Flip:
    """Mirror left and right, half of the time."""

    def __call__(self, image, mask, seed):
        """Mirror both or neither."""
        mirror = _uniform(seed, 0, 0, 1) < 0.5
        image = tf.where(mirror, tf.reverse(image, [1]), image)
        return image, tf.where(mirror, tf.reverse(mask, [1]), mask)


@dataclass(frozen=True)
class ScaleAndCrop:
    """Resize by a random factor, then cut a window of `size` (height, width) at a random place.

    Parameters
    ----------
    size : (height, width)
    scales : (low, high)
        The factor is drawn evenly on a logarithmic scale. Where the window is larger than the
        resized frame, it shows void.
    seek : float
        In this share of the crops the window lies around a pixel of a class that is drawn evenly
        from those in the frame, so that rare classes are seen more often.
    points : bool
        The labels are single pixels, each of which is moved to where it comes to lie, for whoever
        samples a mask of points misses them; the others are void.
    """

    size: Size
    scales: tuple[float, float] = (1.0, 2.0)
    seek: float = 0.0
    points: bool = False

    def __repr__(self) -> str:  # as it stands in stored tables
        points = ", points=True" if self.points else ""
        return f"ScaleAndCrop(size={self.size}, scales={self.scales}, seek={self.seek}{points})"

    def __call__(self, image, mask, seed):
        """Sample the window directly; the mask by its nearest pixel."""
        low, high = self.scales
        scale = low * (high / low) ** _uniform(seed, 0, 0, 1)
        full = tf.cast(tf.shape(mask), tf.float32)  # H W
        window = tf.cast(self.size, tf.float32) / scale
        room = full - window
        corner = room * _uniform(seed, 1, 0, 1, (2,))
        if self.seek:
            around = _pixel_of_some_class(mask, seed) - window / 2
            around = tf.clip_by_value(around, tf.minimum(room, 0), tf.maximum(room, 0))
            corner = tf.where(_uniform(seed, 2, 0, 1) < self.seek, around, corner)
        extent = tf.concat([full - 1, full - 1], 0)
        # A hair less than the whole window: rounding must not push its last line out of the frame.
        far = corner + (window - 1) * (1 - 1e-5)
        box = (tf.concat([corner, far], 0) / extent)[None]
        image = tf.image.crop_and_resize(image[None], box, [0], self.size, "bilinear", GRAY)[0]
        if self.points:
            return image, _moved(mask, corner, far, self.size)
        labels = tf.cast(mask, tf.float32)[None, ..., None]
        labels = tf.image.crop_and_resize(labels, box, [0], self.size, "nearest", VOID)
        return image, tf.cast(labels[0, ..., 0], tf.uint8)


def _moved(mask, corner, far, size):
    """Return where the labels of single pixels come to lie, if a window becomes a frame."""
    places = tf.where(mask != VOID)  # N 2
    steps = tf.cast(size, tf.float32) - 1
    moved = tf.cast(
        tf.round((tf.cast(places, tf.float32) - corner) / (far - corner) * steps), tf.int32
    )
    inside = tf.reduce_all((moved >= 0) & (moved < tf.constant(size)), -1)
    labels = tf.boolean_mask(tf.cast(tf.gather_nd(mask, places), tf.int32), inside)
    empty = tf.fill(size, VOID)
    # Of two in one place the lower number, so that their order does not matter.
    result = tf.tensor_scatter_nd_min(empty, tf.boolean_mask(moved, inside), labels)
    return tf.cast(result, tf.uint8)


def _pixel_of_some_class(mask, seed):
    """Return row and column, ``(2,) float32``, of a random pixel of a random class of the mask."""
    counts = tf.math.bincount(tf.cast(mask, tf.int32), minlength=VOID, maxlength=VOID)
    classes = tf.where(counts > 0)[:, 0]
    classes = tf.cond(tf.size(classes) > 0, lambda: classes, lambda: tf.constant([VOID], tf.int64))
    chosen = _draw(classes, seed, 3)
    return tf.cast(_draw(tf.where(tf.cast(mask, tf.int64) == chosen), seed, 4), tf.float32)


def _draw(rows, seed, number: int):
    length = tf.shape(rows)[0]
    place = _uniform(seed, number, 0, 1) * tf.cast(length, tf.float32)
    return rows[tf.minimum(tf.cast(place, tf.int32), length - 1)]


@dataclass(frozen=True)
class Rotate:
    """Turn around the middle by up to so many degrees to either side."""

    degrees: float = 5.0

    def __call__(self, image, mask, seed):
        """Turn both by one angle."""
        angle = _uniform(seed, 0, -1, 1) * self.degrees * 3.14159265 / 180
        cos, sin = tf.cos(angle), tf.sin(angle)
        middle = (tf.cast(tf.shape(mask), tf.float32) - 1) / 2
        y, x = middle[0], middle[1]
        # Where in the old picture each pixel of the new one comes from.
        rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0.0, 0.0]
        turn = tf.stack(rows)[None]
        shape = tf.shape(mask)

        def turned(picture, interpolation, fill):
            return tf.raw_ops.ImageProjectiveTransformV3(
                images=picture[None],
                transforms=turn,
                output_shape=shape,
                fill_value=fill,
                interpolation=interpolation,
                fill_mode="CONSTANT",
            )[0]

        return turned(image, "BILINEAR", GRAY), turned(mask[..., None], "NEAREST", VOID)[..., 0]


@dataclass(frozen=True)
class Cutout:
    """Cover a window of up to this share of each side; there is nothing to learn in it.

    After DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout", 2017; they leave the label of the whole image, we make the window void.
    """

    share: float = 0.4

    def __call__(self, image, mask, seed):
        """Cover the same window in both."""
        height, width = tf.unstack(tf.shape(mask))
        covered = _window(height, width, seed, min(0.1, self.share), self.share)
        image = tf.where(covered[..., None], tf.constant(GRAY), image)
        return image, tf.where(covered, tf.constant(VOID, tf.uint8), mask)


def _window(height, width, seed, low: float, high: float):
    """Return ``(height, width) bool``, true in a window whose sides are drawn from low .. high."""
    full = tf.cast(tf.stack([height, width]), tf.float32)
    sides = full * _uniform(seed, 0, low, high, (2,))
    start = (full - sides) * _uniform(seed, 1, 0, 1, (2,))
    y, x = tf.cast(tf.range(height), tf.float32), tf.cast(tf.range(width), tf.float32)
    rows = (y >= start[0]) & (y < start[0] + sides[0])
    columns = (x >= start[1]) & (x < start[1] + sides[1])
    return rows[:, None] & columns


# -- what things look like -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """Changes the image by up to `strength`, in units that each says, and leaves the mask."""

    strength: float

    def __call__(self, image, mask, seed):
        """Change the image alone; it stays within 0 .. 1."""
        return tf.clip_by_value(self.change(image, seed), 0, 1), mask

    def change(self, image, seed):
        """Return the changed image."""
        raise NotImplementedError


class Brightness(_Look):
    """Add up to so much of the range."""

    def change(self, image, seed):
        return image + _uniform(seed, 0, -self.strength, self.strength)


class Contrast(_Look):
    """Multiply differences from the mean by two to the power of up to so much."""

    def change(self, image, seed):
        return tf.image.adjust_contrast(
            image, 2 ** _uniform(seed, 0, -self.strength, self.strength)
        )


class Saturation(_Look):
    """Multiply the saturation by one plus or minus up to so much, 0 being gray."""

    def change(self, image, seed):
        factor = 1 + _uniform(seed, 0, -self.strength, self.strength)
        return tf.image.adjust_saturation(image, tf.maximum(factor, 0))


class Hue(_Look):
    """Turn the circle of colours by up to so much, 1 being a full turn."""

    def change(self, image, seed):
        return tf.image.adjust_hue(image, _uniform(seed, 0, -self.strength, self.strength))


class WhiteBalance(_Look):
    """Multiply red, green and blue by one plus or minus up to so much, each on its own."""

    def change(self, image, seed):
        return image * (1 + _uniform(seed, 0, -self.strength, self.strength, (3,)))


class Gamma(_Look):
    """Raise to the power of two to the power of up to so much."""

    def change(self, image, seed):
        return image ** (2 ** _uniform(seed, 0, -self.strength, self.strength))


class Blur(_Look):
    """Mix with the mean over 3 x 3 pixels by up to so much; below 0 that sharpens."""

    def change(self, image, seed):
        soft = tf.nn.avg_pool2d(image[None], 3, 1, "SAME")[0]
        return image + (soft - image) * _uniform(seed, 0, -self.strength, self.strength)


class Noise(_Look):
    """Add normal noise of a standard deviation of up to so much."""

    def change(self, image, seed):
        noise = tf.random.stateless_normal(tf.shape(image), _key(seed, 1))
        return image + noise * _uniform(seed, 0, 0, self.strength)


@dataclass(frozen=True)
class Colors:
    """All that changes the look alone, at once.

    Parameters
    ----------
    strength : float
        0: nothing; 1: as strong as it gets between cameras, hours and weathers.
    """

    strength: float = 1.0

    def __call__(self, image, mask, seed):
        """Change the image alone."""
        s = self.strength
        looks = [Hue(0.08 * s), Saturation(0.75 * s), WhiteBalance(0.15 * s), Contrast(0.8 * s)]
        looks += [Brightness(0.25 * s), Gamma(0.7 * s), Blur(0.9 * s), Noise(0.05 * s)]
        return Compose(*looks)(image, mask, seed)


# -- two frames in one -----------------------------------------------------------------------------


@dataclass(frozen=True)
class CutMix:
    """Paste a window of the batch's frame before into each (Yun et al., "CutMix", ICCV 2019).

    Takes and returns ``(N, H, W, 3) float32`` images and ``(N, H, W) uint8`` train ids.

    Parameters
    ----------
    low, high : float
        The window's sides, as shares of the frame's.
    own : bool
        Whether each frame gets a window of its own, or all the same one.
    """

    low: float = 0.3
    high: float = 0.7
    own: bool = False

    def __repr__(self) -> str:  # as it stands in stored tables
        return f"CutMix(low={self.low}, high={self.high}{', own=True' if self.own else ''})"

    def __call__(self, images, masks, seed):
        """Paste a window of the frame before."""
        return _paste(self.where(tf.roll(masks, 1, 0), seed), images, masks)

    def where(self, donors, seed):
        """Return what is pasted of frames with these masks, ``(N, H, W) bool``."""
        number, height, width = tf.unstack(tf.shape(donors))
        if not self.own:
            window = _window(height, width, seed, self.low, self.high)
            return tf.repeat(window[None], number, 0)

        def of_one(k):
            return _window(height, width, _key(seed, k), self.low, self.high)

        return tf.map_fn(of_one, tf.range(number), fn_output_signature=tf.bool)


@dataclass(frozen=True)
class ClassMix:
    """Paste classes of the batch's frame before into each, each by a coin (Olsson, WACV 2021).

    Takes and returns ``(N, H, W, 3) float32`` images and ``(N, H, W) uint8`` train ids; void is
    pasted never.

    Parameters
    ----------
    chances : float, or tuple of C floats
        How often a class is pasted; all the same or each its own.
    """

    chances: float | tuple[float, ...] = 0.5

    def __repr__(self) -> str:  # as it stands in stored tables
        return "ClassMix()" if self.chances == 0.5 else f"ClassMix({self.chances})"

    def __call__(self, images, masks, seed):
        """Paste classes of the frame before."""
        return _paste(self.where(tf.roll(masks, 1, 0), seed), images, masks)

    def where(self, donors, seed):
        """Return what is pasted of frames with these masks, ``(N, H, W) bool``."""
        drawn = _uniform(seed, 0, 0, 1, (tf.shape(donors)[0], VOID + 1))
        chances = tf.constant(self.chances, tf.float32)
        if chances.shape.rank:
            chances = tf.pad(chances, [[0, VOID + 1 - len(self.chances)]])
        donors = tf.cast(donors, tf.int32)
        return tf.gather(drawn < chances, donors, batch_dims=1) & (donors != VOID)


def _paste(where, images, masks):
    images = tf.where(where[..., None], tf.roll(images, 1, 0), images)
    return images, tf.where(where, tf.roll(masks, 1, 0), masks)
