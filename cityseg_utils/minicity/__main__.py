"""Command line: ``python -m cityseg_utils.minicity data/minicity --train 120 --size 512x256``."""

import argparse
from pathlib import Path

from cityseg_utils.errors import CitysegError, run_command
from cityseg_utils.minicity import DEFAULT, generate


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 512x256") from None
    return height, width


def main() -> None:
    """Parse the command line and draw the city."""
    parser = argparse.ArgumentParser("python -m cityseg_utils.minicity", description=__doc__)
    parser.add_argument("root", type=Path)
    for split, number in DEFAULT.items():
        parser.add_argument(f"--{split}", type=int, default=number, metavar="SCENES")
    parser.add_argument("--size", type=_size, default=(256, 512), metavar="WIDTHxHEIGHT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clutter", type=float, default=1.0, help="1: as in real streets")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1: one for each core")
    arguments = parser.parse_args()
    try:
        generate(**vars(arguments), progress=True)
    except CitysegError:
        raise
    except ValueError as error:  # a number out of range
        parser.error(str(error))


if __name__ == "__main__":
    run_command(main)
