"""What decides a training, told by its content: functions by their text, files by digests.

Two things of equal description do the same; of what cannot be described, nobody can say so.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
import linecache
import os
import sqlite3
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import numpy as np

from cityseg_utils import storage
from cityseg_utils.errors import DataError

# Of this package. To be raised when a transform, a loss or a network learns otherwise than before:
# then what was trained earlier is trained anew, and stored results are no longer today's.
EDITION = "1"

# What reads names that no text shows.
_BLIND = {"eval", "exec", "globals", "locals", "vars", "__import__"}
_PACKAGE = Path(__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}
# Of a class: what says nothing of what it does, or what Python fills in.
_IDLE = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__"}
_IDLE |= {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"}
_IDLE |= {"__annotate__", "__annotate_func__", "__annotations_cache__", "__hash__"}
_IDLE |= {
    "__match_args__",
    "__replace__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__slots__",
}


class Unknown(Exception):
    """Raised for what cannot be described: nobody can tell whether it is the same again."""


def digest(*values) -> str:
    """Return 16 hexadecimal digits that tell these values from others (see :func:`describe`)."""
    return hashlib.sha256(json.dumps(describe(values)).encode()).hexdigest()[:16]


def describe(value) -> object:
    """Return what a value is, for JSON.

    Of a function of the user's: its text, without comments and blank lines, and all that it
    reaches: defaults, closure, and the globals that it names, functions among them, each described
    in the same way. Of a function or class of a library, and of this package: name and version. Of
    an object: its class and all that it holds. No version of Python changes it.

    Raises
    ------
    Unknown
        If the text of a function is not to be had, or is not what was compiled; if it reads names
        that its text does not show; for open files, threads and the like.
    """
    return _Describer()(value)


class _Describer:
    """Describes values; one that holds itself is named by how far up it was met."""

    def __init__(self):
        self._within: list[int] = []
        self._known: dict[int, tuple] = {}  # with the value, or another could get its address

    def __call__(self, value) -> object:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float | complex | np.generic):
            return [type(value).__name__, repr(value)]
        if isinstance(value, bytes):
            return ["bytes", hashlib.sha256(value).hexdigest()]
        if isinstance(value, os.PathLike):
            return ["path", os.fspath(value)]
        if id(value) in self._within:
            return ["itself", len(self._within) - self._within.index(id(value))]
        if id(value) not in self._known:
            self._within.append(id(value))
            self._known[id(value)] = (value, self._described(value))
            self._within.pop()
        return self._known[id(value)][1]

    def _described(self, value) -> object:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, list | tuple):
            return [type(value).__name__, [self(x) for x in value]]
        if isinstance(value, set | frozenset):
            return ["set", sorted(json.dumps(_Describer()(x)) for x in value)]
        if isinstance(value, Mapping):
            return ["mapping", [[self(name), self(x)] for name, x in value.items()]]
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, functools.partial):
            return ["partial", self(value.func), self(value.args), self(value.keywords)]
        if isinstance(value, MethodType):
            return ["method", self(value.__func__), self(value.__self__)]
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self(value.__func__)]
        if isinstance(value, property):
            return ["property", [self(x) for x in (value.fget, value.fset, value.fdel)]]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType | BuiltinFunctionType | np.ufunc):
            return self._function(value)
        return self._object(value)

    def _array(self, value: np.ndarray) -> object:
        if value.dtype.hasobject:
            return ["array", value.shape, [self(x) for x in value.ravel()]]
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", list(value.shape), value.dtype.str, content]

    def _module(self, value: ModuleType) -> object:
        if _is_of_a_library(value):
            return ["module", value.__name__, _version(value)]
        if not getattr(value, "__file__", None):
            raise Unknown(f"the text of the module {value.__name__} is not to be had")
        return ["module", files([value.__file__])]

    def _class(self, value: type) -> object:
        if _is_of_a_library(value):
            return ["class", _name(value), _version(value)]
        parts = {
            name: self(part)
            for name, part in vars(value).items()
            if name not in _IDLE and not _is_generated(part)
        }
        if dataclasses.is_dataclass(value):
            parts |= {x.name: self._defaults(x) for x in dataclasses.fields(value)}
        return ["class", value.__qualname__, parts, [self(base) for base in value.__bases__]]

    def _defaults(self, field: dataclasses.Field) -> object:
        both = (field.default, field.default_factory)
        return [None if x is dataclasses.MISSING else self(x) for x in both]

    def _function(self, function) -> object:
        if not isinstance(function, FunctionType):
            return ["function", _name(function), _version(function)]
        held = [x.cell_contents for x in function.__closure__ or () if _is_filled(x)]
        if _is_installed(function.__code__.co_filename):
            # One that a decorator made of a function of the user's holds that one.
            kinds = FunctionType | MethodType | functools.partial
            cells = [self(x) for x in held if isinstance(x, kinds) or not _is_of_a_library(type(x))]
            return ["function", _name(function), _version(function), cells]
        return [
            "function",
            text_of(function),
            {name: self(x) for name, x in self._globals(function)},
            [self(x) for x in (function.__defaults__, function.__kwdefaults__, held)],
        ]

    def _globals(self, function: FunctionType) -> Iterator[tuple[str, object]]:
        """Yield the globals that a function names, and what it names of the user's modules."""
        names, known = sorted(_names_in(function.__code__)), function.__globals__
        for name in names:
            if name in known:
                yield from _reached(name, known[name], names)
            elif name in _BLIND:
                raise Unknown(f"{_name(function)} calls {name}, so what it reads is not to be seen")
            elif name in sys.modules:  # imported in the body, or the name of an attribute
                yield from _reached(name, sys.modules[name], names)

    def _object(self, value) -> object:
        kind = type(value)
        for inner in ("python_function", "__wrapped__"):  # of tf.function and functools's caches
            if isinstance(function := getattr(value, inner, None), FunctionType | MethodType):
                return [_name(kind), self(function)]
        if callable(getattr(value, "to_csv", None)):  # tables
            return [_name(kind), hashlib.sha256(value.to_csv().encode()).hexdigest()]
        if isinstance(value, np.random.Generator):
            return ["generator", self(value.bit_generator.state)]
        if callable(getattr(value, "numpy", None)):  # tensors and variables
            return ["tensor", self(np.asarray(value.numpy()))]
        if _is_of_a_library(kind) and callable(getattr(value, "get_config", None)):  # Keras's
            weights = value.get_weights() if callable(getattr(value, "get_weights", None)) else []
            return [self(kind), self(value.get_config()), [self(x) for x in weights]]
        try:
            held = vars(value)
        except TypeError:
            slots = [x for base in kind.__mro__ for x in getattr(base, "__slots__", ())]
            held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
            if not held and kind is not object:
                raise Unknown(f"what a {_name(kind)} holds is not to be seen") from None
        if dataclasses.is_dataclass(kind) and _is_of_a_library(kind):
            # So that a setting that a later version adds changes nothing at its default.
            given = {x.name for x in dataclasses.fields(kind) if _is_given(x, value)}
            held = {name: x for name, x in held.items() if name in given}
        return ["object", self(kind), {name: self(x) for name, x in sorted(held.items())}]


def _is_given(field: dataclasses.Field, value) -> bool:
    held = getattr(value, field.name)
    return type(held) is not type(field.default) or held != field.default


def _reached(name: str, value, names: list[str]) -> Iterator[tuple[str, object]]:
    """Yield what a function reaches by a global: of the user's modules what it names of them."""
    if not isinstance(value, ModuleType) or _is_of_a_library(value):
        yield name, value
        return
    for part in names:
        if part in vars(value) and vars(value)[part] is not value:
            yield from _reached(f"{name}.{part}", vars(value)[part], names)


def _is_generated(part) -> bool:
    """Tell whether a dataclass or a named tuple wrote this method, as its fields say."""
    code = getattr(inspect.unwrap(part) if callable(part) else part, "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _is_filled(cell) -> bool:
    with suppress(ValueError):
        cell.cell_contents  # noqa: B018
        return True
    return False


def _name(value) -> str:
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or str(value)
    return f"{module}.{name}" if module else name


def _top(value) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return (name or "builtins").partition(".")[0]


def _is_of_a_library(value) -> bool:
    """Tell whether a module or class came with Python, was installed, or is of this package."""
    top = _top(value)
    if top == "__main__":
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    return top in sys.stdlib_module_names if file is None else _is_installed(file)


def _is_installed(file: str) -> bool:
    path, standard = Path(file), Path(sysconfig.get_path("stdlib"))
    installed = _INSTALLED & set(path.parts) or path.is_relative_to(standard)
    return bool(installed) or file.startswith("<frozen ") or path.is_relative_to(_PACKAGE)


@functools.cache
def _version_of(top: str) -> str:
    if top in sys.stdlib_module_names:
        return ""
    if top == "cityseg_utils":
        return EDITION
    if isinstance(version := getattr(sys.modules.get(top), "__version__", None), str):
        return version
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(top.replace("_", "-"))
    return ""


def _version(value) -> str:
    return _version_of(_top(value))


# -- the text of a function -----------------------------------------------------------------------


def text_of(function: FunctionType) -> str:
    """Return a function's syntax as text, the same in every Python.

    Raises
    ------
    Unknown
        If the text is not to be had, or is no longer the one that was compiled.
    """
    code = function.__code__
    # Of a file, what it holds now; of a notebook's cell, what was run.
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    known = (
        _functions_of("".join(lines), code.co_filename, code.co_flags & _FUTURE) if lines else {}
    )
    node = known.get(code)
    if node is None:
        raise Unknown(
            f"the text of {_name(function)} is not to be had"
            if not lines
            else f"{code.co_filename} no longer holds {_name(function)} as it is running"
        )
    return json.dumps(_shape(node))


_FUTURE = 0x1FF0000  # the flags of `from __future__`, which a notebook's cells inherit


@functools.lru_cache(maxsize=64)
def _functions_of(text: str, name: str, flags: int) -> dict[CodeType, ast.AST]:
    """Return the syntax of every function in a text, by the code that it is compiled to."""
    try:
        whole = ast.parse(text)
        # Another text may be compiled to equal code; then line and column tell them apart.
        code = compile(text, name, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    nodes = [node for node in ast.walk(whole) if isinstance(node, kinds)]
    codes, found = list(_codes(code)), {}
    for choose in (_by_place, _by_body, _by_elimination):
        for inner in codes:
            if inner not in found:
                here = [x for x in nodes if _start(x) == (inner.co_firstlineno, inner.co_name)]
                if len(left := choose(inner, here, list(found.values()))) == 1:
                    found[inner] = left[0]
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _by_place(code: CodeType, here: list, taken: list) -> list:
    return here


def _by_body(code: CodeType, here: list, taken: list) -> list:
    """Choose one of several lambdas of a line."""
    span = _span(code)
    return [node for node in here if isinstance(node, ast.Lambda) and _extent(node) == span]


def _by_elimination(code: CodeType, here: list, taken: list) -> list:
    """Choose the one that is left: 3.12 notes no place for a lambda that returns a constant."""
    return [node for node in here if node not in taken]


def _start(node: ast.AST) -> tuple[int, str]:
    if isinstance(node, ast.Lambda):
        return node.lineno, "<lambda>"
    return (node.decorator_list[0] if node.decorator_list else node).lineno, node.name


def _extent(node: ast.Lambda) -> tuple:
    body = node.body
    return (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)


def _span(code: CodeType) -> tuple:
    # What begins and ends a function has no columns.
    parts = [part for part in code.co_positions() if part[3]]
    start = min(((line, column) for line, _, column, _ in parts), default=None)
    return start, max(((line, column) for _, line, _, column in parts), default=None)


def _shape(node) -> object:
    """Return a piece of syntax as lists, without places, comments and what versions leave out."""
    if isinstance(node, list):
        return [_shape(x) for x in node]
    if not isinstance(node, ast.AST):
        return node if node is None or isinstance(node, str | int | bool) else repr(node)
    fields = {
        name: _shape(value)
        for name, value in ast.iter_fields(node)
        if value not in (None, []) and name not in ("ctx", "kind", "type_comment")
    }
    if isinstance(node, ast.JoinedStr):  # 3.12 ends the format in an f-string with an empty text
        fields["values"] = [_shape(x) for x in node.values if getattr(x, "value", None) != ""]
    return [type(node).__name__, fields]


def _names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(
        *(_names_in(inner) for inner in code.co_consts if isinstance(inner, CodeType))
    )


# -- files ----------------------------------------------------------------------------------------


def files(paths: Iterable[Path | str]) -> list[str]:
    """Return the SHA-256 of each file.

    Remembered in the user's cache by path, size, inode and both times, of which ``cp -p`` sets but
    one, so that a file that did not change is read once.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    return remembered(paths, "sha256", lambda path: hashlib.sha256(path.read_bytes()).hexdigest())


def remembered(paths: Iterable[Path | str], kind: str, compute: Callable[[Path], str]) -> list[str]:
    """Return what `compute` says of each file, asked again only of those that changed.

    Parameters
    ----------
    paths : iterable of paths
    kind : str
        What is asked; answers to other questions are kept apart.
    compute : callable

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    paths = [_absolute(path) for path in paths]
    facts = [_facts(path) for path in paths]
    with _Memory() as memory:
        known = [memory.get(path, kind, fact) for path, fact in zip(paths, facts, strict=True)]
        missing = [k for k, answer in enumerate(known) if answer is None]
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(_reading(compute), [paths[k] for k in missing])
            for k, answer in zip(missing, answers, strict=True):
                known[k] = answer
        # A file of this moment may change once more before its clock ticks.
        still = [k for k in missing if _facts(paths[k]) == facts[k] and _age(paths[k]) > 2]
        memory.keep([(paths[k], kind, facts[k], known[k]) for k in still])
    return known


def note(answers: Mapping[Path, str], kind: str) -> None:
    """Let :func:`remembered` know what it would find out of files that were just written."""
    with _Memory() as memory:
        memory.keep([(_absolute(x), kind, _facts(x), answer) for x, answer in answers.items()])


def _absolute(path: Path | str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links stay links)


def _reading(compute: Callable[[Path], str]) -> Callable[[Path], str]:
    def read(path: Path) -> str:
        try:
            return compute(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    return read


def _facts(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"


class _Memory:
    """What was said of files before; without a place to keep it, nothing was."""

    def __init__(self):
        self._database = None
        with suppress(OSError, sqlite3.Error):
            folder = storage.cache_home()
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(folder / "files.sqlite", timeout=30)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS said (path, kind, facts, answer, "
                "PRIMARY KEY (path, kind))"
            )

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *_) -> None:
        if self._database is not None:
            self._database.close()

    def get(self, path: Path, kind: str, facts: str) -> str | None:
        if self._database is None:
            return None
        with suppress(sqlite3.Error):
            question = "SELECT answer FROM said WHERE path = ? AND kind = ? AND facts = ?"
            row = self._database.execute(question, (_text(path), kind, facts)).fetchone()
            return row and row[0]
        return None

    def keep(self, rows: list[tuple]) -> None:
        if self._database is not None and rows:
            with suppress(sqlite3.Error), self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?)",
                    [(_text(path), *rest) for path, *rest in rows],
                )


def _text(path: Path) -> str:
    """Return a path as a database takes it, whatever its bytes are."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _age(path: Path) -> float:
    return time.time() - path.stat().st_ctime
