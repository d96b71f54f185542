"""Say whether the reference model answers the same, and how fast, in every form without Keras.

    python benchmarks/export.py --camvid /path/to/camvid

For each form: the share of pixels with Keras's class on 40 val streets of MiniCity and 20 frames of
CamVid (mean and worst frame), mean IoU on the streets, the file's size, and the time of a frame of
256 x 512 beside Keras's, by turns in one process. A row of each goes to ``export.csv``. Needs the
extra ``export``.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from noting import note

from cityseg_utils import (
    datasets,
    deployment,
    experiments,
    models,
    prediction,
    storage,
    studies,
    tables,
)
from cityseg_utils import preprocessing as prep
from cityseg_utils.metrics import ConfusionMatrix

SIZE = models.REFERENCE_SIZE
PHOTOGRAPHS = 20
TURNS = 15


def forms(model, folder: Path, frames: list[np.ndarray]):
    """Yield what each form is called, the engine, its file and the network."""
    plain = deployment.to_onnx(model, folder / "plain.onnx", SIZE)
    small = deployment.to_onnx(model, folder / "small.onnx", SIZE, small=True)
    for engine in ("onnxruntime", "openvino"):
        for name, path in {"ONNX, float32": plain, "ONNX, 8-bit weights": small}.items():
            yield name, engine, path, deployment.Deployed(path, engine)
    for kind in deployment.KINDS:
        path = deployment.to_tflite(model, folder / f"{kind}.tflite", SIZE, kind, frames)
        yield f"TFLite, {kind}", "tflite", path, deployment.Deployed(path)


class Saved:
    """A SavedModel, called as it would be served."""

    input_shape = (None, *SIZE, 3)

    def __init__(self, folder: Path):
        self.model = deployment.tf.saved_model.load(str(folder))

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Return ``(N, H, W, C) float32``."""
        (told,) = self.model.signatures["serving_default"](
            deployment.tf.constant(images, deployment.tf.float32)
        ).values()
        return told.numpy()


def answers(network, images) -> list[np.ndarray]:
    """Return the classes of each image at its own size."""
    return [x.argmax(-1).astype(np.uint8) for x in prediction.predict(network, images, SIZE)]


def shares(ours: list[np.ndarray], others: list[np.ndarray]) -> list[float]:
    """Return in how many of the pixels of each frame two networks name the same class."""
    return [float((a == b).mean()) for a, b in zip(ours, others, strict=True)]


def seconds_by_turns(*networks) -> list[float]:
    """Return the median time of one frame for each network, which take turns."""
    image = np.random.default_rng(0).random((1, *SIZE, 3), np.float32)
    times = [[] for _ in networks]
    for _ in range(TURNS + 2):  # the first two compile and warm up
        for network, taken in zip(networks, times, strict=True):
            before = time.perf_counter()
            network.predict_on_batch(image)
            taken.append(time.perf_counter() - before)
    return [statistics.median(taken[2:]) for taken in times]


def main() -> None:
    """Measure every form, and write the table anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=studies.RESULTS / "export.csv")
    options = parser.parse_args()
    _, val, scheme = studies.unseen_cities(40)
    photographs = datasets.find_pairs(options.camvid)
    photographs = photographs[photographs["split"] == "val"]["image"]
    photographs = list(photographs.iloc[:: len(photographs) // PHOTOGRAPHS][:PHOTOGRAPHS])
    truth = [prep.read_mask(path, scheme) for path in val["mask"]]
    typical = datasets.open_dataset(datasets.minicity_root())[0].query("split == 'train'")["image"]
    typical = [prep.read_image(path, SIZE).astype(np.float32) / 255 for path in typical[::4]]

    model = models.load_reference()
    streets, others = answers(model, val["image"]), answers(model, photographs)
    with tempfile.TemporaryDirectory() as folder:
        saved = deployment.to_saved_model(model, Path(folder) / "saved")
        megabytes = sum(path.stat().st_size for path in storage.files_below(saved)) / 1e6
        rows = [("SavedModel", "tensorflow", megabytes, Saved(saved))]
        rows += [
            (name, engine, path.stat().st_size / 1e6, network)
            for name, engine, path, network in forms(model, Path(folder), typical)
        ]
        written = []
        for name, engine, megabytes, network in rows:
            keras, own = seconds_by_turns(model, network)
            said = answers(network, val["image"])
            matrix = ConfusionMatrix.for_scheme(scheme)
            for mask, guess in zip(truth, said, strict=True):
                matrix.update(mask, guess)
            same = shares(streets, said), shares(others, answers(network, photographs))
            row = {
                "form": name,
                "engine": engine,
                "same on streets": np.mean(same[0]),
                "worst street": min(same[0]),
                "same on photographs": np.mean(same[1]),
                "worst photograph": min(same[1]),
                "mean IoU": matrix.mean_iou(),
                "MB": round(megabytes, 2),
                "milliseconds": round(1000 * own, 1),
                "times Keras's": round(own / keras, 3),
                "machine": experiments.machine(),
                "date": time.strftime("%Y-%m-%d"),
                "command": "python benchmarks/export.py --camvid /path/to/camvid",
            }
            written.append({name: str(value) for name, value in row.items()})
            print(*(f"{x:.4f}" if isinstance(x, float) else x for x in list(row.values())[:8]))
            note(f"a prediction, {name}, {engine}", own / keras, "Keras's", "", own)
    tables.write(options.results, written)


if __name__ == "__main__":
    main()
