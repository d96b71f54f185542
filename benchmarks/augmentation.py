"""How fast frames are augmented on one core, beside what a training step needs.

    python benchmarks/augmentation.py

Frames of MiniCity at 256 x 512, crops and colours about as in the reference model's training. The
training step is that of U-Net with ResNet-34 on all cores, in the fastest precision.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from noting import note

from cityseg_utils import datasets, framework, minicity

tf = framework.load_tensorflow()

from cityseg_utils import pipeline, recipes  # noqa: E402
from cityseg_utils.augmentation import Colors, Compose, Flip, ScaleAndCrop  # noqa: E402
from cityseg_utils.labels import CITYSCAPES  # noqa: E402

BATCH = 8
AUGMENT = Compose(ScaleAndCrop((160, 256), (0.7, 1.6), seek=0.5), Flip(), Colors(0.3))
RECIPE = recipes.Recipe(size=(256, 512), augment=AUGMENT, batch_size=BATCH, steps=1)


def frames_per_second(step, batches: int) -> float:
    """Return how many frames a second go through `step`, after three that warm up."""
    for _ in range(3):
        step()
    start = time.perf_counter()
    for _ in range(batches):
        step()
    return batches * BATCH / (time.perf_counter() - start)


def measure(what: str, root: Path) -> float:
    """Return frames per second of the pipeline alone, or of training on one batch."""
    pairs = datasets.find_pairs(root)
    data = pipeline.make_dataset(pairs, CITYSCAPES, RECIPE.size, BATCH, AUGMENT, shuffle=True)
    if what == "augment":
        list(data)  # decodes
        batches = iter(data.repeat())
        return frames_per_second(lambda: next(batches), 40)
    tf.keras.mixed_precision.set_global_policy(framework.precision())
    model = recipes.make_model(RECIPE, CITYSCAPES.num_classes)
    model.compile("adam", recipes.make_loss(RECIPE))
    images, masks = next(islice(data, 1))
    return frames_per_second(lambda: model.train_on_batch(images, masks), 10)


def main() -> None:
    """Measure both, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(measure(options.only[0], Path(options.only[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = minicity.generate(Path(folder) / "city", train=64, val=0, test=0)
        rates = {}
        for what, cores in (("augment", {0}), ("train", os.sched_getaffinity(0))):
            command = [sys.executable, __file__, "--only", what, str(root)]
            said = subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),
            )
            rates[what] = float(said.stdout)
    ratio, of = rates["augment"] / rates["train"], "the speed of a training step on all cores"
    note("augmenting a frame on one core", ratio, of, "at least 1", 1 / rates["augment"])


if __name__ == "__main__":
    main()
