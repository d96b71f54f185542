"""What can go wrong, in words for a student: what was found, where, and what to do next."""

import sys
from collections.abc import Callable, Sequence


class CitysegError(Exception):
    """Base of every error that this package raises on purpose."""


class FrameworkError(CitysegError):
    """TensorFlow is loaded with another Keras than the one segmentation-models needs."""


class LabelError(CitysegError, ValueError):
    """A mask holds an id that no class has, or a class table contradicts itself."""


class ShapeError(CitysegError, ValueError):
    """Two arrays, or an image and its mask, do not have the shapes they must have."""


class StorageError(CitysegError, OSError):
    """A file or folder cannot be written or fetched: full disk, no permission, no network."""


class TrainingError(CitysegError):
    """A training cannot go on: its loss is no number any more, or another process is at it."""


class DataError(CitysegError, ValueError):
    """Files of a data set are missing, damaged or do not belong together.

    Attributes
    ----------
    faults : tuple of str
        One sentence per fault, each naming its file. The message lists the first few.
    """

    LISTED = 20

    def __init__(self, message: str, faults: Sequence[str] = ()):
        self.faults = tuple(faults)
        lines = [message, *(f"  - {fault}" for fault in self.faults[: self.LISTED])]
        if len(self.faults) > self.LISTED:
            lines.append(f"  ... and {len(self.faults) - self.LISTED} more (see .faults)")
        super().__init__("\n".join(lines))


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and end with its status; of an error of ours say what it says."""
    try:
        sys.exit(main())
    except CitysegError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
