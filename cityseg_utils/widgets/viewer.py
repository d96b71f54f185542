"""The mask viewer: layers, classes, zoom, comparison, scores."""

import base64
import zlib
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import RLock

import anywidget
import cv2
import numpy as np
import pandas as pd
import traitlets

from cityseg_utils import plots
from cityseg_utils.errors import CitysegError, DataError, LabelError, ShapeError
from cityseg_utils.labels import VOID, ClassScheme
from cityseg_utils.metrics import ConfusionMatrix
from cityseg_utils.preprocessing import check_image, check_upright, read_image, read_mask
from cityseg_utils.storage import read_header

HERE = Path(__file__).parent


def module(name: str) -> str:
    """Return the text of a widget's module, with what all widgets share before it."""
    return "\n".join((HERE / file).read_text(encoding="utf-8") for file in ("canvas.js", name))


def view(
    images: Sequence | pd.DataFrame,
    truth: Sequence | None = None,
    prediction: Sequence | None = None,
    scheme: ClassScheme | None = None,
    names: Sequence[str] | None = None,
    confidence: Sequence | None = None,
    rate: float | None = None,
) -> "MaskViewer":
    """Look at images and their masks: layers, classes, zoom, comparison, scores.

    Parameters
    ----------
    images : sequence of paths or ``(H, W, 3) uint8`` RGB arrays, or a DataFrame of pairs
        A DataFrame from `datasets.find_pairs` also gives truth and names.
    truth, prediction : sequence of paths or ``(H, W) uint8`` train ids, optional
        Paths are read with `scheme`; 255 is void.
    scheme : ClassScheme
        Names and colours of the classes.
    names : sequence of str, optional
        What the images are called.
    confidence : sequence of ``(H, W)`` floats in 0 .. 1, optional
        How sure the prediction is, shown under the pointer.
    rate : float, optional
        Frames a second, if the images are those of a film: it can be played, and has no scores.

    Raises
    ------
    ValueError
        If `rate` is not above 0 and at most 60.
    DataError
        If there are no images, as many masks or names as images are not given, or a file is bad.
    ShapeError, LabelError
        If a mask has another size than its image, no whole numbers, or ids that no class has.
    """
    if scheme is None:
        raise LabelError("give scheme=..., as from datasets.open_dataset(): it names the classes")
    if isinstance(images, pd.DataFrame):
        pairs = images
        if truth is None and pairs["mask"].notna().all():
            truth = list(pairs["mask"])
        names = list(pairs["city"] + " " + pairs["frame"]) if names is None else names
        images = list(pairs["image"])
    if rate is not None and not 0 < rate <= 60:
        raise ValueError(f"a film has a rate above 0, up to 60 frames a second, got {rate}")
    images = list(images)
    if not images:
        raise DataError("there are no images to look at; is the split's name right?")
    maps = {"truth": truth, "prediction": prediction, "confidence": confidence, "names": names}
    for what, given in maps.items():
        if given is not None and len(given) != len(images):
            raise DataError(f"{len(given)} {what} were given for {len(images)} images")
    names = [str(name) for name in names] if names is not None else _names_of(images)
    return MaskViewer(images, truth, prediction, scheme, names, confidence, rate)


def _names_of(images: Sequence) -> list[str]:
    return [
        f"image {k}" if isinstance(image, np.ndarray) else Path(image).name
        for k, image in enumerate(images)
    ]


class Twinned(anywidget.AnyWidget):
    """A widget with a static twin, for where widgets do not run: its `picture`, a JPEG file."""

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if data is None:
            return bundle
        data = {**data, "image/jpeg": base64.b64encode(self.picture()).decode()}
        return data, {**(metadata or {}), "image/jpeg": {"alt": self._alt()}}


def jpeg(figure) -> bytes:
    """Return a figure as a JPEG file, and close it."""
    content, quality = BytesIO(), {"quality": 85}
    figure.savefig(content, format="jpeg", dpi=plots.DPI, bbox_inches="tight", pil_kwargs=quality)
    plots.plt.close(figure)
    return content.getvalue()


class MaskViewer(Twinned):
    """The widget that `view` returns; its traits can be read and set from Python too."""

    _esm = module("viewer.js")
    _css = HERE / "viewer.css"
    frame = traitlets.Dict().tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    palettes = traitlets.Dict().tag(sync=True)
    palette = traitlets.Unicode("official").tag(sync=True)
    layers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    layer = traitlets.Unicode("image").tag(sync=True)
    compare = traitlets.Enum(["off", "wipe", "side by side"], "off").tag(sync=True)
    hidden = traitlets.List(traitlets.Int()).tag(sync=True)
    opacity = traitlets.Float(0.6).tag(sync=True)
    scores = traitlets.List().tag(sync=True)
    rate = traitlets.Float(0.0).tag(sync=True)  # of a film; 0: these are single images

    def __init__(self, images, truth, prediction, scheme, names, confidence, rate=None):
        self.scheme = scheme
        self._images, self._confidence = images, confidence
        self._maps = {"truth": truth, "prediction": prediction}
        self._lock = RLock()  # JupyterLab answers widgets' messages in another thread
        self._frame = lru_cache(4)(self._frame)
        layers = ["image", *(name for name, given in self._maps.items() if given is not None)]
        if len(layers) == 3:
            layers.append("error")
        # Everything is looked at once, so that what is wrong is said here and not in the browser.
        scores = [self._check(k, names) for k in range(len(images))]
        safe = scheme.color_blind_safe()
        super().__init__(
            frame=self._frame(0),
            names=names,
            classes=list(map(str, scheme.names)),
            palettes={"official": colors(scheme), "colour-blind safe": colors(safe)},
            layers=layers,
            layer=layers[min(1, len(layers) - 1)],
            scores=[] if rate else [row for row in scores if row],
            rate=rate or 0.0,
        )
        self.on_msg(self._send_ahead)

    def __repr__(self) -> str:
        return f"MaskViewer({len(self.names)} images, {len(self.classes)} classes)"

    def _alt(self) -> str:
        return f"Mask viewer, {self.names[self.index]}: {', '.join(self.layers)}"

    def picture(self) -> bytes:
        """Return the twin: the image in view, its masks and a legend by name, as a JPEG file."""
        image = self._image(self.index)
        maps = {name: self._map(name, self.index) for name in self._maps}
        known = {name: mask for name, mask in maps.items() if mask is not None}
        if len(known) == 2:
            figure = plots.predictions([image], *([mask] for mask in known.values()), self.scheme)
        elif known:
            [(kind, mask)] = known.items()
            title = "labels" if kind == "truth" else kind
            figure = plots.pairs([image], [mask], self.scheme, title=title)
        else:
            figure = plots.grid([[image]], [""])
        figure.suptitle(plots.literal(self.names[self.index]), y=1.02, va="bottom", fontsize=10)
        return jpeg(figure)

    @traitlets.validate("index")
    def _valid_index(self, proposal) -> int:
        return max(0, min(int(proposal["value"]), len(self._images) - 1))

    @traitlets.observe("index")
    def _show(self, change) -> None:
        with self._lock:
            try:
                self.frame = self._frame(self.index)
            except CitysegError as error:  # nobody sees what a callback raises
                self.frame = {"index": self.index, "fault": str(error)}

    def _send_ahead(self, _, content: dict, buffers) -> None:
        """Answer the browser, which asks for a frame before someone wants to see it."""
        with self._lock:
            try:
                frame = self._frame(content["want"])
            except CitysegError:  # said when it is looked at
                return
        maps = [name for name, value in frame.items() if isinstance(value, bytes)]
        facts = {name: value for name, value in frame.items() if name not in maps}
        self.send({**facts, "maps": maps}, [frame[name] for name in maps])

    def _image(self, k: int) -> np.ndarray:
        image = self._images[k]
        return (
            check_image(image, f"image {k}") if isinstance(image, np.ndarray) else read_image(image)
        )

    def _map(self, what: str, k: int) -> np.ndarray | None:
        if self._maps[what] is None:
            return None
        mask = self._maps[what][k]
        mask = mask if isinstance(mask, np.ndarray) else read_mask(mask, self.scheme)
        if not np.issubdtype(mask.dtype, np.integer):
            raise LabelError(f"{what} {k}: must hold integer train ids, it is {mask.dtype}")
        wrong = (mask != VOID) & ((mask < 0) | (mask >= self.scheme.num_classes))
        if wrong.any():
            raise LabelError(
                f"{what} {k}: holds {np.unique(mask[wrong])[:10].tolist()}; train ids of "
                f"{self.scheme.name!r} go from 0 to {self.scheme.num_classes - 1}, void is {VOID}"
            )
        return mask.astype(np.uint8)

    def _check(self, k: int, names: Sequence[str]) -> dict:
        """Refuse what does not fit in frame k, and return its row of scores, if it has any.

        Without a prediction only the sizes in files are read, so that a large data set opens fast.
        """
        maps = {what: given[k] for what, given in self._maps.items() if given is not None}
        scored = len(maps) == 2
        if self._confidence is not None:
            maps["confidence"] = np.asarray(self._confidence[k])
        size = _size_of(self._images[k])
        if "truth" in maps and not isinstance(self._images[k], np.ndarray):
            check_upright(self._images[k])
        for what, given in maps.items():
            if _size_of(given) != size or np.ndim(given) not in (0, 2):
                found = given.shape if isinstance(given, np.ndarray) else _size_of(given)
                raise ShapeError(
                    f"{names[k]}: the image is {size[0]} x {size[1]}, its {what} is "
                    f"{' x '.join(map(str, found))}"
                )
        for what, given in maps.items():
            if what in self._maps and (scored or isinstance(given, np.ndarray)):
                maps[what] = self._map(what, k)
        if isinstance(self._images[k], np.ndarray):
            self._image(k)
        if not scored:
            return {}
        matrix = ConfusionMatrix.for_scheme(self.scheme).update(maps["truth"], maps["prediction"])
        iou = matrix.iou().where(matrix.true_pixels > 0)
        return {
            "image": names[k],
            "mean IoU": _number(matrix.mean_iou()),
            "accuracy": _number(matrix.pixel_accuracy()),
            "worst class": str(iou.idxmin()) if iou.notna().any() else None,
            "its IoU": _number(iou.min()),
        }

    def _frame(self, k: int) -> dict:
        """Return all that the browser needs to show image k."""
        image = self._image(k)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        frame = {"index": k, "height": image.shape[0], "width": image.shape[1], "image": jpeg}
        for what in self._maps:
            if (mask := self._map(what, k)) is not None:
                frame[what] = packed(mask)
        if self._confidence is not None:
            sure = np.clip(np.nan_to_num(np.asarray(self._confidence[k], np.float32)), 0, 1)
            frame["confidence"] = packed(np.round(255 * sure).astype(np.uint8))
        return frame


def _size_of(picture) -> tuple[int, ...]:
    """Return (height, width) of an array or, from its head, of a file as it is looked at."""
    if isinstance(picture, np.ndarray):
        return picture.shape[:2]
    return read_header(picture).upright_size


def packed(mask: np.ndarray) -> bytes:
    """Return a map as the browser inflates it: exact, and a hundredth of its size."""
    return zlib.compress(np.ascontiguousarray(mask).tobytes(), 1)


def colors(scheme: ClassScheme) -> list[list[int]]:
    """Return a scheme's colours as a trait can hold them."""
    return [list(map(int, color)) for color in scheme.colors]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
