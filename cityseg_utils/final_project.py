"""The final project of lesson 15: streets whose labels you do not have, and one number for them.

    python -m cityseg_utils.final_project streets data/final
    python -m cityseg_utils.final_project score my_predictions

The first command draws the streets, of cities that no lesson trains on; the second takes what
`metrics.export_predictions` writes for them. Each look at the number is noted, for a test that is
looked at often is no test. The labels are drawn when they are needed, from a number in this module:
whoever draws them for himself has a number that means nothing.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd

from cityseg_utils import metrics, minicity, storage, tables
from cityseg_utils.errors import DataError, run_command

STREETS = 60
SEED = 1516
KEYS = ("look",)


def streets(folder: Path | str) -> list[Path]:
    """Write the pictures under a folder, in the Cityscapes layout, and return their files.

    Parameters
    ----------
    folder : Path or str
        A new one, or one where this was done before.

    Raises
    ------
    DataError, StorageError
        If the folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as drawn:
        root = _draw(Path(drawn))
        files = {path: path.relative_to(root) for path in root.glob("leftImg8bit/test/*/*.png")}
        there = set(storage.files_below(folder)) if folder.exists() else set()
        if others := there - {folder / place for place in files.values()}:
            raise DataError(
                f"{folder}: holds other files, such as {min(others)}; name a new folder"
            )
        for path, place in files.items():
            with storage.write_whole(folder / place) as temporary:
                shutil.copyfile(path, temporary)
    return sorted(folder / place for place in files.values())


def score(predictions: Path | str) -> float:
    """Return the mean IoU of predictions of the streets, and note that it was looked at.

    Raises
    ------
    DataError
        As `metrics.evaluate_folder`; then nothing is noted.
    """
    with tempfile.TemporaryDirectory() as drawn:
        truth = _draw(Path(drawn)) / "gtFine"
        mean_iou = metrics.evaluate_folder(truth, predictions).mean_iou()
    row = {"mean IoU": mean_iou, "date": time.strftime("%Y-%m-%d")}
    while not tables.add(_noted(), {"look": max(looks().index, default=0) + 1, **row}, KEYS):
        pass  # another process took that number
    return mean_iou


def looks() -> pd.DataFrame:
    """Return the scores that were looked at, indexed by their number, from 1."""
    if not _noted().exists():
        return pd.DataFrame(columns=["mean IoU", "date"])
    return tables.read(_noted(), KEYS)


def _noted() -> Path:
    return storage.home() / "runs" / "final_project.csv"


def _draw(root: Path) -> Path:
    return minicity.generate(root, train=0, val=0, test=STREETS, seed=SEED)


def main() -> None:
    """Write the streets, or say one number."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.final_project")
    parser.add_argument("what", choices=["streets", "score"])
    parser.add_argument("folder", type=Path, help="of the streets, or of predictions")
    options = parser.parse_args()
    if options.what == "streets":
        print(f"{len(streets(options.folder))} streets in {options.folder}")
        return
    print(f"mean IoU {score(options.folder):.3f}")
    if len(looks()) > 1:
        print(f"look {len(looks())}; report the first, {looks()['mean IoU'].iloc[0]:.3f}, too")


if __name__ == "__main__":
    run_command(main)
