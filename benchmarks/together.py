"""Whether two processes learn what one learns from the same batches, and what each of them takes.

    python benchmarks/together.py

The small network, twenty steps, batches of 8 at 96 x 192: as one process, and as two on this
machine that TensorFlow joins. A row for each pair goes to ``together.csv``: how far the weights
that learn lie apart in the end, and their changes in the first step (with SGD: the gradients),
relative to the largest; the last loss, the seconds a step and the memory of a process. How much of
it is rounding, two controls say: 64-bit numbers; and one process that gets each batch reversed.
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
# With a larger rate the first steps are chaos: at 0.05 a difference of one rounding, 1e-16, grows
# about thirtyfold a step, and after eight no digit of the weights is left.
OPTIMIZERS = {"SGD": 2e-3, "Adam": 2e-3}
WAYS = {  # optimiser, numbers, whether BatchNorm's means are shared; and who is compared with one
    "SGD": ("SGD", "float32", True, "two"),
    "Adam": ("Adam", "float32", True, "two"),
    "SGD, one process, reversed batches": ("SGD", "float32", True, "reversed"),
    "SGD, 64-bit": ("SGD", "float64", True, "two"),
    "SGD, 64-bit, BatchNorm as it comes": ("SGD", "float64", False, "two"),
}


def reverse(images, masks, _):
    """Return a batch in reversed order; what is learned from it is the same but for rounding."""
    return images[::-1], masks[::-1]


def work(optimizer: str, numbers: str, shared: bool, who: str, out: Path) -> None:
    """Learn, and write weights before, after one step and after all, and what it took."""
    tf = framework.load_tensorflow()
    tf.keras.mixed_precision.set_global_policy(numbers)
    several = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else None
    if not shared:
        distribution.Team.check = lambda *_: None  # it would refuse
    framework.set_seed(0)
    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    train = pairs[pairs["split"] == "train"]
    mix = reverse if who == "reversed" else None
    batches = pipeline.make_dataset(train, scheme, SIZE, BATCH, shuffle=True, mix=mix)
    with strategy.scope() if several else nullcontext():
        model = models.build_model(scheme.num_classes, (*SIZE, 3), models.SMALL)
        model = _all_64_bit(tf, model) if numbers == "float64" else model
        model = models.synchronized(model) if shared else model
        way = getattr(tf.keras.optimizers, optimizer)(OPTIMIZERS[optimizer])
        model.compile(way, losses.DiceLoss())
    noted = _notes(tf, model)
    options = {"strategy": strategy, "progress": False, "callbacks": [noted]}
    run = training.fit(model, batches, steps=STEPS, runs=out / "runs", **options)
    if several and distribution.Team(strategy).part[0] != 0:
        return
    np.savez(out / "weights.npz", *noted.weights[0], *noted.weights[1], *_learned(model))
    status = Path("/proc/self/status").read_text()
    took = {
        "loss": run.losses[-1],
        "seconds": np.median(np.diff(noted.ends)[1:]),
        "GB": int(status.split("VmHWM:")[1].split()[0]) / 1e6,
    }
    (out / "took.json").write_text(json.dumps(took))


def _all_64_bit(tf, model):
    """Return a copy without what TensorFlow computes in 32 bits: bilinear upsampling, softmax."""

    def clone(layer):
        config = layer.get_config() | {"dtype": "float64"}
        if "interpolation" in config:
            config["interpolation"] = "nearest"
        return type(layer).from_config(config)

    copy = tf.keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def _learned(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.trainable_weights]


def _notes(tf, model):
    class Notes(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ends, self.weights = [], [_learned(model)]

        def on_train_batch_end(self, batch, logs=None):
            self.ends.append(time.perf_counter())
            if len(self.weights) == 1:
                self.weights.append(_learned(model))

    return Notes()


def learn(optimizer: str, numbers: str, shared: bool, who: str, folder: Path) -> tuple:
    """Return weights before, after one step and after all, and what it took."""
    out = folder / f"{optimizer}-{numbers}-{shared}-{who}"
    if not out.exists():
        out.mkdir()
        start = ["-m", "cityseg_utils.distribution", "--workers", "2", "--restarts", "0"]
        job = [__file__, "--work", optimizer, numbers, str(shared), who, str(out)]
        command = [sys.executable, *(start if who == "two" else []), *job]
        subprocess.run(command, check=True)
    with np.load(out / "weights.npz") as file:
        weights = list(file.values())
    third = len(weights) // 3
    took = json.loads((out / "took.json").read_text())
    return weights[:third], weights[third : 2 * third], weights[2 * third :], took


def largest(some, others) -> float:
    """Return the largest difference of any number."""
    return float(max(np.abs(a - b).max() for a, b in zip(some, others, strict=True)))


def compare(way: str, folder: Path) -> dict:
    """Return a row of the table."""
    *settings, other = WAYS[way]
    start, first, end, took = learn(*settings, "one", folder)
    _, its_first, its_end, its = learn(*settings, other, folder)
    change = [b - a for a, b in zip(start, first, strict=True)]
    its_change = [b - a for a, b in zip(start, its_first, strict=True)]
    return {
        "way": way,
        "difference": largest(end, its_end),
        "of the first step": largest(change, its_change) / max(np.abs(x).max() for x in change),
        **{f"{what}, 1": value for what, value in took.items()},
        **{f"{what}, 2": value for what, value in its.items()},
        "machine": experiments.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "command": "python benchmarks/together.py",
    }


def main() -> None:
    """Compare, and write the table anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "together.csv")
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        optimizer, numbers, shared, who, out = options.work
        work(optimizer, numbers, shared == "True", who, Path(out))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            row = compare(way, Path(folder))
            print(row, flush=True)
            rows.append({key: str(value) for key, value in row.items()})
    tables.write(options.results, rows)


if __name__ == "__main__":
    main()
