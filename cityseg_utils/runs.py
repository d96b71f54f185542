"""The folder of a training: one writer, a state to go on from, and what is left in the end.

``config.json`` says what is trained, ``history.csv`` has a row per epoch, ``best.npz`` and
``last.npz`` hold weights, ``result.json`` is written last and makes the run a finished one. Until
then ``state-N`` holds all that the training was after N steps.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from cityseg_utils import storage
from cityseg_utils.errors import DataError, StorageError, TrainingError
from cityseg_utils.framework import load_tensorflow

tf = load_tensorflow()

_FULL = ("No space left", "File too large", "Permission denied", "Read-only")


class RunFolder:
    """The files of one training.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def best(self) -> Path:
        """The weights of the epoch with the highest score on val."""
        return self.path / "best.npz"

    @property
    def last(self) -> Path:
        """The weights after the last step."""
        return self.path / "last.npz"

    def is_finished(self) -> bool:
        """Tell whether the training came to its end."""
        return (self.path / "result.json").is_file()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only one that writes here, and remove what a killed one was writing.

        Raises
        ------
        TrainingError
            If another process, or this one, is training here.
        StorageError
            If the folder cannot be written.
        """
        lock_file = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(lock_file, timeout=0)
            lock.acquire()
        except Timeout:
            raise TrainingError(
                f"{self.path}: this training is going on already, in another notebook or process; "
                "wait for its end, or stop that one"
            ) from None
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            for left in self.path.rglob(".writing-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            # In a finished run nobody needs it; who takes an old one looks at the result first.
            if self.is_finished():
                lock_file.unlink(missing_ok=True)
            lock.release()

    def note_config(self, config: dict) -> None:
        """Write what is trained, unless it was written before."""
        if not (self.path / "config.json").is_file():
            _write_json(self.path / "config.json", config)

    # -- the state ----------------------------------------------------------------------------

    def save_state(self, step: int, checkpoint, noted: dict, history: pd.DataFrame) -> None:
        """Write the whole state after a step, and remove the one before.

        Parameters
        ----------
        step : int
        checkpoint : tf.train.Checkpoint
        noted : dict
            What else the training needs to go on, for JSON.
        history : DataFrame
        """
        before, state = self._states(), self.path / f"state-{step}"
        if state in before:
            return
        with storage.write_whole(state) as temporary:
            temporary.mkdir()
            with _as_ours(self.path):
                checkpoint.write(temporary / "variables")
            if self.best.exists():
                _link(self.best, temporary / "best.npz")
            (temporary / "history.csv").write_text(history.to_csv())
            (temporary / "noted.json").write_text(json.dumps(noted))
        for old in before:
            storage.remove_whole(old)

    def restore_state(self, checkpoint) -> tuple[dict, pd.DataFrame] | None:
        """Give a checkpoint's variables the values of the last state; None if there is none.

        Raises
        ------
        DataError
            If the state is damaged, or of another network.
        """
        if not (states := self._states()):
            return None
        state = states[-1]
        try:
            noted = json.loads((state / "noted.json").read_text())
            history = read_history(state / "history.csv")
            checkpoint.read(state / "variables").assert_existing_objects_matched()
            if (state / "best.npz").exists():  # not that of an epoch that is to come again
                with storage.write_whole(self.best) as temporary:
                    _link(state / "best.npz", temporary)
        except Exception as error:  # of TensorFlow, as many kinds as of damage
            raise DataError(
                f"{state}: the state of this training is damaged ({_first_line(error)}); "
                f"remove {self.path} to train anew"
            ) from error
        return noted, history

    def forget_states(self) -> None:
        """Remove what there is to go on from."""
        for state in self._states():
            storage.remove_whole(state)

    def _states(self) -> list[Path]:
        """Return the states that were written whole, oldest first."""
        states = [path for path in self.path.glob("state-*") if path.is_dir()]
        return sorted(states, key=lambda path: int(path.name.removeprefix("state-")))

    # -- what is left -------------------------------------------------------------------------

    def write_history(self, history: pd.DataFrame) -> None:
        """Write one row per epoch."""
        storage.write_bytes(self.path / "history.csv", history.to_csv().encode())

    def finish(self, result: dict) -> None:
        """Note the result, which makes the run a finished one, and remove the state."""
        _write_json(self.path / "result.json", result)
        self.forget_states()

    def read(self) -> tuple[pd.DataFrame, dict]:
        """Return the history and the result of a finished run.

        Raises
        ------
        DataError
            If one of them is damaged.
        """
        try:
            result = json.loads(storage.read_bytes(self.path / "result.json"))
            return read_history(self.path / "history.csv"), result
        except ValueError as error:  # and a DataError is one
            what = error if isinstance(error, DataError) else f"result.json is damaged ({error})"
            raise DataError(f"{what}; remove {self.path} to train anew") from error


def read_history(path: Path) -> pd.DataFrame:
    """Return a history, one row per epoch, to the last digit.

    Raises
    ------
    DataError
        If the file is missing or is not one: rows in order, of numbers.
    """
    content = storage.read_bytes(path)
    try:
        if not content.endswith(b"\n"):  # a number that is cut is one, too
            raise ValueError("its end is missing")
        history = pd.read_csv(BytesIO(content), float_precision="round_trip").set_index("epoch")
        numbers = all(kind.kind in "if" for kind in history.dtypes)
        if list(history.index) != list(range(1, len(history) + 1)) or not numbers:
            raise ValueError("its rows are not those of one training")
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: is not the history of a training ({error})") from error
    return history


def _write_json(path: Path, content: dict) -> None:
    storage.write_bytes(path, json.dumps(content, indent=1, default=str).encode())


def _link(file: Path, name: Path) -> None:
    """Give a file another name, or a copy where the file system has no links."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _as_ours(folder: Path) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        if any(words in str(error) for words in _FULL):
            raise StorageError(f"{folder}: the state cannot be written: {error.message}") from error
        raise
