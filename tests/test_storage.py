import os
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from cityseg_utils import storage
from cityseg_utils.errors import CitysegError, DataError, StorageError

AS_NOBODY = """
import os, sys
from cityseg_utils import errors, storage
if os.getuid() == 0:
    os.setuid(65534)  # root may write anywhere, nobody may not
"""
LIMITED = """
import resource, signal, sys
from pathlib import Path
from cityseg_utils import errors, storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_bytes_writes_and_makes_folders(tmp_path):
    storage.write_bytes(tmp_path / "new" / "folder" / "file", b"content")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"content"
    assert names_in(tmp_path / "new" / "folder") == ["file"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    storage.write_bytes(tmp_path / "file", b"old")
    with pytest.raises(ZeroDivisionError), storage.write_whole(tmp_path / "file") as temporary:
        temporary.write_bytes(b"half of the n")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_folder_is_written_whole(tmp_path):
    with storage.write_whole(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
        assert not (tmp_path / "folder").exists()
    assert names_in(tmp_path) == ["folder"]
    assert names_in(tmp_path / "folder") == ["a"]


def test_a_folder_is_not_left_when_the_block_raises(tmp_path):
    with pytest.raises(KeyboardInterrupt), storage.write_whole(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path, run_python):
    """A limit on file sizes stands for the full disk; the old file survives."""
    storage.write_bytes(tmp_path / "file", b"old")
    script = """
try:
    storage.write_bytes(Path(sys.argv[1]) / "file", bytes(5000))
except errors.StorageError as error:
    print(error)
"""
    printed = run_python(LIMITED + script, tmp_path)
    assert f"{tmp_path / 'file'}: cannot be written" in printed
    assert "ulimit" in printed
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_folder_one_may_not_write_to_is_a_storage_error(open_folder, run_python):
    locked = open_folder / "locked"
    locked.mkdir(mode=0o555)
    script = """
try:
    storage.write_bytes(sys.argv[1] + "/file", b"content")
except errors.StorageError as error:
    print(error)
"""
    printed = run_python(AS_NOBODY + script, locked)
    assert "cannot be written" in printed
    assert "choose a folder that you may write to" in printed
    assert names_in(locked) == []


def test_a_file_in_the_place_of_a_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.write_bytes(tmp_path / "file" / "below", b"")


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_write_png_and_read_back(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    storage.write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), picture)
    color = len(shape) == 3
    np.testing.assert_array_equal(storage.read_picture(tmp_path / "a.png", color), picture)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, 60, -100, -13, -12, -8, -1])
@pytest.mark.parametrize("color", [True, False], ids=["image", "mask"])
def test_a_truncated_png_is_refused(tmp_path, cut, color):
    picture = np.random.default_rng(0).integers(0, 9, (20, 30, 3)[: 2 + color], np.uint8)
    storage.write_png(tmp_path / "cut.png", picture)
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"cut\.png"):
        storage.read_picture(tmp_path / "cut.png", color)


@pytest.mark.parametrize("cut", [2, 30, -200, -2, -1])
def test_a_truncated_jpeg_is_refused(tmp_path, cut):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    assert storage.read_picture(tmp_path / "cut.jpg", True).shape == (20, 30, 3)
    (tmp_path / "cut.jpg").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"cut\.jpg"):
        storage.read_picture(tmp_path / "cut.jpg", True)


@pytest.mark.parametrize("color", [True, False], ids=["image", "mask"])
def test_a_flipped_byte_is_refused(tmp_path, color):
    """Every part of a PNG has a checksum, so a byte that changed cannot go unnoticed."""
    picture = np.random.default_rng(0).integers(0, 9, (8, 9, 3)[: 2 + color], np.uint8)
    storage.write_png(tmp_path / "flipped.png", picture)
    whole = (tmp_path / "flipped.png").read_bytes()
    accepted = []
    for place in range(8, len(whole) - 12):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        (tmp_path / "flipped.png").write_bytes(damaged)
        try:
            storage.read_picture(tmp_path / "flipped.png", color)
            accepted.append(place)
        except CitysegError as error:
            assert "flipped.png" in str(error)
    assert accepted == []


def test_an_absurd_size_is_refused(tmp_path):
    """A header that promises 60000 x 60000 pixels must not ask for that memory."""
    storage.write_png(tmp_path / "huge.png", np.zeros((4, 4, 3), np.uint8))
    content = bytearray((tmp_path / "huge.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(DataError, match=r"huge\.png"):
        storage.read_picture(tmp_path / "huge.png", True)


@pytest.mark.parametrize("name", ["text.png", "nothing.png", "folder.png"])
def test_what_is_no_picture_is_refused(tmp_path, name):
    (tmp_path / "text.png").write_text("I am a text, not a picture.")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=name):
        storage.read_picture(tmp_path / name, True)


def test_a_file_one_may_not_read_is_a_data_error(open_folder, run_python):
    storage.write_png(open_folder / "secret.png", np.zeros((4, 4), np.uint8))
    (open_folder / "secret.png").chmod(0)
    script = """
try:
    storage.read_picture(sys.argv[1], color=False)
except errors.DataError as error:
    print(error)
"""
    printed = run_python(AS_NOBODY + script, open_folder / "secret.png")
    assert "secret.png: cannot be read: Permission denied" in printed


# -- ids are read as they were stored, whatever the form -------------------------------------------


def png(ids, bits, palette=False, note=b""):
    """Write a PNG by the book: so many bits an id, as grey or as places in a palette."""

    def chunk(kind, content):
        whole = kind + content
        return len(content).to_bytes(4) + whole + zlib.crc32(whole).to_bytes(4)

    height, width = ids.shape
    digits = np.unpackbits(ids[..., None], axis=-1)[..., 8 - bits :].reshape(height, -1)
    rows = np.hstack([np.zeros((height, 1), np.uint8), np.packbits(digits, axis=1)])
    first = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, 3 if palette else 0, 0, 0, 0])
    colors = chunk(b"PLTE", bytes(range(250, 250 - 3 * 2 ** min(bits, 6), -1))) if palette else b""
    parts = [chunk(b"IHDR", first), colors, note, chunk(b"IDAT", zlib.compress(rows.tobytes()))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("palette", [False, True], ids=["grey", "palette"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_and_palettes_hold_ids(tmp_path, bits, palette, capfd):
    ids = np.random.default_rng(bits).integers(0, min(2**bits, 60), (5, 7), np.uint8)
    (tmp_path / "ids.png").write_bytes(png(ids, bits, palette))
    np.testing.assert_array_equal(storage.read_picture(tmp_path / "ids.png", False), ids)
    assert capfd.readouterr() == ("", "")  # a decoder's warnings, one for each file


def test_a_palette_of_pillow_s_holds_ids(tmp_path):
    ids = np.random.default_rng(0).integers(0, 12, (20, 30), np.uint8)
    picture = Image.fromarray(ids)
    picture.putpalette([int(x) for x in np.random.default_rng(1).integers(0, 256, 36)])
    picture.save(tmp_path / "ids.png", transparency=3, optimize=True)
    np.testing.assert_array_equal(storage.read_picture(tmp_path / "ids.png", False), ids)


def test_a_palette_of_greys_under_other_numbers_is_refused(tmp_path):
    """As a program that saves room makes of grey values; which of the two are ids, is lost."""
    ids = np.random.default_rng(0).choice([7, 8, 11, 23], (20, 30)).astype(np.uint8)
    Image.fromarray(ids).convert("RGB").quantize(4).save(tmp_path / "ids.png")
    with pytest.raises(DataError, match="holds greys in a palette that gives them other numbers"):
        storage.read_picture(tmp_path / "ids.png", False)
    Image.fromarray(ids).convert("P").save(tmp_path / "ids.png")  # 7 stays at place 7
    np.testing.assert_array_equal(storage.read_picture(tmp_path / "ids.png", False), ids)


@pytest.mark.parametrize("color", [True, False], ids=["image", "mask"])
def test_an_animation_is_refused(tmp_path, color):
    frame = Image.fromarray(np.ones((4, 6, 3)[: 2 + color], np.uint8))
    other = Image.fromarray(np.zeros((4, 6, 3)[: 2 + color], np.uint8))
    frame.save(tmp_path / "a.png", save_all=True, append_images=[other])
    with pytest.raises(DataError, match="is an animation"):
        storage.read_picture(tmp_path / "a.png", color)


def test_a_jpeg_that_claims_too_much_is_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content.replace(b"\0\x08\0\x08", b"\x75\x30\x75\x30"))
    with pytest.raises(DataError, match="claims too many pixels"):
        storage.read_header(tmp_path / "a.jpg")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="is a pipe or a device"):
        storage.write_bytes(tmp_path / "pipe", b"content")
    assert names_in(tmp_path) == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("kind", ["IHDR", "IDAT"])
def test_a_damaged_palette_picture_is_refused(tmp_path, kind):
    content = bytearray(png(np.ones((5, 7), np.uint8), 4, palette=True))
    content[content.index(kind.encode()) + 7] ^= 1
    (tmp_path / "ids.png").write_bytes(content)
    with pytest.raises(DataError, match=r"ids\.png"):
        storage.read_picture(tmp_path / "ids.png", False)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.ones((4, 6, 3), np.uint8), "3 of 8 .colours.*write one of them"),
        (np.ones((4, 6, 4), np.uint8), "4 of 8 .colours with transparency"),
        (np.ones((4, 6), np.uint16), "1 of 16 .one channel.*instance ids"),
    ],
    ids=["colours", "transparent", "16 bits"],
)
def test_other_pictures_than_ids_are_named(tmp_path, pixels, said):
    storage.write_png(tmp_path / "a.png", pixels)
    with pytest.raises(DataError, match=said):
        storage.read_picture(tmp_path / "a.png", False)


def test_a_jpeg_is_no_label_map_whatever_its_name(tmp_path):
    Image.fromarray(np.ones((16, 16), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match="JPEG.*changes.*labels.*PNG"):
        storage.read_picture(tmp_path / "a.png", False)


# -- photographs ----------------------------------------------------------------------------------


def photograph(size=(240, 320)):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC))


FORMS = [
    {},
    {"quality": 30, "subsampling": 0},
    {"progressive": True},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("tail", [b"", b"T" * 200, b"\xff\xd8\xff\xe0film" * 999])
def test_a_jpeg_may_have_bytes_behind_its_end(tmp_path, form, tail):
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", **form)
    whole = storage.read_picture(tmp_path / "a.jpg", True)
    np.testing.assert_array_equal(whole, np.asarray(Image.open(tmp_path / "a.jpg")))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + tail)
    np.testing.assert_array_equal(storage.read_picture(tmp_path / "a.jpg", True), whole)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("part", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("start", [0.45, 0.75])
def test_a_jpeg_without_a_part_of_its_middle_is_refused(tmp_path, form, start, part):
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", **form)
    content = (tmp_path / "a.jpg").read_bytes()
    gone = slice(int(len(content) * start), int(len(content) * min(start + part, 0.97)))
    (tmp_path / "a.jpg").write_bytes(content[: gone.start] + content[gone.stop :])
    with pytest.raises(DataError, match=r"a\.jpg: is truncated or damaged"):
        storage.read_picture(tmp_path / "a.jpg", True)


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_photograph_is_read_upright(tmp_path, kind, orientation):
    """As Pillow turns it; 9 is no orientation and turns nothing."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(photograph()).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(storage.read_picture(path, True), expected)
    header = storage.read_header(path)
    assert header.upright_size == expected.shape[:2]
    assert header.orientation == (orientation if orientation < 9 else 1)


def test_a_photograph_for_print_is_read(tmp_path):
    Image.fromarray(photograph()).convert("CMYK").save(tmp_path / "a.jpg")
    assert storage.read_picture(tmp_path / "a.jpg", True).shape == (240, 320, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_note_turns_nothing(tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert storage.read_picture(tmp_path / "a.jpg", True).shape == (240, 320, 3)


def test_a_turned_label_map_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(DataError, match="orientation 3"):
        storage.read_picture(tmp_path / "a.png", False)


@pytest.mark.parametrize("read", [storage.read_bytes, storage.read_header])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is a pipe or a device"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("read", [storage.read_bytes, storage.read_header])
def test_a_name_that_no_file_can_have_is_refused(read):
    with pytest.raises(DataError, match="cannot be read"):
        read("a\0b.png")


def test_an_empty_file_has_no_header(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="is not a PNG or JPEG"):
        storage.read_header(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 1), (65_535, 65_535)])
def test_a_header_that_claims_too_much_is_refused_before_decoding(tmp_path, size):
    content = bytearray(png(np.ones((1, 1), np.uint8), 8))
    content[16:24] = size[1].to_bytes(4) + size[0].to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=f"claims {size[0]} x {size[1]} pixels"):
        storage.read_header(tmp_path / "a.png")


# -- what was there -------------------------------------------------------------------------------


def test_a_link_stays_a_link_and_a_file_keeps_its_rights(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    storage.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_home_is_the_environment_s_choice_or_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSEG_HOME", str(tmp_path))
    assert storage.home() == tmp_path.resolve()
    monkeypatch.delenv("CITYSEG_HOME")
    assert (storage.home() / "cityseg_utils" / "storage.py").is_file()


def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path, run_python):
    """But not what a living one is at, nor what nobody knows."""
    code = """
import os, signal, sys
from cityseg_utils import storage
with storage.write_whole(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run_python(code, tmp_path / "file", code=-9)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".writing-elsewhere-1-x").mkdir()
    storage._sweep.cache_clear()
    with storage.write_whole(tmp_path / "one") as temporary:
        temporary.write_bytes(b"whole")
        assert not left.exists()
        mine = set(tmp_path.iterdir())
        storage._sweep.cache_clear()
        storage.write_bytes(tmp_path / "two", b"whole")
        assert set(tmp_path.iterdir()) == mine | {tmp_path / "two"}


def test_a_folder_is_never_seen_half_removed(tmp_path, run_python):
    """Killed while its files go one by one, the removal has taken the name away before."""
    code = """
import os, shutil, signal, sys
from pathlib import Path
from cityseg_utils import storage
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
storage.remove_whole(Path(sys.argv[1]))
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    run_python(code, folder, code=-9)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".writing-")
    storage._sweep.cache_clear()
    storage.remove_whole(folder)
    assert not list(tmp_path.iterdir())
    storage.remove_whole(tmp_path / "nowhere" / "folder")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_in_the_temporary_folder_is_removed(
    tmp_path, monkeypatch, run_python
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = """
import os, signal
from cityseg_utils import storage
folder = storage.scratch()
os.kill(os.getpid(), signal.SIGKILL)
"""
    lefts = []
    for _ in range(2):
        run_python(code, code=-9)
        (left,) = tmp_path.iterdir()
        lefts.append(left)
    assert lefts[0] != lefts[1]
