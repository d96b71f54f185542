"""The small network beside U-Net with ResNet-34: a step of training, and a prediction.

    python benchmarks/networks.py
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/networks.py

Processor time in float32, by turns in one process; steps are of the recipes of the study "small
network", of which the small one does three times as many, and predictions of 256 x 512 by the
reference model and by the one before it.
"""

import argparse
import time

import numpy as np
from methods import CLASSES, random_batch

from cityseg_utils import framework, models, prediction, recipes, studies, training

tf = framework.load_tensorflow()


def make_step(recipe):
    """Return a function that does a training step."""
    model = recipes.make_model(recipe.but(encoder_weights=None), CLASSES)
    model.compile(tf.keras.optimizers.Adam(), recipes.make_loss(recipe))
    step, batch = training.make_step(model), random_batch(8, recipe.size)
    return lambda: float(step(batch)["loss"])


def make_prediction(model):
    """Return a function that answers one frame."""
    frame = np.random.default_rng(0).integers(0, 256, (*models.REFERENCE_SIZE, 3), np.uint8)
    return lambda: next(prediction.predict(model, [frame]))


def main() -> None:
    """Time both kinds of both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    first = recipes.make_model(recipes.Recipe(), CLASSES)
    models.load_weights(first, models.FIRST_REFERENCE)
    work = {
        "step, ResNet-34": make_step(studies.PLAIN_DICE),
        "step, small": make_step(studies.PRETRAINED),
        "prediction, ResNet-34": make_prediction(first),
        "prediction, small": make_prediction(models.load_reference()),
    }
    times = {name: [] for name in work}
    for _ in range(2 + rounds):
        for name, do in work.items():
            before = time.process_time()
            do()
            times[name].append(time.process_time() - before)
    seconds = {name: np.median(values[2:]) for name, values in times.items()}
    for name, value in seconds.items():
        print(f"{name:22} {value:6.3f} s of processor time")
    steps = 3 * seconds["step, small"] / seconds["step, ResNet-34"]
    answers = seconds["prediction, small"] / seconds["prediction, ResNet-34"]
    print(f"900 small steps to 300 of ResNet-34: {steps:.2f}")
    print(f"a prediction of the reference model to one of that before: {answers:.2f}")


if __name__ == "__main__":
    main()
