"""Joint transforms of an image and its mask, on stateless tf.image ops: one seed, one outcome.

Each takes ``(H, W, 3) float32`` in 0 .. 1, ``(H, W) uint8`` train ids and a seed, ``(2,) int32``,
and returns image and mask, as `pipeline.make_dataset` wants it of ``augment``.
"""

from collections.abc import Callable

from cityseg_utils.framework import load_tensorflow
from cityseg_utils.preprocessing import Size

tf = load_tensorflow()


def _uniform(seed, number: int, low: float, high: float, shape=()):
    """Return random numbers of their own for the n-th draw of a transform."""
    key = tf.random.experimental.stateless_fold_in(seed, number)
    return tf.random.stateless_uniform(shape, key, low, high)


class Compose:
    """Transforms one after another, each with a seed of its own."""

    def __init__(self, *transforms: Callable):
        self.transforms = transforms

    def __call__(self, image, mask, seed):
        """Apply all transforms."""
        for k, transform in enumerate(self.transforms):
            key = tf.random.experimental.stateless_fold_in(seed, 1000 + k)
            image, mask = transform(image, mask, key)
        return image, mask

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class Flip:
    """Mirror left and right, half of the time."""

    def __call__(self, image, mask, seed):
        """Mirror both or neither."""
        mirror = _uniform(seed, 0, 0, 1) < 0.5
        image = tf.where(mirror, tf.reverse(image, [1]), image)
        return image, tf.where(mirror, tf.reverse(mask, [1]), mask)

    def __repr__(self) -> str:
        return "Flip()"


class ScaleAndCrop:
    """Enlarge by a random factor, then cut a window of `size` (height, width) at a random place.

    Parameters
    ----------
    size : (height, width)
        No larger than the smallest enlarged image.
    scales : (low, high)
        The factor is drawn evenly on a logarithmic scale.
    """

    def __init__(self, size: Size, scales: tuple[float, float] = (1.0, 2.0)):
        self.size, self.scales = tuple(size), tuple(scales)

    def __call__(self, image, mask, seed):
        """Sample the window directly; the mask by its nearest pixel."""
        low, high = self.scales
        scale = low * (high / low) ** _uniform(seed, 0, 0, 1)
        full = tf.cast(tf.shape(mask), tf.float32)  # H W
        window = tf.cast(self.size, tf.float32) / scale
        top, left = tf.unstack((full - window) * _uniform(seed, 1, 0, 1, (2,)))
        extent = (full - 1)[None]
        corner = tf.stack([top, left])
        box = tf.concat([corner, corner + window - 1], 0)[None] / tf.concat([extent, extent], 1)
        image = tf.image.crop_and_resize(image[None], box, [0], self.size)[0]
        labels = tf.cast(mask, tf.float32)[None, ..., None]
        labels = tf.image.crop_and_resize(labels, box, [0], self.size, method="nearest")
        return image, tf.cast(labels[0, ..., 0], tf.uint8)

    def __repr__(self) -> str:
        return f"ScaleAndCrop({self.size}, {self.scales})"


class Colors:
    """Change brightness, contrast, saturation, hue, gamma and white balance; add blur and noise.

    Parameters
    ----------
    strength : float
        0: nothing; 1: as strong as it gets between cameras, hours and weathers.
    """

    def __init__(self, strength: float = 1.0):
        self.strength = strength

    def __call__(self, image, mask, seed):
        """Change the image alone."""
        s = self.strength
        image = tf.image.adjust_hue(image, _uniform(seed, 0, -0.08 * s, 0.08 * s))
        saturation = _uniform(seed, 1, 1 - 0.9 * s, 1 + 0.6 * s)
        image = tf.image.adjust_saturation(image, tf.maximum(saturation, 0))
        image = image * (1 + _uniform(seed, 2, -0.15 * s, 0.15 * s, (3,)))
        image = tf.image.adjust_contrast(image, 2.0 ** _uniform(seed, 3, -0.8 * s, 0.8 * s))
        image = image + _uniform(seed, 4, -0.25 * s, 0.25 * s)
        image = tf.clip_by_value(image, 0, 1) ** (2.0 ** _uniform(seed, 5, -0.7 * s, 0.7 * s))
        soft = tf.nn.avg_pool2d(image[None], 3, 1, "SAME")[0]
        image = image + (soft - image) * _uniform(seed, 6, -0.8 * s, 1.0 * s)
        key = tf.random.experimental.stateless_fold_in(seed, 7)
        noise = tf.random.stateless_normal(tf.shape(image), key)
        image = image + noise * _uniform(seed, 8, 0, 0.05 * s)
        return tf.clip_by_value(image, 0, 1), mask

    def __repr__(self) -> str:
        return f"Colors({self.strength})"
