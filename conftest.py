"""Strict notebooks: nbval compares nothing in a cell that was never run, so refuse such files."""

import os

import pytest

from cityseg_utils import course, datasets

# Inherited by every kernel that nbval starts; notebooks are stored under the same settings.
for name, value in {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}.items():
    os.environ.setdefault(name, value)


def pytest_collection_modifyitems(items):
    """Give cells time to answer, and refuse notebooks that hide most of their outputs."""
    cells = [item for item in items if type(item).__name__ == "IPyNbCell"]
    if cells:  # else their first one would show the progress of drawing it
        datasets.open_dataset()
    for cell in cells:
        cell.output_timeout = 60  # nbval waits 5 s for output by default
    for notebook in {cell.parent for cell in cells}:
        if reason := course.why_unchecked(notebook.nb):
            raise pytest.UsageError(f"{notebook.path}: {reason}")
