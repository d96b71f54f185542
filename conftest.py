"""Strict notebooks: nbval compares nothing in a cell that was never run, so refuse such files."""

import os

import pytest

# Inherited by every kernel that nbval starts; notebooks are stored under the same settings.
for name, value in {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}.items():
    os.environ.setdefault(name, value)

IGNORED = {"nbval-ignore-output", "nbval-skip"}


def pytest_collection_modifyitems(items):
    """Give cells time to answer, and refuse notebooks that hide most of their outputs."""
    cells = [item for item in items if type(item).__name__ == "IPyNbCell"]
    for cell in cells:
        cell.output_timeout = 60  # nbval waits 5 s for output by default
    for notebook in {cell.parent for cell in cells}:
        if reason := why_unchecked(notebook.nb):
            raise pytest.UsageError(f"{notebook.path}: {reason}")


def why_unchecked(notebook) -> str | None:
    """Say why running a notebook under nbval would prove little, or None if it proves enough."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.execution_count is None for cell in code):
        return "has cells that were never run; store it again with `make notebooks`"
    ignored = [cell for cell in code if IGNORED & set(cell.metadata.get("tags", []))]
    if len(ignored) > len(code) / 4:
        return f"{len(ignored)} of {len(code)} cells are not compared, a quarter at most may be"
    compared = [cell for cell in code if cell not in ignored and _has_text(cell)]
    if len(compared) < len(code) / 3:
        return f"{len(compared)} of {len(code)} cells have text to compare, a third must"
    return None


def _has_text(cell) -> bool:
    return any("text" in output or "text/plain" in output.get("data", {}) for output in cell.outputs)
