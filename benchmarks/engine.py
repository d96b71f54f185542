"""What the engine costs beside the learning itself: `training.fit` against a bare loop.

    python benchmarks/engine.py
    python benchmarks/engine.py --backbone mobilenetv2 --steps 60

Both learn from the same batches with the same network, in one process, in turns of some steps, so
that what else the machine does slows both. The bare loop is ``train_on_batch`` over the same data.
"""

import argparse
import tempfile
import time

import numpy as np
from noting import note

from cityseg_utils import datasets, framework, pipeline, recipes, training

tf = framework.load_tensorflow()


class _Clock(tf.keras.callbacks.Callback):
    """Notes when each step ends; the first one's start is the call of `fit`."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((time.perf_counter(), time.process_time()))


def main() -> None:
    """Print ratios of step times and of the time to the first step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    recipe = recipes.Recipe(backbone=options.backbone, size=(96, 192), steps=options.steps)
    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    data = pipeline.make_dataset(pairs[pairs["split"] == "train"], scheme, recipe.size, 8)
    list(data)  # reads every frame

    def build():
        model = recipes.make_model(recipe, scheme.num_classes)
        model.compile("adam", recipes.make_loss(recipe))
        return model

    noted = {"bare": [], "fit": []}
    starts = {"bare": [], "fit": []}
    for k in range(options.rounds):
        framework.set_seed(k)
        clock, model = _Clock(), build()
        clock.on_train_begin()
        start = time.perf_counter()
        for batch in data.source.from_step(0).take(options.steps):
            model.train_on_batch(*batch)
            clock.on_train_batch_end(0)
        starts["bare"].append(clock.ends[0][0] - start)
        noted["bare"] += list(np.diff(clock.ends, axis=0)[1:])
        framework.set_seed(k)
        clock, model = _Clock(), build()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as runs:
            options_of_fit = {"runs": runs, "callbacks": [clock], "progress": False}
            training.fit(model, data, steps=options.steps, **options_of_fit)
        starts["fit"].append(clock.ends[0][0] - start)
        noted["fit"] += list(np.diff(clock.ends, axis=0)[1:])
    bare, fit = (np.median(noted[name], axis=0) for name in ("bare", "fit"))
    for k, what in enumerate(("clock", "processor")):
        note(f"a step of fit, {what}", fit[k] / bare[k], "a bare loop", "", fit[k])
    bare, fit = (np.median(starts[name]) for name in ("bare", "fit"))
    print(f"to the end of the first step: bare {bare:.1f} s, fit {fit:.1f} s")


if __name__ == "__main__":
    main()
