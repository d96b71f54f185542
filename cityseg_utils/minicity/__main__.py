"""Command line: ``python -m cityseg_utils.minicity data/minicity --train 120 --size 512x256``."""

import argparse
import re
import sys
from pathlib import Path

from cityseg_utils.errors import CitysegError
from cityseg_utils.minicity import DEFAULT, generate


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of scenes, 0 or more")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 512x256") from None
    if not (64 <= width <= 2048 and 32 <= height <= 1024):
        raise argparse.ArgumentTypeError("sizes go from 64x32 to 2048x1024")
    return height, width


def _clutter(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?", text) or not 0 < float(text) <= 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, up to 4")
    return float(text)


def main() -> int:
    """Parse the command line and draw the city."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.minicity", description=__doc__)
    parser.add_argument("root", type=Path)
    for split, number in DEFAULT.items():
        parser.add_argument(f"--{split}", type=_number, default=number, metavar="SCENES")
    parser.add_argument("--size", type=_size, default=(256, 512), metavar="WIDTHxHEIGHT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clutter", type=_clutter, default=1.0, help="1: as in real streets")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1: one for each core")
    arguments = parser.parse_args()
    try:
        generate(**vars(arguments), progress=True)
    except CitysegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
