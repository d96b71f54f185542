"""Whether two processes learn what one learns from the same batches, and what each of them takes.

    python benchmarks/together.py

The small network, twenty steps, batches of 8 at 96 x 192 in float32: as one process, and as two on
this machine that TensorFlow joins. A row for each pair goes to ``together.csv``: the largest
difference of a weight in the end, that of the first step's change (relative to its largest), the
seconds a step and the memory of a process. Once with batch normalization as it comes, too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from cityseg_utils import (
    datasets,
    distribution,
    experiments,
    framework,
    losses,
    models,
    pipeline,
    studies,
    tables,
    training,
)

STEPS, BATCH, SIZE = 20, 8, (96, 192)
WAYS = {  # optimiser, whether the means of batch normalization are shared
    "SGD": ("sgd", True),
    "Adam": ("adam", True),
    "SGD, batch normalization as it comes": ("sgd", False),
}
OPTIMIZERS = {"sgd": ("SGD", 0.05), "adam": ("Adam", 2e-3)}


def work(optimizer: str, shared: str, steps: int, out: Path) -> None:
    """Learn, and write weights before and after, and what it took."""
    tf = framework.load_tensorflow()
    several = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else None
    if shared == "False":
        distribution.Team.check = lambda *_: None  # it would refuse
    framework.set_seed(0)
    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    train = pairs[pairs["split"] == "train"]
    batches = pipeline.make_dataset(train, scheme, SIZE, BATCH, shuffle=True)
    name, rate = OPTIMIZERS[optimizer]
    with strategy.scope() if several else nullcontext():
        model = models.build_model(scheme.num_classes, (*SIZE, 3), models.SMALL)
        model = models.synchronized(model) if shared == "True" else model
        model.compile(getattr(tf.keras.optimizers, name)(rate), losses.DiceLoss())
    clock = _clock(tf)
    start = model.get_weights()
    training.fit(
        model,
        batches,
        steps=steps,
        runs=out / "runs",
        strategy=strategy,
        progress=False,
        callbacks=[clock],
    )
    end = model.get_weights()
    if several and distribution.Team(strategy).part[0] != 0:
        return
    np.savez(out / "weights.npz", *start, *end)
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    seconds = np.median(np.diff(clock.ends)[1:]) if steps > 3 else np.nan
    (out / "took.json").write_text(json.dumps({"seconds": seconds, "GB": kilobytes / 1e6}))


def _clock(tf):
    class Clock(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())

    return Clock()


def learn(way: str, workers: int, steps: int, folder: Path) -> tuple[list, list, dict]:
    """Return the weights before and after, and what it took."""
    out = folder / f"{way}-{workers}-{steps}".replace(" ", "-").replace(",", "")
    out.mkdir()
    start = ["-m", "cityseg_utils.distribution", "--workers", "2", "--restarts", "0"]
    optimizer, shared = WAYS[way]
    job = [__file__, "--work", optimizer, str(shared), str(steps), str(out)]
    command = [sys.executable, *(start if workers > 1 else []), *job]
    subprocess.run(command, check=True, env=os.environ | {"CITYSEG_PRECISION": "float32"})
    with np.load(out / "weights.npz") as file:
        both = list(file.values())
    half = len(both) // 2
    return both[:half], both[half:], json.loads((out / "took.json").read_text())


def largest(some, others) -> float:
    """Return the largest difference of any number."""
    return float(max(np.abs(a - b).max() for a, b in zip(some, others, strict=True)))


def main() -> None:
    """Compare, and write the table anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "together.csv")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        optimizer, shared, steps, out = options.work
        work(optimizer, shared, int(steps), Path(out))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            ends, firsts, took = [], [], []
            for workers in (1, 2):
                start, end, cost = learn(way, workers, STEPS, Path(folder))
                _, first, _ = learn(way, workers, 1, Path(folder))
                ends.append(end)
                firsts.append([b - a for a, b in zip(start, first, strict=True)])
                took.append(cost)
            size = max(np.abs(x).max() for x in firsts[0])
            row = {
                "way": way,
                "difference": largest(*ends),
                "of the first step": largest(*firsts) / size,
                **{f"seconds, {n}": cost["seconds"] for n, cost in zip("12", took, strict=True)},
                **{f"GB, {n}": cost["GB"] for n, cost in zip("12", took, strict=True)},
                "machine": experiments.machine(),
                "date": time.strftime("%Y-%m-%d"),
                "command": "python benchmarks/together.py",
            }
            print(row, flush=True)
            rows.append({key: str(value) for key, value in row.items()})
    tables.write(options.results, rows)


if __name__ == "__main__":
    main()
