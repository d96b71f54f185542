"""What a training step and a prediction cost in each way that `framework` chooses between.

    python benchmarks/steps.py
    python benchmarks/steps.py --backbones mobilenetv2 --cores 1

Ratios to float32 without oneDNN, by the clock and by the processor's time, and the pages of memory
that came anew from the system. One Python for each way, as TensorFlow decides about oneDNN once;
they take turns, so that what else the machine does slows all of them. Where bfloat16 is faster and
`framework.precision` does not choose it, or the other way round, set CITYSEG_PRECISION.
"""

import argparse
import os
import subprocess
import sys
import time
from resource import RUSAGE_SELF, getrusage

import numpy as np
from noting import note

from cityseg_utils import framework

WAYS = {  # precision, oneDNN, whether freed memory is kept, whether XLA compiles
    "float32": ("float32", 0, 1, 0),
    "float32, memory given back": ("float32", 0, 0, 0),
    "float32, oneDNN": ("float32", 1, 1, 0),
    "bfloat16, oneDNN": ("mixed_bfloat16", 1, 1, 0),
    # XLA knows no gradient of nearest upsampling, so of all but the small U-Net predictions alone.
    "float32, XLA": ("float32", 0, 1, 1),
}
WHAT = ("training step", "prediction")
SIZE, BATCH, CLASSES = (96, 192), 8, 19
SMALL = "efficientnetlite0"  # as `models.SMALL`, whose module loads TensorFlow too early for this


def work(backbone: str, precision: str, keep: str, compiled: str) -> None:
    """Do a step and a prediction for each line that comes in, and print what each cost."""
    if keep == "0":
        framework._keep_freed_memory = lambda: None
    tf = framework.load_tensorflow()
    from cityseg_utils import recipes

    tf.keras.mixed_precision.set_global_policy(precision)
    recipe = recipes.Recipe(backbone=backbone)
    model = recipes.make_model(recipe, CLASSES)
    model.compile("adam", recipes.make_loss(recipe), jit_compile=compiled == "1")
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, *SIZE, 3), np.float32)
    masks = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, (BATCH, *SIZE))]
    actions = {
        "training step": lambda: model.train_on_batch(images, masks),
        "prediction": lambda: model.predict_on_batch(images),
    }
    for _ in sys.stdin:
        for what in WHAT:
            before = costs()
            if what == "prediction" or compiled == "0" or backbone == SMALL:
                actions[what]()
            print(*(costs() - before), flush=True)


def costs() -> np.ndarray:
    """Return what this process has cost so far: clock, processor, pages."""
    return np.array([time.perf_counter(), time.process_time(), getrusage(RUSAGE_SELF).ru_minflt])


def measure(backbone: str, ways: list[str], cores: list[int], rounds: int) -> dict:
    """Return the median costs of each way and of what it did."""
    children = {}
    for way in ways:
        precision, onednn, *others = WAYS[way]
        children[way] = subprocess.Popen(
            [sys.executable, __file__, "--work", backbone, precision, *map(str, others)],
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(onednn)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    noted = {(way, what): [] for what in WHAT for way in ways}
    for _ in range(2 + rounds):
        for way, child in children.items():
            child.stdin.write("\n")
            child.stdin.flush()
            for what in WHAT:
                noted[way, what].append(list(map(float, child.stdout.readline().split())))
    for child in children.values():
        child.communicate()
    # The first ones compile and ask for memory.
    return {key: np.median(values[2:], axis=0) for key, values in noted.items()}


def main() -> None:
    """Compare all ways for some networks, on one core and on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    allowed = sorted(os.sched_getaffinity(0))
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet34", "mobilenetv2"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--cores", nargs="+", type=int, default=[1, len(allowed)])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    for backbone in options.backbones:
        for cores in options.cores:
            print(f"U-Net, {backbone}, {BATCH} x {SIZE[0]} x {SIZE[1]}, cores: {cores}")
            found = measure(backbone, options.ways, allowed[:cores], options.rounds)
            for (way, what), (clock, processor, pages) in found.items():
                if WAYS[way][-1] and what == "training step" and backbone != SMALL:
                    continue
                first = found[options.ways[0], what]
                name = f"{what}, {backbone}, {cores} cores, {way}"
                note(name, clock / first[0], options.ways[0], "", clock)
                print(
                    f"  processor {processor:.2f} s, {processor / first[1]:.2f}; {pages:.0f} pages"
                )


if __name__ == "__main__":
    main()
