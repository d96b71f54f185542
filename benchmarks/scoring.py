"""How fast a folder of 2048 x 1024 label maps is scored, beside what it is compared with.

    python benchmarks/scoring.py

One run measures bare decoding by OpenCV, `metrics.evaluate_folder` with one process and with two,
and the official script, all on the same files, and prints ratios. The script scores instances too
unless it is told not to, which our function does not do; so it is timed both ways.
"""

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from noting import note

from cityseg_utils import minicity, storage
from cityseg_utils.metrics import evaluate_folder

FRAMES = 16


def seconds(action, repeats: int = 3) -> float:
    """Return the shortest of some timings of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def official_run(truths: list[str], predictions: list[str], instances: bool) -> float:
    """Return the official mean IoU."""
    setattr(np, "in1d", np.isin)  # noqa: B010 (the scorer is older than NumPy 2.4)
    official.args.quiet, official.args.evalInstLevelScore = True, instances
    official.args.JSONOutput = False
    result = official.evaluateImgLists(predictions, truths, official.args)
    return result["averageScoreClasses"]


def main() -> None:
    """Draw, pretend to predict, score."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, guesses = Path(folder) / "city", Path(folder) / "guesses"
        minicity.generate(root, 0, FRAMES, 0, (1024, 2048))
        truths = sorted(root.rglob("*_labelIds.png"))
        for path in truths:  # borders shifted by some pixels, as a good model's are
            ids = storage.read_picture(path, color=False)
            storage.write_png(guesses / path.name, np.roll(ids, (3, 5), (0, 1)))
        predictions = sorted(guesses.glob("*.png"))
        files = [str(path) for pair in zip(truths, predictions, strict=True) for path in pair]

        decoding = seconds(lambda: [cv2.imread(file, cv2.IMREAD_UNCHANGED) for file in files])
        one = seconds(lambda: evaluate_folder(root / "gtFine", guesses))
        evaluate_folder(root / "gtFine", guesses, jobs=2)  # start the processes
        two = seconds(lambda: evaluate_folder(root / "gtFine", guesses, jobs=2))
        lists = list(map(str, truths)), list(map(str, predictions))
        theirs = seconds(lambda: official_run(*lists, instances=True), 1)
        pixels = seconds(lambda: official_run(*lists, instances=False), 1)

        expected = official_run(*lists, instances=False)
        ours = evaluate_folder(root / "gtFine", guesses).mean_iou()
        print(f"{FRAMES} frames of 2048 x 1024; mean IoU ours {ours:.9f}, official {expected:.9f}")
        note("scoring, one process", one / decoding, "bare decoding", "", one)
        note("scoring, two processes", one / two, "the speed of one", "", two)
        note("official script", theirs / one, "ours in one process", "", theirs)
        note("official script, no instances", pixels / one, "ours in one process", "", pixels)


if __name__ == "__main__":
    main()
