"""All runs behind lesson 15's two tables that are not stored yet; first it says what they cost.

    python benchmarks/compared.py /path/to/camvid
    python benchmarks/compared.py /path/to/camvid --cost

With all labels: the first project's recipe, the small network, ImageNet's weights, changed frames,
a rival. With the labels of fifteen frames: these alone, with all others unlabelled, or as many
clicks as they cost. In the same processor time each, on streets of unseen cities, and on a drive of
CamVid that is left out.
"""

import argparse
from pathlib import Path

from cityseg_utils import campaigns, studies
from cityseg_utils.errors import run_command

STUDIES = ["few labels", "all labels", "all labels on photographs", "15 labels on photographs"]
ASKED = ["stratified random", "margin", "--worth", "15"]


def main() -> None:
    """Say what is to be done, and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--cost", action="store_true", help="say it, and do nothing")
    options = parser.parse_args()
    data = ["--camvid", str(options.camvid)]
    for rest in (["--cost"],) if options.cost else (["--cost"], []):
        studies.main([*STUDIES, *data, *rest])
        for ground in ([], data):
            campaigns.main([*ASKED, *ground, *rest])


if __name__ == "__main__":
    run_command(main)
