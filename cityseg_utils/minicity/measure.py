"""Measures label maps and sets them beside real streets.

``python -m cityseg_utils.minicity.measure data/minicity`` works on any folder tree of
Cityscapes. The figures of real streets were measured on 23 full-size frames of two cities.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from cityscapesscripts.helpers.labels import id2label

from cityseg_utils import storage
from cityseg_utils.errors import CitysegError, DataError

# id: (% of pixels, % of images with it, mean height from 0 at the top to 1 at the bottom)
REAL = pd.DataFrame.from_dict(
    {
        0: (0.01, 35, 0.42),
        1: (5.12, 100, 0.94),
        2: (2.30, 65, 0.75),
        3: (1.51, 100, 0.50),
        4: (1.36, 100, 0.30),
        5: (0.10, 39, 0.39),
        6: (0.37, 35, 0.52),
        7: (33.7, 100, 0.73),
        8: (4.4, 100, 0.58),
        9: (0.09, 17, 0.53),
        11: (20.6, 100, 0.22),
        12: (0.37, 43, 0.47),
        13: (0.51, 52, 0.42),
        17: (1.23, 100, 0.32),
        19: (0.14, 70, 0.31),
        20: (0.67, 100, 0.25),
        21: (13.0, 91, 0.25),
        22: (0.74, 48, 0.49),
        23: (2.6, 96, 0.09),
        24: (0.68, 78, 0.41),
        25: (0.09, 39, 0.41),
        26: (9.3, 100, 0.47),
        27: (0.05, 9, 0.36),
        28: (0.02, 4, 0.36),
        31: (0.10, 9, 0.36),
        32: (0.31, 22, 0.46),
        33: (0.50, 70, 0.46),
    },
    orient="index",
    columns=["real share", "real images", "real height"],
)


def measure(masks: list[Path]) -> tuple[pd.DataFrame, pd.Series]:
    """Measure label-id maps: a row for each of the 34 ids, and figures of whole images.

    The table has the share of pixels and of images with the class (%), the mean height and the
    connected pieces where it is present; the series has the ids per image (mean, least, most) and
    the share of pixels that differ from their right or lower neighbour (%).

    Raises
    ------
    DataError
        If there are no masks, or one cannot be read.
    """
    if not masks:
        raise DataError("there are no label maps to measure")
    pixels, images, heights, pieces = np.zeros((4, 34))
    numbers, borders = [], []
    for path in masks:
        ids = storage.read_picture(path, color=False)
        count = np.bincount(ids.ravel(), minlength=34)[:34]
        rows = (np.arange(len(ids)) + 0.5)[:, None] / len(ids) * np.ones(ids.shape[1])
        pixels += count / ids.size
        heights += np.bincount(ids.ravel(), rows.ravel(), minlength=34)[:34] / ids.size
        images += count > 0
        for k in np.flatnonzero(count):
            pieces[k] += cv2.connectedComponents((ids == k).astype(np.uint8))[0] - 1
        numbers.append(np.count_nonzero(count))
        differs = np.zeros(ids.shape, bool)
        differs[:, :-1] |= ids[:, :-1] != ids[:, 1:]
        differs[:-1] |= ids[:-1] != ids[1:]
        borders.append(100 * differs.mean())
    with np.errstate(invalid="ignore"):
        table = pd.DataFrame(
            {
                "share": 100 * pixels / len(masks),
                "images": 100 * images / len(masks),
                "height": heights / pixels,
                "pieces": pieces / images,
            },
            index=pd.Index(range(34), name="id"),
        )
    table.insert(0, "name", [id2label[k].name for k in range(34)])
    whole = {
        "scenes": len(masks),
        "ids per image": np.mean(numbers),
        "fewest": min(numbers),
        "most": max(numbers),
        "pixels at a border (%)": np.mean(borders),
    }
    return table, pd.Series(whole)


def beside_real(table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Join the real figures to a table of `measure`; also give the rank correlation of shares."""
    joined = table.join(REAL)
    joined.insert(2, "factor", joined["share"] / joined["real share"])
    both = joined.dropna(subset="real share")
    return joined, both["share"].corr(both["real share"], method="spearman")


def contact_sheet(root: Path, width: int = 256, columns: int = 3) -> np.ndarray:
    """Return a row for every city: its first scenes, and the official colours of the last one.

    ``(H, W, 3) uint8`` RGB.
    """
    rows = []
    splits = (root / "leftImg8bit" / split for split in ("train", "val", "test"))
    for city in (city for split in splits for city in sorted(split.glob("[!.]*"))):
        paths = sorted(city.glob("[!.]*_leftImg8bit.png"))[:columns]
        labels = root / "gtFine" / city.parent.name / city.name
        colors = labels / paths[-1].name.replace("_leftImg8bit", "_gtFine_color")
        pictures = [storage.read_picture(path, color=True) for path in (*paths, colors)]
        height = round(width * pictures[0].shape[0] / pictures[0].shape[1])
        rows.append(
            np.hstack(
                [cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in pictures]
            )
        )
    return np.vstack(rows)


def main() -> int:
    """Print the table for the data set in a folder."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.minicity.measure")
    parser.add_argument("root", type=Path)
    parser.add_argument("--sheet", type=Path, metavar="JPEG", help="also write a contact sheet")
    options = parser.parse_args()
    try:
        table, whole = measure(sorted((options.root / "gtFine").rglob("[!.]*_gtFine_labelIds.png")))
        if options.sheet:
            sheet = contact_sheet(options.root)[..., ::-1]
            jpeg = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
            storage.write_bytes(options.sheet, jpeg.tobytes())
    except CitysegError as error:
        print(error, file=sys.stderr)
        return 1
    joined, correlation = beside_real(table)
    print(joined.round(2).to_string())
    print("\n" + whole.round(1).to_string())
    print(f"rank correlation of shares with the real ones: {correlation:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
