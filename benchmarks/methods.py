"""What a step of each method costs, as a ratio to one on labels alone.

    python benchmarks/methods.py

Processor time of the small network at 96 x 192 in float32, by turns in one process; the first
batches of each compile and do not count.
"""

import argparse
import time

import numpy as np
from noting import note

from cityseg_utils import framework, recipes, studies, training
from cityseg_utils.adversarial import Adversarial
from cityseg_utils.augmentation import CutMix
from cityseg_utils.semi_supervised import MeanTeacher

tf = framework.load_tensorflow()

CLASSES = 19
WAYS = {  # labelled frames, others, method
    "8 labels": (8, 0, None),
    "discriminator, maps at half size": (8, 0, Adversarial(warm=0)),
    "discriminator, maps at full size": (8, 0, Adversarial(warm=0, shrink=1)),
    "source against target": (8, 4, Adversarial(warm=0, against="source")),
    "4 labels": (4, 0, None),
    "teacher and CutMix": (4, 4, MeanTeacher(warm=0, mix=CutMix(own=True), paste=False)),
    "teacher and pasted classes": (4, 4, MeanTeacher(warm=0)),
}


def make_step(number: int, others: int, method, recipe=studies.PRETRAINED):
    """Return a function that does a step."""
    model = recipes.make_model(recipe.but(encoder_weights=None), CLASSES)
    if method is not None:
        model = method.build(model, 100, 0, np.ones(CLASSES))
    model.compile(tf.keras.optimizers.Adam(), recipes.make_loss(recipe))
    batch = random_batch(number, recipe.size)
    if method is not None:
        batch = {"labelled": batch}
        if others:
            batch["unlabelled"] = random_batch(others, recipe.size)
    step = training.make_step(model)
    return lambda: float(step(batch)["loss"])


def random_batch(number: int, size):
    """Return images and one-hot masks."""
    rng = np.random.default_rng(0)
    masks = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, (number, *size))]
    return tf.constant(rng.random((number, *size, 3)), tf.float32), tf.constant(masks)


def by_turns(actions: dict, rounds: int) -> dict[str, float]:
    """Return the median of the processor seconds of each action, without the first two of each."""
    times = {name: [] for name in actions}
    for _ in range(2 + rounds):
        for name, do in actions.items():
            before = time.process_time()
            do()
            times[name].append(time.process_time() - before)
    return {name: float(np.median(values[2:])) for name, values in times.items()}


def main() -> None:
    """Time all ways, and print each beside the one on as many labels alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    ways = {name: make_step(*way) for name, way in WAYS.items()}
    seconds = by_turns(ways, rounds)
    for name, (number, _, _) in WAYS.items():
        alone = f"{number} labels"
        of = f"a step on {alone} alone, processor time"
        note(f"a step, {name}", seconds[name] / seconds[alone], of, "", seconds[name])


if __name__ == "__main__":
    main()
