import zlib

import numpy as np
import pytest
from PIL import Image

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


def test_home_is_the_environment_s_choice_or_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSEG_HOME", str(tmp_path))
    assert storage.home() == tmp_path.resolve()
    monkeypatch.delenv("CITYSEG_HOME")
    assert (storage.home() / "cityseg_utils" / "storage.py").is_file()
