"""Write what the page "Try it" ships: the reference model as ONNX, its classes and a street.

    python docs/try_it/make.py

Needs the extra ``export``.
"""

import json
import shutil
from pathlib import Path

from cityseg_utils import datasets, deployment, models
from cityseg_utils.labels import CITYSCAPES

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write the three files."""
    size = models.REFERENCE_SIZE
    deployment.to_onnx(models.load_reference(), HERE / "reference.onnx", size, small=True)
    palettes = {"official": CITYSCAPES, "colour-blind safe": CITYSCAPES.color_blind_safe()}
    classes = {
        "size": size,
        "names": CITYSCAPES.names,
        "palettes": {name: scheme.colors for name, scheme in palettes.items()},
    }
    text = json.dumps(classes, default=int)
    (HERE / "classes.json").write_text(text + "\n")
    pairs = datasets.find_pairs(datasets.minicity_root())
    shutil.copyfile(pairs[pairs["split"] == "val"]["image"].iloc[0], HERE / "street.png")


if __name__ == "__main__":
    main()
