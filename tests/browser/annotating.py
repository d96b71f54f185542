"""What tests of the annotator share: what is stored, and what the browser holds."""

from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from cityseg_utils.annotations import UNLABELLED, AnswerLog

SIZE = (256, 512)


def saved(annotator):
    """Wait until all is on the disk."""
    expect(annotator).to_have_attribute("data-saved", "true")


def labels_of(path: Path, scheme, frame: str) -> np.ndarray:
    """Return the labels that a log has of a frame, ``SIZE int16``."""
    return AnswerLog(path, scheme).labels(frame, SIZE)


def on_screen(annotator) -> np.ndarray:
    """Return what the browser holds of the frame in view, as the log has it."""
    held = annotator.evaluate("(element) => Array.from(element.viewer.frame.labels)")
    held = np.array(held, np.int16).reshape(SIZE)
    return np.where(held == 254, UNLABELLED, held)
