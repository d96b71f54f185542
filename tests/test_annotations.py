"""What was said of pixels is kept whatever happens, and means the same after it is read again."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from cityseg_utils import annotations, datasets, preprocessing, storage
from cityseg_utils.annotations import UNLABELLED, Answer, AnswerLog
from cityseg_utils.errors import DataError, LabelError, StorageError
from cityseg_utils.labels import CITYSCAPES, VOID, ClassScheme

SCHEME = ClassScheme("tiny", ("a", "b"), ((1, 1, 1), (2, 2, 2)), (7, 9), (0,))


def pixel(place, label, frame="x/1"):
    return Answer(frame, ((place, 1),), label)


@pytest.fixture
def log(tmp_path):
    return AnswerLog(tmp_path / "answers.jsonl", SCHEME)


def test_runs_and_places_are_each_other_s_inverse():
    rng = np.random.default_rng(0)
    for share in (0, 0.1, 0.9, 1):
        where = rng.random((5, 7)) < share
        assert set(annotations.numbers(annotations.runs(where))) == set(np.flatnonzero(where))
    assert annotations.runs(np.array([[0, 1, 1], [1, 0, 1]], bool)) == ((1, 3), (5, 1))


def test_answers_hold_in_order_and_the_last_one_wins(log):
    log.add(Answer("x/1", ((0, 3),), 0))
    log.add(pixel(1, 1))
    log.add(pixel(2, None))
    log.add(pixel(5, VOID))
    log.add(pixel(0, 1, "x/2"))
    assert log.labels("x/1", (2, 3)).tolist() == [[0, 1, UNLABELLED], [UNLABELLED, UNLABELLED, 255]]
    assert log.frames() == ["x/1", "x/2"]


def test_undone_and_given_again_to_the_start_and_the_end(log):
    given = [pixel(k, k % 2) for k in range(5)]
    for answer in given:
        log.add(answer)
    assert [log.undo() for _ in range(6)] == [*given[::-1], None]
    assert log.answers == ()
    assert [log.redo() for _ in range(6)] == [*given, None]
    assert log.answers == tuple(given)


def test_a_new_answer_ends_what_could_be_given_again(log):
    log.add(pixel(0, 0))
    log.undo()
    log.add(pixel(1, 1))
    assert not log.can_redo
    assert log.redo() is None


def test_a_log_that_is_opened_again_holds_the_same(log):
    log.add(Answer("x/1", ((0, 2), (4, 1)), 1, "me", 3, 1.25))
    log.add(pixel(1, 0))
    log.add(pixel(2, 0))
    log.undo()
    again = AnswerLog(log.path, SCHEME)
    assert (again.answers, again.can_redo, again.damage) == (log.answers, True, None)
    assert again.redo() == pixel(2, 0)


def test_a_window_that_is_behind_is_refused_and_nothing_is_merged(log):
    log.add(pixel(0, 0))
    other = AnswerLog(log.path, SCHEME)
    other.add(pixel(1, 1))
    with pytest.raises(StorageError, match="another window has answered"):
        log.add(pixel(2, 1))
    assert log.answers == (pixel(0, 0),)
    assert AnswerLog(log.path, SCHEME).answers == other.answers


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_damaged_end_is_set_aside_with_a_message(log, cut):
    log.add(pixel(0, 0))
    log.add(pixel(1, 1))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    again = AnswerLog(log.path, SCHEME)
    assert again.answers == (pixel(0, 0),)
    assert "cut off" in again.damage
    assert log.path.with_name("answers.jsonl.damaged").read_bytes() in whole
    again.add(pixel(1, 1))
    assert AnswerLog(log.path, SCHEME).answers == (pixel(0, 0), pixel(1, 1))


def test_a_log_that_is_damaged_before_its_end_is_refused(log):
    for k in range(3):
        log.add(pixel(k, 0))
    lines = log.path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"[[1,1]]", b"[[2,1]]")
    log.path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="line 3 is not what was written"):
        AnswerLog(log.path, SCHEME)


def test_a_log_of_other_classes_is_refused(log):
    log.add(pixel(0, 0))
    other = ClassScheme("other", ("c", "d"), SCHEME.colors, SCHEME.ids, SCHEME.void_ids)
    with pytest.raises(DataError, match="holds answers of other classes: a, b"):
        AnswerLog(log.path, other)


def test_labels_that_no_class_has_and_frames_of_another_size_are_refused(log):
    with pytest.raises(LabelError, match="no class of tiny has the number 2"):
        log.add(pixel(0, 2))
    for frame, place in (("x/1", 11), ("x/2", -1)):
        log.add(pixel(place, 1, frame))
        with pytest.raises(DataError, match="does not lie in"):
            log.labels(frame, (2, 3))


def test_where_it_cannot_be_written_the_answer_does_not_hold(log, tmp_path):
    log.add(pixel(0, 0))
    there = log.path.read_bytes()
    log.path.unlink()
    log.path.symlink_to("/dev/full")  # as a full disk
    log._read = 0
    with pytest.raises(StorageError, match="not saved"):
        log.add(pixel(1, 0))
    assert log.answers == (pixel(0, 0),)
    nowhere = tmp_path / "file"
    nowhere.write_bytes(there)
    with pytest.raises(StorageError, match="not saved"):
        AnswerLog(nowhere / "answers.jsonl", SCHEME).add(pixel(0, 0))


def test_a_log_is_read_only_between_two_answers(log):
    log.add(pixel(0, 0))
    with ThreadPoolExecutor(1) as pool, log._lock:
        opened = pool.submit(AnswerLog, log.path, SCHEME)
        with log.path.open("ab") as file:  # half of an answer, as seen while it is written
            file.write(b"0123")
        with pytest.raises(TimeoutError):
            opened.result(0.2)
        log.path.write_bytes(log.path.read_bytes()[:-4])
    assert opened.result().damage is None


SESSION = """
import sys
from cityseg_utils.annotations import Answer, AnswerLog
from cityseg_utils.labels import ClassScheme
scheme = ClassScheme("tiny", ("a", "b"), ((1, 1, 1), (2, 2, 2)), (7, 9), (0,))
log = AnswerLog(sys.argv[1], scheme)
for k in range(len(log.answers), 1000):
    log.add(Answer("x/1", ((k, 1),), k % 2))
    print(k + 1, flush=True)
"""


def test_a_session_that_is_killed_loses_at_most_the_answer_in_flight(tmp_path):
    path = tmp_path / "answers.jsonl"
    command = [sys.executable, "-c", SESSION, str(path)]
    for moment in range(20):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as session:
            for _ in range(1 + 7 * moment % 40):
                said = session.stdout.readline()
            os.kill(session.pid, signal.SIGKILL)
            said = int((session.stdout.read().split() or [said])[-1])
        held = AnswerLog(path, SCHEME).answers
        assert len(held) in (said, said + 1)
        assert held == tuple(pixel(k, k % 2) for k in range(len(held)))


# -- sizes ----------------------------------------------------------------------------------------


def test_each_pixel_that_a_network_sees_has_a_native_one_that_leads_back_to_it():
    small, native = (6, 8), (13, 21)
    for row in range(6):
        for column in range(8):
            labels = np.full(native, UNLABELLED, np.int16)
            labels[annotations.centre(row, column, small, native)] = 1
            wanted = np.full(small, UNLABELLED)
            wanted[row, column] = 1
            assert (annotations.resized(labels, small) == wanted).all()


def test_whole_masks_are_resized_by_their_nearest_pixels():
    labels = np.random.default_rng(0).integers(0, 3, (24, 48)).astype(np.int16)
    labels[labels == 2] = VOID
    assert (annotations.resized(labels, (8, 16)) == labels[1::3, 1::3]).all()


def test_an_oracle_says_what_most_pixels_are_and_void_where_that_is_so(tmp_path):
    storage.write_png(tmp_path / "m.png", np.array([[7, 9, 9], [0, 0, 0]], np.uint8))
    pairs = pd.DataFrame([{"city": "x", "frame": "1", "mask": tmp_path / "m.png"}])
    oracle = annotations.Oracle(pairs, SCHEME)
    said = [oracle.answer("x/1", pixels).label for pixels in (((0, 1),), ((0, 3),), ((2, 4),))]
    assert said == [0, 1, VOID]
    assert annotations.clicks([oracle.answer("x/1", ((0, 1),))] * 3) == 3


# -- what leaves ----------------------------------------------------------------------------------


def painting(rng, size=(40, 60)):
    """Blobs, rings with holes, thin lines and single pixels, in some classes and void."""
    labels = np.full(size, rng.choice([0, VOID]), np.uint8)
    for _ in range(rng.integers(3, 25)):
        color = int(rng.choice([0, 2, 5, 11, 18, VOID]))
        x, y = (int(v) for v in (rng.integers(0, size[1]), rng.integers(0, size[0])))
        kind = rng.integers(4)
        if kind == 0:
            cv2.circle(labels, (x, y), int(rng.integers(0, 12)), color, -1)
        elif kind == 1:
            cv2.circle(labels, (x, y), int(rng.integers(3, 14)), color, int(rng.integers(1, 4)))
        elif kind == 2:
            end = int(rng.integers(0, size[1])), int(rng.integers(0, size[0]))
            cv2.line(labels, (x, y), end, color, int(rng.integers(1, 3)))
        else:
            labels[y, x] = color
    noisy = rng.random(size) < rng.choice([0, 0.02, 0.3])
    labels[noisy] = rng.choice([0, 5, 18], int(noisy.sum()))
    return labels


def test_the_official_tools_draw_the_same_labels_from_the_polygons(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(100):
        labels = painting(rng)
        found = annotations.polygons(labels, CITYSCAPES)
        (tmp_path / "p.json").write_text(json.dumps(found))
        annotation = Annotation()
        annotation.fromJsonFile(str(tmp_path / "p.json"))
        drawn = np.array(createLabelImage(annotation, "ids"))
        np.testing.assert_array_equal(drawn, CITYSCAPES.unmap(labels))
        parts = [
            cv2.connectedComponents((labels == k).astype(np.uint8), connectivity=4)[0] - 1
            for k in np.unique(labels)
        ]
        assert len(found["objects"]) == sum(parts)


def test_what_was_said_opens_as_a_data_set_and_as_cityscapes(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for k in range(3):
        path = tmp_path / f"{k}.png"
        storage.write_png(path, rng.integers(0, 256, (40, 60, 3)).astype(np.uint8))
        rows.append({"image": path, "mask": None, "split": "train", "city": "ulm"})
    pairs = pd.DataFrame(rows).assign(frame=["000000_000019", "000001_000019", "000002_000019"])
    log = AnswerLog(tmp_path / "answers", CITYSCAPES)
    said = {}
    for k in (0, 2):
        frame = annotations.frame_name(pairs.iloc[k])
        said[k] = painting(rng)
        for label in np.unique(said[k][said[k] != VOID]):
            log.add(Answer(frame, annotations.runs(said[k] == label), int(label)))
    saved = annotations.save(tmp_path / "new", pairs, log)
    opened, scheme = datasets.open_dataset(tmp_path / "new")
    assert len(saved) == len(opened) == 2
    assert datasets.check_pairs(opened, scheme) is not None
    for k, mask in zip((0, 2), opened["mask"], strict=True):
        np.testing.assert_array_equal(preprocessing.read_mask(mask, scheme), said[k])
    annotations.save_cityscapes(tmp_path / "cs", pairs, log)
    files = sorted(path.name for path in (tmp_path / "cs" / "gtFine" / "train" / "ulm").iterdir())
    assert files[0] == "ulm_000000_000019_gtFine_labelIds.png" and len(files) == 4
    with pytest.raises(DataError, match="nothing was said"):
        annotations.save(tmp_path / "none", pairs.iloc[1:2], log)
    with pytest.raises(LabelError, match="not tiny's"):
        annotations.save_cityscapes(tmp_path, pairs, AnswerLog(tmp_path / "other", SCHEME))
