"""The clinic of lesson 06: one training that is well, and six that are not.

    python benchmarks/clinic.py

Each is the same small network, from ImageNet's weights, on the same streets; each but one has one
fault. The curves go to ``clinic.csv``; what each network says of val's first street, alone and in
one batch with seven others, goes to ``clinic.png``; twelve minutes on one core. Which letter has
which fault stands in `exercises.CLINIC`.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from cityseg_utils import (
    datasets,
    exercises,
    framework,
    losses,
    models,
    pipeline,
    prediction,
    studies,
    tables,
    training,
)
from cityseg_utils.labels import VOID

tf = framework.load_tensorflow()
SIZE, BATCH, EPOCHS, RATE = (96, 192), 8, 10, 2e-3


def with_void(x, y):
    """Make void, all zeros, one more class."""
    return x, tf.concat([y, 1 - tf.reduce_sum(y, -1, keepdims=True)], -1)


def train_patient(fault: str | None, train, val, scheme) -> tuple[list[dict], list[np.ndarray]]:
    """Train with a fault; return the history and the answers, ``(H, W) uint8`` each."""
    framework.set_seed(0)
    void = fault == "void as a class"
    rate = {"learning rate too high": 0.5, "learning rate too low": 2e-6}.get(fault, RATE)
    if fault == "masks of another street":
        train = train.assign(mask=np.roll(train["mask"], 1))
    network = models.build_model(
        scheme.num_classes + void, (*SIZE, 3), models.SMALL, encoder_weights="imagenet"
    )
    model, alone = network, fault == "batch norm's averages not used"
    if alone:
        frames = tf.keras.Input((*SIZE, 3))
        model = tf.keras.Model(frames, network(frames, training=True))
    # ResNet-34 of segmentation-models takes values from 0 to 255: pixels as they are in the file.
    seen = "resnet34" if fault == "not normalized in prediction" else "unit"
    learned = pipeline.make_dataset(train, scheme, SIZE, BATCH, shuffle=True)
    scored = pipeline.make_dataset(val, scheme, SIZE, 1 if alone else BATCH, normalization=seen)
    if void:
        learned, scored = learned.map(with_void), scored.map(with_void)
    metric = training.MeanIoU(scheme.num_classes + void)
    model.compile(tf.keras.optimizers.Adam(rate), losses.DiceLoss(), [metric])
    history = model.fit(learned, validation_data=scored, epochs=EPOCHS, verbose=0).history
    rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
    answer = partial(prediction.predict, model, normalization=seen)
    shown = [next(answer(val["image"].iloc[:1])), next(answer(val["image"].iloc[::5]))]
    labels = [x.argmax(-1).astype(np.uint8) for x in shown]
    return rows, [np.where(x < scheme.num_classes, x, VOID) for x in labels]


def main() -> None:
    """Train all, and store what they show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=studies.RESULTS)
    options = parser.parse_args()

    pairs, scheme = datasets.open_dataset(datasets.minicity_root())
    train, val = (pairs[pairs["split"] == split] for split in ("train", "val"))
    table, shown = [], []
    for patient, fault in {"healthy": None, **exercises.CLINIC}.items():
        start = time.process_time()
        rows, answers = train_patient(fault, train, val, scheme)
        seconds = round(time.process_time() - start, 1)
        for epoch, row in enumerate(rows, 1):
            numbers = {name: round(float(x), 4) for name, x in row.items()}
            table.append({"patient": patient, "epoch": epoch, **numbers})
        shown.append(np.hstack(answers))
        print(patient, table[-1], f"{seconds} processor seconds", flush=True)
    tables.write(options.folder / "clinic.csv", table)
    cv2.imwrite(str(options.folder / "clinic.png"), np.vstack(shown))


if __name__ == "__main__":
    main()
