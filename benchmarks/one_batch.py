"""Overfit one batch: lesson 05's U-Net with ResNet-34 on the same four streets, 200 steps.

    python benchmarks/one_batch.py

A network that cannot learn four images by heart is broken somewhere. The losses go to
``one_batch.csv``, one row a step; three minutes on one core.
"""

import argparse
import time
from pathlib import Path

from cityseg_utils import datasets, framework, losses, models, pipeline, studies, tables

SIZE = (128, 128)


def main() -> None:
    """Train, and store the losses."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "one_batch.csv")
    options = parser.parse_args()

    framework.set_seed(0)
    tf = framework.load_tensorflow()
    pairs, scheme = datasets.open_dataset()
    train = pairs[pairs["split"] == "train"]
    x, y = next(iter(pipeline.make_dataset(train, scheme, SIZE, 4, shuffle=True)))
    model = models.build_model(scheme.num_classes, (*SIZE, 3))
    model.compile(tf.keras.optimizers.Adam(1e-3), losses.DiceLoss())
    start, rows = time.process_time(), []
    for step in range(1, options.steps + 1):
        loss = model.train_on_batch(x, y, return_dict=True)["loss"]
        seconds = round(time.process_time() - start, 1)
        rows.append({"step": step, "loss": round(loss, 5), "processor seconds": seconds})
    tables.write(options.results, rows)
    print(f"{rows[0]['loss']} after 1 step, {loss:.3f} after {options.steps}: {seconds} s")


if __name__ == "__main__":
    main()
