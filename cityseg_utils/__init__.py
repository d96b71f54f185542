"""Helpers of the course on semantic segmentation of street scenes.

Importing the package is cheap: it prepares the choice of Keras (see :mod:`cityseg_utils.framework`)
and loads a room, and with it TensorFlow, only when it is first used.

>>> import cityseg_utils as cs
>>> cs.labels.CITYSCAPES.num_classes
19
"""

from importlib import import_module
from pkgutil import iter_modules

from cityseg_utils import framework as _framework

__version__ = "0.1.0"

__all__ = [room.name for room in iter_modules(__path__)]

_framework.choose_keras()


def __getattr__(name: str):
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
