"""Files in and out: every file is read whole or refused, and written whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from cityseg_utils.errors import DataError, StorageError

_PNG = (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82")  # first and last bytes of every complete file
_JPEG = (b"\xff\xd8\xff", b"\xff\xd9")


def home() -> Path:
    """Return the folder under which ``data/`` and ``runs/`` lie.

    That is ``$CITYSEG_HOME``, else the checkout this package is in, else the working directory.
    """
    if chosen := os.environ.get("CITYSEG_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def read_picture(path: Path | str, color: bool) -> np.ndarray:
    """Read a PNG or JPEG file, whole or not at all.

    Parameters
    ----------
    path : Path or str
    color : bool
        True for a photograph, ``(H, W, 3) uint8`` RGB; False for a label map, ``(H, W) uint8``
        with the stored values untouched.

    Raises
    ------
    DataError
        If the file is missing, unreadable, truncated, no picture, or not of the wanted kind.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    for first, last in (_PNG, _JPEG):
        if content.startswith(first):
            if last not in content[-64:]:
                raise DataError(f"{path}: is truncated after {len(content)} bytes; fetch it again")
            break
    else:
        raise DataError(f"{path}: is not a PNG or JPEG file (it begins with {content[:8]!r})")
    flags = cv2.IMREAD_COLOR if color else cv2.IMREAD_UNCHANGED
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded: {error.err}") from error
    if picture is None:
        raise DataError(f"{path}: is damaged and cannot be decoded; fetch it again")
    if color:
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    if picture.ndim != 2 or picture.dtype != np.uint8:
        channels = 1 if picture.ndim == 2 else picture.shape[2]
        raise DataError(
            f"{path}: a label mask has one channel of 8 bits, this picture has {channels} of "
            f"{8 * picture.itemsize}; is it a colour rendering instead of the label ids?"
        )
    return picture


@contextmanager
def write_whole(path: Path | str) -> Iterator[Path]:
    """Give a temporary name to write to; rename it to `path` if all went well, else remove it.

    Works for a file or a folder. Missing parent folders are made.

    Raises
    ------
    StorageError
        If the system refuses to write (disk full, file too large, no permission).
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        box = tempfile.mkdtemp(prefix=".writing-", dir=path.parent)
        temporary = Path(box) / path.name
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, StorageError) or error.errno is None:
            raise
        raise StorageError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary.parent, ignore_errors=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all (see :func:`write_whole`)."""
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def write_png(path: Path | str, picture: np.ndarray) -> None:
    """Write one channel, RGB or RGBA, of 8 or 16 bits, as a PNG file, whole or not at all."""
    if picture.ndim == 3:
        order = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        picture = cv2.cvtColor(picture, order)
    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())


def _reason(error: OSError) -> str:
    advice = {
        errno.ENOSPC: "free some space and try again",
        errno.EFBIG: "raise the limit on file sizes (ulimit -f) or write elsewhere",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
        errno.EDQUOT: "free some of your quota and try again",
    }
    hint = advice.get(error.errno)
    return f"{error.strerror}; {hint}" if hint else str(error.strerror)
