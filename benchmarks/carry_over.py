"""Write today's settings and checksums into stored results whose recipes and data are the same.

    python benchmarks/carry_over.py --camvid /path/to/camvid

Wanted when settings are told in another way than before (as in November 2026, when data came to be
told by content and rows got checksums), never when what a recipe does has changed.
"""

import argparse
import csv
from pathlib import Path

from cityseg_utils import experiments, studies, tables


def main() -> None:
    """Rewrite both tables of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True)
    camvid = parser.parse_args().camvid
    settings = {}
    for study in studies.STUDIES.values():
        if study.table is not None:
            continue
        train, val, scheme = study.data(camvid)
        for name, recipe in study.recipes.items():
            cell = experiments._Cell(name, recipe, 0, train[name], val, scheme)
            frames = (str(len(train[name])), str(len(val)))
            found = settings.setdefault((study.on, name), (str(recipe), frames, cell.settings))
            assert found[2] == cell.settings, f"{name} is two recipes"
    for on in ("minicity", "camvid"):
        file = studies.RESULTS / f"{on}.csv"
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            recipe, frames, today = settings[on, row["configuration"]]
            assert row["recipe"] == recipe, f"{row['configuration']}: another recipe"
            assert (row["train frames"], row["val frames"]) == frames, row["configuration"]
            row["settings"] = today
        tables.write(file, rows)
        print(f"{file.name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
