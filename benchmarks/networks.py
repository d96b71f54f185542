"""The small network beside U-Net with ResNet-34: a step of training, and a prediction.

    python benchmarks/networks.py
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/networks.py
    python benchmarks/networks.py --equal --camvid /path/to/camvid

The last says how many steps of each network of the study "networks" take the processor time of 900
of the small one, reading frames included; and how many on photographs that of 600.

Processor time in float32, by turns in one process; steps are of the recipes of the study "small
network", of which the small one does three times as many, and predictions of 256 x 512 by the
reference model and by the one before it.
"""

import argparse
from pathlib import Path

import numpy as np
from methods import CLASSES, by_turns, make_step

from cityseg_utils import framework, models, prediction, recipes, studies, training

tf = framework.load_tensorflow()


def make_prediction(model):
    """Return a function that answers one frame."""
    frame = np.random.default_rng(0).integers(0, 256, (*models.REFERENCE_SIZE, 3), np.uint8)
    return lambda: next(prediction.predict(model, [frame]))


def make_whole_step(recipe: recipes.Recipe, train, scheme):
    """Return a function that does a step of a recipe, reading and changing frames included."""
    model = recipes.make_model(recipe, scheme.num_classes)
    model.compile(tf.keras.optimizers.Adam(), recipes.make_loss(recipe))
    step, batches = training.make_step(model), recipes.make_data(recipe, train, scheme, seed=0)
    for _ in batches:  # what is read once is kept
        pass

    def endless():
        while True:
            yield from batches

    numbered = endless()
    return lambda: float(step(next(numbered))["loss"])


def equal(names: dict[str, recipes.Recipe], frames, rounds: int) -> None:
    """Print the steps that cost what those of the first recipe cost."""
    work = {name: make_whole_step(recipe, *frames) for name, recipe in names.items()}
    seconds = by_turns(work, rounds)
    first, steps = next(iter(seconds)), next(iter(names.values())).steps
    for name, value in seconds.items():
        print(f"{name:26} {value:6.3f} s, {steps * seconds[first] / value:6.0f} steps", flush=True)


def main() -> None:
    """Time both kinds of both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--equal", action="store_true", help="steps of the study's networks")
    parser.add_argument("--camvid", type=Path, help="its folder: the frozen one's steps there, too")
    options = parser.parse_args()
    rounds = options.rounds
    if options.equal:
        train, _, scheme = studies.unseen_cities(40)
        equal(studies.PLANNED["networks"].recipes, (train, scheme), rounds)
        if options.camvid:
            study = studies.PLANNED["ImageNet on photographs"]
            train, _, scheme = study.data(options.camvid)
            equal(study.recipes, (train["two drives"], scheme), rounds)
        return
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
