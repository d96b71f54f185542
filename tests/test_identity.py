import dataclasses
import functools
import os
import random
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from cityseg_utils import augmentation, identity, losses
from cityseg_utils.errors import DataError
from cityseg_utils.framework import load_tensorflow
from cityseg_utils.identity import Unknown, describe, digest

tf = load_tensorflow()


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Import a text as a module of the user's, under the same name each time."""
    monkeypatch.syspath_prepend(tmp_path)
    count = iter(range(99))

    def write(text, name="own_functions"):
        # A file of its own each time, or Python would take the compiled one of before.
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        module = ModuleType(name)
        module.__file__ = str(folder / f"{name}.py")
        code = compile((folder / f"{name}.py").read_text(), module.__file__, "exec")
        monkeypatch.setitem(sys.modules, name, module)
        exec(code, module.__dict__)
        return module

    return write


FIRST = """
    import numpy as np
    import other_functions

    STRENGTH = 2
    TABLE = {"a": [1, 2], "b": np.arange(3)}

    def helper(x):
        return x * STRENGTH

    def make(offset):
        def inner(x):
            return x + offset
        return inner

    closed = make(3)

    def augment(image, mask, seed=1):
        # a comment
        image = helper(image) + closed(image) + TABLE["a"][0]
        return other_functions.turn(image), mask
"""
OTHER = """
    ANGLE = 1

    def turn(image):
        return image * ANGLE

    def not_used(image):
        return image
"""


def described(written, first=FIRST, other=OTHER):
    written(other, "other_functions")
    return digest(written(first).augment)


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "body": ("helper(image) +", "helper(image) -"),
        "constant": ('["a"][0]', '["a"][1]'),
        "default": ("seed=1", "seed=2"),
        "closure": ("make(3)", "make(4)"),
        "what made the closure": ("x + offset", "x - offset"),
        "helper": ("x * STRENGTH", "x / STRENGTH"),
        "global of a helper": ("STRENGTH = 2", "STRENGTH = 3"),
        "global": ('"a": [1, 2]', '"a": [9, 2]'),
        "array": ("np.arange(3)", "np.arange(4)"),
    }.values(),
)
def test_a_function_that_was_edited_is_another(written, old, new):
    before = described(written)
    assert FIRST.count(old) == 1
    assert described(written, FIRST.replace(old, new)) != before


def test_a_function_of_another_file_of_the_user_s_is_looked_at(written):
    before = described(written)
    assert described(written, other=OTHER.replace("image * ANGLE", "image / ANGLE")) != before
    assert described(written, other=OTHER.replace("ANGLE = 1", "ANGLE = 2")) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another one"),
        ("# a comment\n", "\n\n\n"),
        ("image = helper(image) + closed(image)", "image = (helper(image)  +  closed( image ))"),
        ("STRENGTH = 2", "STRENGTH = 2\n    UNUSED = 5"),
    ],
)
def test_a_function_whose_code_is_the_same_is_the_same(written, old, new):
    before = described(written)
    assert described(written, FIRST.replace(old, new)) == before
    assert described(written, other=OTHER.replace("def not_used", "def still_not_used")) == before


def test_every_python_describes_a_function_alike(written):
    """Of 3.11, 3.12 and 3.13; what is described would else be trained anew by each."""
    text = """
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Shift:
            by: int = 2

            def __call__(self, image, mask, seed):
                return [x + self.by for x in image], f"{mask!r:>{self.by}}"

        class Old(Shift):
            __slots__ = ()

        @staticmethod
        def late(x, /, *more, named: int = 3, **rest):
            match x:
                case [1, *_] if (y := x):
                    return y
            try:
                return {k: v for k, v in rest.items()}, lambda z: (lambda q: q * z), -1, 1e-3
            except* ValueError as error:
                raise RuntimeError from error
    """
    module = written(text)
    assert digest(module.Shift(), module.Old(3), module.late) == "988907e1e2a6c91f"


def test_lambdas_of_one_line_are_told_apart():
    one, two = lambda x: x + 1, lambda x: x + 2
    nested, flat = lambda x: lambda y: x + y, lambda: 7
    assert len({digest(f) for f in (one, two, nested, nested(1), nested(2), flat)}) == 6
    assert digest(one) == digest(one)


def test_a_text_that_changed_since_it_was_imported_is_unknown(written):
    module = written("""
        def helper(x):
            return 2 * x
    """)
    path = Path(module.__file__)
    describe(module.helper)
    path.write_text(path.read_text() + "\n# a comment\n")
    describe(module.helper)
    path.write_text(path.read_text().replace("2 * x", "3 * x"))
    with pytest.raises(Unknown, match="no longer holds"):
        describe(module.helper)


def test_a_function_without_a_text_is_unknown():
    room = {}
    exec("def made(x): return x", room)
    with pytest.raises(Unknown, match="the text of .*made is not to be had"):
        describe(room["made"])


def test_a_function_that_a_library_wraps_is_looked_at(written):
    text = """
        from contextlib import contextmanager

        @contextmanager
        def around(x):
            yield x + 1
    """
    assert digest(written(text).around) != digest(written(text.replace("+ 1", "+ 2")).around)


@pytest.mark.parametrize(
    "blind", [lambda x: eval("x"), lambda x: globals()["y"], threading.Lock(), (x for x in ())]
)
def test_what_is_not_to_be_seen_is_unknown(blind):
    with pytest.raises(Unknown):
        describe(blind)


class Holder:
    def __init__(self, held):
        self.held, self.me = held, self

    def work(self, x):
        return x


class Loss(tf.keras.losses.Loss):
    def __init__(self, power):
        super().__init__()
        self.power = power

    def call(self, truth, guess):
        return tf.reduce_mean((truth - guess) ** self.power)


def test_objects_are_told_by_what_they_hold():
    different = [
        *map(Holder, [1, 1.0, "1", b"1", None, [1], (1,), {1}, {"a": 1}, {"a": 2}, np.ones(1)]),
        *map(Holder, [np.ones(2), np.ones(1, np.float32), tf.ones(1), pd.DataFrame({"a": [1]})]),
        *map(Holder, [pd.DataFrame({"a": [2]}), Holder(1), Holder, Holder(1).work]),
        Holder(np.random.default_rng(0)),
        Holder(np.random.default_rng(1)),
        functools.partial(Holder, 1),
        functools.partial(Holder, held=1),
        functools.lru_cache(Holder(1).work),
        tf.function(Holder(1).work),
        Loss(2),
        Loss(3),
        losses.DiceLoss(),
        losses.CrossEntropy([1.0, 2.0]),
        losses.CrossEntropy([1.0, 3.0]),
        augmentation.Colors(0.5),
        augmentation.Colors(0.6),
        tf.keras.optimizers.Adam(0.1),
        tf.keras.optimizers.Adam(0.2),
        tf.keras.optimizers.SGD(0.1),
        tf.reduce_mean,
        tf.reduce_max,
        np.sqrt,
        random.random,
    ]
    assert len({digest(x) for x in different}) == len(different)
    assert digest(Holder([1, {"a": np.ones(3)}])) == digest(Holder([1, {"a": np.ones(3)}]))
    assert digest(Loss(2)) == digest(Loss(2))


def test_a_setting_of_ours_at_its_default_changes_nothing(monkeypatch):
    """So that one that is added later does not make another recipe of a stored one."""
    before = digest(augmentation.Colors(0.5))
    Later = dataclasses.make_dataclass(
        "Colors", [("strength", float, 1.0), ("later", int, 0)], frozen=True
    )
    Later.__module__, Later.__qualname__ = "cityseg_utils.augmentation", "Colors"
    assert digest(Later(0.5)) == before
    assert digest(Later(0.5, 1)) != before


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def old_file(tmp_path):
    """A file that was not written this moment, which would not be remembered."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def asked(path, answers=("first", "second")):
    """Say what is remembered of a file, or else the next answer."""
    given = iter(answers)
    return [identity.remembered([path], "test", lambda _: next(given))[0] for _ in range(2)]


def test_a_file_of_this_moment_is_looked_at_again(old_file):
    assert asked(old_file) == ["first", "second"]


def test_what_was_noted_is_remembered(old_file):
    identity.note({old_file: "noted"}, "test")
    assert asked(old_file) == ["noted", "noted"]
    assert identity.remembered([old_file], "another question", lambda _: "x") == ["x"]


def test_a_file_that_is_replaced_with_its_date_is_another(old_file, tmp_path):
    """As by `cp -p`: equal name, size and date."""
    identity.note({old_file: "noted"}, "test")
    stat = old_file.stat()
    (tmp_path / "new").write_bytes(b"two")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(old_file)
    assert asked(old_file)[0] == "first"


def test_a_file_that_is_overwritten_with_its_date_is_another(old_file):
    identity.note({old_file: "noted"}, "test")
    stat = old_file.stat()
    old_file.write_bytes(b"two")
    os.utime(old_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert asked(old_file)[0] == "first"


@pytest.mark.parametrize("memory", ["damaged", "no folder"])
def test_without_a_memory_files_are_looked_at_each_time(old_file, tmp_path, monkeypatch, memory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if memory == "damaged":
        (tmp_path / "cache" / "cityseg").mkdir(parents=True)
        (tmp_path / "cache" / "cityseg" / "files.sqlite").write_bytes(b"no database" * 99)
    else:
        (tmp_path / "cache").write_text("a file")
    identity.note({old_file: "noted"}, "test")
    assert asked(old_file) == ["first", "second"]


def test_a_name_in_latin_1_is_remembered_like_any_other(tmp_path):
    path = tmp_path / os.fsdecode(b"\xdf.png")
    path.write_bytes(b"one")
    identity.note({path: "noted"}, "test")
    assert identity.files([path]) == identity.files([path])


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png: cannot be read: No such file"):
        identity.files([tmp_path / "nowhere.png"])
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        identity.files([tmp_path])
