"""The small network beside U-Net with ResNet-34: a step of training, and a prediction.

    python benchmarks/networks.py
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/networks.py

Processor time in float32, by turns in one process; steps are of the recipes of the study "small
network", of which the small one does three times as many, and predictions of 256 x 512 by the
reference model and by the one before it.
"""

import argparse

import numpy as np
from methods import CLASSES, by_turns, make_step

from cityseg_utils import models, prediction, recipes, studies


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
        "step, ResNet-34": make_step(8, 0, None, studies.PLAIN_DICE),
        "step, small": make_step(8, 0, None, studies.PRETRAINED),
        "prediction, ResNet-34": make_prediction(first),
        "prediction, small": make_prediction(models.load_reference()),
    }
    seconds = by_turns(work, rounds)
    for name, value in seconds.items():
        print(f"{name:22} {value:6.3f} s of processor time")
    steps = 3 * seconds["step, small"] / seconds["step, ResNet-34"]
    answers = seconds["prediction, small"] / seconds["prediction, ResNet-34"]
    print(f"900 small steps to 300 of ResNet-34: {steps:.2f}")
    print(f"a prediction of the reference model to one of that before: {answers:.2f}")


if __name__ == "__main__":
    main()
