"""How fast MiniCity is drawn, beside what writing its files alone costs (PNG by OpenCV).

    python benchmarks/drawing.py

Prints the time of 200 scenes of 512 x 256 with all cores, of one scene of each size with one, and
of a frame of a drive.
"""

import tempfile
import time
from pathlib import Path

import cv2
from noting import note

from cityseg_utils import minicity
from cityseg_utils.minicity.drive import drive


def seconds(action) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Draw, then encode the same files again, and compare."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        together = seconds(lambda: minicity.generate(root / "all"))
        print(f"200 scenes of 512 x 256, all cores: {together:.1f} s")
        for number, size in ((12, (256, 512)), (6, (512, 1024)), (6, (1024, 2048))):
            city = root / str(size)
            drawing = seconds(lambda: minicity.generate(city, number, 0, 0, size, jobs=1))  # noqa: B023
            pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in city.rglob("*.png")]
            writing = seconds(lambda: [cv2.imencode(".png", x) for x in pictures])  # noqa: B023
            name = f"a scene of {size[1]} x {size[0]}, one core"
            note(name, drawing / writing, "encoding its files", "", drawing / number)
    driving = seconds(lambda: list(drive(frames=100)))
    name = "a frame of a drive, 512 x 256, one core"
    note(name, driving / 100 / 0.2, "a fifth of a second", "at most 1", driving / 100)


if __name__ == "__main__":
    main()
