"""Segment pictures, a film or a camera: python segment.py FILE_OR_FOLDER... or segment.py 0.

Needs onnxruntime, OpenCV and NumPy; reads model.onnx and classes.json beside it.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
CLASSES = json.loads((HERE / "classes.json").read_text())
COLORS = np.array(CLASSES["colors"], np.uint8)[:, ::-1]  # OpenCV has blue first
HEIGHT, WIDTH = CLASSES["size"]
SCALE, OFFSET = (np.array(CLASSES[name], np.float32) for name in ("scale", "offset"))
NETWORK = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])


def segment(frame):
    """Return the classes, (H, W) uint8, of an (H, W, 3) uint8 picture, blue first."""
    shrinks = HEIGHT <= frame.shape[0] and WIDTH <= frame.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=how)
    batch = small[None, :, :, ::-1].astype(np.float32) @ SCALE + OFFSET
    scores = NETWORK.run(None, {NETWORK.get_inputs()[0].name: batch})[0][0]
    return cv2.resize(scores, frame.shape[1::-1]).argmax(-1).astype(np.uint8)


def painted(frame, classes):
    """Return the picture with its classes laid over it in their colours."""
    return cv2.addWeighted(frame, 0.5, COLORS[classes], 0.5, 0)


def pictures(name):
    """Return the files that a name stands for; those that were written here are left out."""
    if not Path(name).is_dir():
        return [name]
    found = sorted(x for x in Path(name).iterdir() if x.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [str(x) for x in found if not x.stem.endswith(("_classes", "_painted"))]


def main():
    """Write two files for each picture; show a film or camera until a key is pressed.

    NAME_classes.png holds the number of each pixel's class, NAME_painted.png shows them.
    """
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in [file for given in sys.argv[1:] for file in pictures(given)]:
        picture = None if name.isdigit() else cv2.imread(name)
        if picture is not None:
            classes, start = segment(picture), Path(name).with_suffix("")
            cv2.imwrite(f"{start}_classes.png", classes)
            cv2.imwrite(f"{start}_painted.png", painted(picture, classes))
            continue
        film = cv2.VideoCapture(int(name) if name.isdigit() else name)
        if not film.isOpened():
            sys.exit(f"{name}: neither a picture nor a film nor a camera that can be read")
        while (read := film.read())[0] and cv2.waitKey(1) < 0:
            cv2.imshow("street", painted(read[1], segment(read[1])))


if __name__ == "__main__":
    main()
