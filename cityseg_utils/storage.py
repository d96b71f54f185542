"""Files in and out: every file is read whole or refused, and written whole or not at all."""

import errno
import os
import platform
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import simplejpeg
from filelock import FileLock
from PIL import Image

from cityseg_utils.errors import CitysegError, DataError, StorageError

UNFINISHED = "unfinished.txt"
_WRITING = f".writing-{platform.node()}-"  # a process of another machine may be alive
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PALETTE = 3  # of PNG's kinds of colour
_CHANNELS = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
_ORIENTATION = 0x0112  # of EXIF
# What libjpeg finds odd in photographs that are whole.
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color", "Warning: unknown JFIF")
MAX_PIXELS = 2**27  # a small file may claim any size; this many are half a gigabyte to decode


def home() -> Path:
    """Return the folder under which ``data/`` and ``runs/`` lie.

    That is ``$CITYSEG_HOME``, else the checkout this package is in, else the working directory.
    """
    if chosen := os.environ.get("CITYSEG_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def cache_home() -> Path:
    """Return the folder for what can be had anew, such as digests: ``~/.cache/cityseg``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cityseg"


@dataclass(frozen=True)
class Header:
    """What the file of a picture says of itself.

    Attributes
    ----------
    kind : str
        ``"PNG"`` or ``"JPEG"``.
    size : (height, width)
        As stored.
    bits, channels : int
    palette : bool
        Whether the numbers stored are places in a table of colours.
    orientation : int
        EXIF's: 1 is upright, 3 upside down; from 5 on the sides are swapped.
    """

    kind: str
    size: tuple[int, int]
    bits: int
    channels: int
    palette: bool = False
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) of the picture as it is to be looked at."""
        return self.size[::-1] if self.orientation > 4 else self.size


def files_below(folder: Path | str) -> list[Path]:
    """List all files in a folder and its subfolders, linked ones too, sorted.

    What begins with a dot is left out, such as what macOS writes beside each file.

    Raises
    ------
    DataError
        If the folder, or one below it, is missing or may not be read.
    """
    files, seen = [], set()
    try:
        for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            if (real := os.path.realpath(place)) in seen:  # a link to a folder above it
                folders.clear()
                continue
            seen.add(real)
            files += [Path(place, name) for name in names if not name.startswith(".")]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return sorted(files)


def _raise(error: OSError) -> None:
    raise error


def read_bytes(path: Path | str) -> bytes:
    """Read a whole file.

    Raises
    ------
    DataError
        If it cannot be read or is no file: a pipe or a device would never end.
    """
    with opened(path) as file:
        return file.read()


@contextmanager
def opened(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for reading, but nothing else that has a name.

    Raises
    ------
    DataError
        If it cannot be read or is no file: a pipe or a device would never end.
    """
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a pipe or a device, not a file")
        with Path(path).open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        if isinstance(error, CitysegError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error


def read_header(path: Path | str) -> Header:
    """Read what a PNG or JPEG file says of itself, without decoding it.

    Raises
    ------
    DataError
        If the file is missing, unreadable, truncated, no picture, or absurdly large.
    """
    with opened(path) as file:
        return _inspect(path, file)


def _inspect(path: Path | str, file: BinaryIO) -> Header:
    first = file.read(len(_PNG))
    if first == _PNG:
        header = _inspect_png(path, file)
    elif first.startswith(_JPEG):
        header = _inspect_jpeg(path, file)
    else:
        raise DataError(f"{path}: is not a PNG or JPEG file (it begins with {first!r})")
    if header is None:
        raise DataError(f"{path}: is truncated or damaged; fetch it again")
    height, width = header.size
    if height * width > MAX_PIXELS:
        raise DataError(f"{path}: claims {height} x {width} pixels; {MAX_PIXELS} are the most here")
    return header


def _inspect_png(path: Path | str, file: BinaryIO) -> Header | None:
    """Read all chunks but those of the pixels, to the last; None if the first is damaged."""
    chunks = {}
    while b"IEND" not in chunks:
        start = file.read(8)
        length, kind = int.from_bytes(start[:4]), start[4:]
        chunks[kind] = file.read(length) if kind in (b"IHDR", b"eXIf") else b""
        file.seek(length - len(chunks[kind]), os.SEEK_CUR)
        if len(file.read(4)) < 4:  # the chunk's sum, which the decoder checks
            length = file.seek(0, os.SEEK_END)
            raise DataError(f"{path}: is truncated after {length} bytes; fetch it again")
    if b"acTL" in chunks:
        raise DataError(f"{path}: is an animation; write the picture that is meant alone")
    first = chunks.get(b"IHDR", b"")
    if len(first) != 13 or first[9] not in _CHANNELS:
        return None
    size = int.from_bytes(first[4:8]), int.from_bytes(first[:4])
    turn = _orientation(chunks.get(b"eXIf", b""))
    return Header("PNG", size, first[8], _CHANNELS[first[9]], first[9] == _PALETTE, turn)


def _inspect_jpeg(path: Path | str, file: BinaryIO) -> Header | None:
    try:
        with Image.open(file, formats=["JPEG"]) as stored:
            size, exif = stored.size[::-1], stored.info.get("exif", b"")
            return Header("JPEG", size, 8, len(stored.getbands()), False, _orientation(exif))
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: claims too many pixels: {error}") from error
    except Exception:  # Pillow raises many kinds
        return None


def _orientation(exif: bytes) -> int:
    notes = Image.Exif()
    try:
        notes.load(exif)
        orientation = notes.get(_ORIENTATION, 1)
    except Exception:  # damaged notes turn no picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_picture(path: Path | str, color: bool) -> np.ndarray:
    """Read a PNG or JPEG file, whole or not at all.

    Parameters
    ----------
    path : Path or str
    color : bool
        True for a photograph, ``(H, W, 3) uint8`` RGB, turned upright as its EXIF says; False for a
        label map in a PNG, ``(H, W) uint8`` with the stored values untouched: of a palette its
        places, of fewer than 8 bits the numbers themselves.

    Raises
    ------
    DataError
        If the file is missing, unreadable, truncated, no picture, or not of the wanted kind.
    """
    content = read_bytes(path)
    header = _inspect(path, BytesIO(content))
    if not color:
        _check_label_map(path, header)
        content = _without_palette(content) if header.palette else content
    if header.kind == "JPEG":
        _check_whole(path, content, header.channels)
    picture = _decode(path, content, color)
    if not color and header.bits < 8:
        picture //= 255 // (2**header.bits - 1)  # as the decoder has made them
    if not color and header.palette:
        _check_palette(path, picture)
    return _turned_upright(picture, header.orientation)


def _check_label_map(path: Path | str, header: Header) -> None:
    if header.kind == "JPEG":
        raise DataError(
            f"{path}: is a JPEG file, which changes values and so the labels; keep masks as PNG, "
            "made anew from where they came from"
        )
    if header.orientation != 1:
        raise DataError(
            f"{path}: a label mask that EXIF turns (orientation {header.orientation}); write it "
            "anew as it is to be read"
        )
    if header.channels != 1 or header.bits > 8:
        kind = {2: "grey with transparency", 3: "colours", 4: "colours with transparency"}
        found = kind.get(header.channels, "one channel")
        raise DataError(
            f"{path}: a label mask has one channel of 8 bits, this picture has {header.channels} "
            f"of {header.bits} ({found}); is it a colour rendering, or instance ids, instead of "
            "the label ids? If every channel holds the ids, write one of them as 8 bits"
        )


def _without_palette(content: bytes) -> bytes:
    """Return a PNG with its palette's places as grey values, so that the decoder leaves them."""
    place = len(_PNG) + 4
    first = bytearray(content[place : place + 17])  # IHDR's name and content, which a sum follows
    if zlib.crc32(first) != int.from_bytes(content[place + 17 : place + 21]):
        return content  # damaged, as the decoder will say
    first[13] = 0
    parts, place = [content[:place], first, zlib.crc32(first).to_bytes(4)], place + 21
    while place < len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4])
        if content[place + 4 : place + 8] in (b"IDAT", b"IEND"):
            parts.append(content[place:end])
        place = end
    return b"".join(parts)


def _check_palette(path: Path | str, ids: np.ndarray) -> None:
    """Refuse a palette of greys under other numbers, as programs make of grey values to save room.

    Then nobody can know whether the greys are the ids or their places.
    """
    colors = read_palette(path)
    used = np.unique(ids[ids < len(colors)])
    if (colors == colors[:, :1]).all() and (colors[used, 0] != used).any():
        raise DataError(
            f"{path}: holds greys in a palette that gives them other numbers, and either may be "
            "the ids; write the ids as grey values, without a palette"
        )


def read_palette(path: Path | str) -> np.ndarray:
    """Return the colours of a PNG's palette, ``(N, 3) int``; none if it has no palette.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        with Image.open(path) as stored:
            return np.reshape(stored.getpalette() or [], (-1, 3)).astype(int)
    except (OSError, SyntaxError, ValueError) as error:  # parts that the decoder was not given
        raise DataError(f"{path}: is damaged and cannot be decoded; fetch it again") from error


def _check_whole(path: Path | str, content: bytes, channels: int) -> None:
    """Refuse a JPEG whose decoder does not come to the picture's end with the data's.

    OpenCV and Pillow fill with grey what is missing. What cameras write behind the end, such as a
    film, is no part of the picture.
    """
    colors = "CMYK" if channels == 4 else "GRAY"
    try:
        simplejpeg.decode_jpeg(content, colors, min_height=1, min_width=1)  # an eighth: the fastest
    except ValueError as error:
        if not str(error).startswith(_HARMLESS):
            raise DataError(f"{path}: is truncated or damaged ({error}); fetch it again") from error


def _decode(path: Path | str, content: bytes, color: bool) -> np.ndarray:
    # The orientation is left to us: versions of OpenCV differ in which files they turn.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if color else cv2.IMREAD_UNCHANGED
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded: {error.err}") from error
    if picture is None:
        raise DataError(f"{path}: is damaged and cannot be decoded; fetch it again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if color else picture


def _turned_upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 1:
        return picture
    if orientation > 4:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


@contextmanager
def write_whole(path: Path | str) -> Iterator[Path]:
    """Give a temporary name to write to; rename it to `path` if all went well, else remove it.

    Works for a file or a folder. Missing parent folders are made; a link stays one, and a file
    that was there keeps its rights.

    Raises
    ------
    StorageError
        If the system refuses to write (disk full, file too large, no permission).
    """
    path = Path(os.path.realpath(path))
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        box = tempfile.mkdtemp(prefix=f"{_WRITING}{os.getpid()}-", dir=path.parent)
        temporary = Path(box) / path.name
        yield temporary
        if path.exists() and not path.is_file() and not path.is_dir():
            raise StorageError(f"{path}: is a pipe or a device, not a file to be written anew")
        if path.is_file() and temporary.is_file():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, StorageError) or error.errno is None:
            raise
        raise StorageError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary.parent, ignore_errors=True)


def scratch() -> tempfile.TemporaryDirectory:
    """Make a temporary folder that later processes remove, should this one be killed."""
    place = Path(tempfile.gettempdir())
    _sweep(place)
    return tempfile.TemporaryDirectory(prefix=f"{_WRITING}{os.getpid()}-", dir=place)


@contextmanager
def unfinished(folder: Path, what: str) -> Iterator[None]:
    """Mark a folder as long as it is being filled; if that breaks off, the mark stays in it.

    `what` says what is wrong with a folder that has the mark, and what to do. Who else fills the
    folder waits.
    """
    write_bytes(folder / UNFINISHED, what.encode())  # which says so if nothing can be written
    with FileLock(folder / f".{UNFINISHED}.lock"):
        write_bytes(folder / UNFINISHED, what.encode())  # who was waited for has removed it
        yield
        (folder / UNFINISHED).unlink()


def check_finished(folder: Path) -> None:
    """Refuse a folder that was not filled to the end.

    Raises
    ------
    DataError
        If it has the mark of :func:`unfinished`.
    """
    if (folder / UNFINISHED).exists():
        said = read_bytes(folder / UNFINISHED).decode("utf-8", "replace")
        raise DataError(f"{folder}: is not finished: {said} ({UNFINISHED} says so)")


def remove_whole(folder: Path) -> None:
    """Remove a folder, if it is there, so that it is never seen half-removed, even when killed."""
    _sweep(folder.parent)
    with suppress(OSError):  # somebody else removes it, or nobody may
        box = tempfile.mkdtemp(prefix=f"{_WRITING}{os.getpid()}-", dir=folder.parent)
        try:
            folder.replace(Path(box) / folder.name)
        finally:
            shutil.rmtree(box, ignore_errors=True)


@cache
def _sweep(folder: Path) -> None:
    """Remove, once, what gone processes of this machine were writing or removing in a folder."""
    for left in folder.glob(f"{_WRITING}*-*"):
        owner = left.name.removeprefix(_WRITING).partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # where to ask is to kill
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        pass
    return True


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
