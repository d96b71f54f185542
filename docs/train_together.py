"""Train the small network on all GPUs of a machine, or on several machines, as on one device.

    python docs/train_together.py DATA
    python -m cityseg_utils.distribution --workers 2 docs/train_together.py DATA
    python -m cityseg_utils.distribution --addresses a:4000,b:4000 --index 0 train_together.py DATA

on all GPUs of this machine; in two processes; and on machine a, while b gets index 1. All of them
must see the folder of runs.
"""

import argparse
import os
from pathlib import Path

from cityseg_utils import datasets, distribution, framework, losses, models, pipeline, training
from cityseg_utils.augmentation import Colors, Compose, Flip

tf = framework.load_tensorflow()


def main() -> None:
    """Train, and say where the weights are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 192))
    parser.add_argument("--batch-size", type=int, default=8, help="of all devices together")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--runs", type=Path, default="runs")
    options = parser.parse_args()

    several = "TF_CONFIG" in os.environ
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy() if several else tf.distribute.MirroredStrategy()
    )
    framework.set_seed(0)
    pairs, scheme = datasets.open_dataset(options.data)
    batches = pipeline.make_dataset(
        pairs[pairs["split"] == "train"],
        scheme,
        tuple(options.size),
        options.batch_size,
        augment=Compose(Flip(), Colors(0.3)),
        shuffle=True,
    )
    with strategy.scope():
        model = models.synchronized(
            models.build_model(
                scheme.num_classes, (*options.size, 3), models.SMALL, encoder_weights="imagenet"
            )
        )
        model.compile(tf.keras.optimizers.Adam(2e-3), losses.DiceLoss())
    run = training.fit(
        model, batches, steps=options.steps, runs=options.runs, name="together", strategy=strategy
    )
    if distribution.Team(strategy).part[0] == 0:
        print(
            f"loss {run.losses[0]:.3f} -> {run.losses[-1]:.3f}, weights: {run.folder / 'last.npz'}"
        )


if __name__ == "__main__":
    main()
