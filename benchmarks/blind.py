"""What an answer that never looks scores on CamVid's drives: each place's commonest class.

    python benchmarks/blind.py /path/to/camvid

A row for each drive that is left out, learned from the others, goes to ``blind.csv``. A network
that scores less there has failed, whatever it gains over another (lesson 08).
"""

import argparse
from pathlib import Path

from cityseg_utils import prediction, studies, tables

DRIVES = ("0001TP", "0006R0")
SIZE = (128, 160)


def main() -> None:
    """Learn the commonest classes, and score them at the frames' own size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "blind.csv")
    options = parser.parse_args()
    for drive in DRIVES:
        train, val, scheme = studies.unseen_drive(options.camvid, drive)
        answer = prediction.commonest_by_location(train, scheme, SIZE)
        matrix = prediction.score(val, scheme, [answer] * len(val))
        row = {
            "scored on": drive,
            "mean IoU": matrix.mean_iou(),
            "pixel accuracy": matrix.pixel_accuracy(),
            "frames": len(val),
        }
        print(f"{drive}: {row['mean IoU']:.3f} mean IoU, {row['pixel accuracy']:.3f} accuracy")
        tables.add(options.results, row, ("scored on",))


if __name__ == "__main__":
    main()
