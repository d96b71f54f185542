"""Make the front page's pictures: a street with labels and prediction, and the widgets in use.

    python docs/pictures.py

writes ``docs/pictures/``. The widgets are driven in a JupyterLab in a real browser (Chromium), by
the keys and the mouse that a reader would use.
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from cityseg_utils import datasets, models, plots, prediction, preprocessing, storage

HERE = Path(__file__).resolve().parent
OUT = HERE / "pictures"
sys.path.insert(0, str(HERE.parent / "tests" / "browser"))
import lab  # noqa: E402

STREET = 5  # of val: cars, persons, a sign, trees
MOST = 2_000_000  # bytes of a moving picture

VIEWER = """
from cityseg_utils import datasets, models, prediction, preprocessing, widgets

pairs, scheme = datasets.open_dataset()
few = pairs[pairs["split"] == "val"].iloc[4:8]
truth = [preprocessing.read_mask(path, scheme) for path in few["mask"]]
scores = prediction.predict(models.load_reference(), few["image"], truth[0].shape)
guess = [answer.argmax(-1).astype("uint8") for answer in scores]
viewer = widgets.view(few["image"], truth, guess, scheme)
viewer
"""
ANNOTATOR = """
import tempfile
from pathlib import Path

import numpy as np
from cityseg_utils import active_learning, annotations, datasets, models, prediction, widgets

pairs, scheme = datasets.open_dataset()
few = pairs[pairs["split"] == "val"].iloc[4:6]
size = (256, 512)
scores = list(prediction.predict(models.load_reference(), few["image"], size))
log = annotations.AnswerLog(Path(tempfile.mkdtemp()) / "answers.jsonl", scheme)
pool = active_learning.Pool(few, scheme, size, log, parts=200)
margin, rng = active_learning.STRATEGIES["margin"], np.random.default_rng(0)
questions = pool.questions(margin, 12, lambda k: (scores[k], scores[k]), rng)
annotator = widgets.annotate(few, log, lambda k: scores[k], questions)
annotator
"""


def hero() -> None:
    """Draw a street of MiniCity beside its labels and what the reference model says."""
    pairs, scheme = datasets.open_dataset()
    row = pairs[pairs["split"] == "val"].iloc[STREET]
    image, truth = preprocessing.read_pair(row["image"], row["mask"], scheme)
    (scores,) = prediction.predict(models.load_reference(), [row["image"]], truth.shape)
    guess = scores.argmax(-1).astype(np.uint8)
    pictures = [image, scheme.colorize(truth), scheme.colorize(guess)]
    figure = plots.grid([pictures], ["a drawn street", "its labels", "the network's answer"])
    plots.add_legend(figure, scheme, [truth])
    file = BytesIO()
    figure.savefig(file, format="jpeg", dpi=150, bbox_inches="tight", pil_kwargs={"quality": 88})
    storage.write_bytes(OUT / "hero.jpg", file.getvalue())


class Film:
    """Frames of a widget on a page, each with how long it stays."""

    def __init__(self, widget):
        self.widget, self.frames, self.times = widget, [], []

    def shoot(self, milliseconds: int) -> None:
        """Add what is to be seen now."""
        picture = Image.open(BytesIO(self.widget.screenshot()))
        self.frames.append(picture.convert("RGB"))
        self.times.append(milliseconds)

    def save(self, path: Path, width: int = 760) -> None:
        """Write a GIF of a palette of all frames."""
        size = width, round(width * self.frames[0].height / self.frames[0].width)
        frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in self.frames]
        sheet = Image.fromarray(np.vstack([np.asarray(frame) for frame in frames]))
        palette = sheet.quantize(256, dither=Image.Dither.NONE)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        file = BytesIO()
        options = {"append_images": frames[1:], "duration": self.times, "loop": 0, "save_all": True}
        frames[0].save(file, "GIF", optimize=True, **options)
        if len(file.getvalue()) > MOST:
            raise SystemExit(f"{path}: {len(file.getvalue())} bytes are too many")
        storage.write_bytes(path, file.getvalue())


def film(browser, running, name: str, source: str, play) -> None:
    """Open a notebook with a widget, play with it, and save what was to be seen."""
    address, token, folder = running
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, folder / f"{name}.ipynb")
    context = browser.new_context(viewport={"width": 1500, "height": 1300})
    opened = lab.Notebook(context.new_page(), address, token, f"{name}.ipynb")
    widget = opened.panel.locator(".cityseg-viewer")
    widget.scroll_into_view_if_needed()
    recorded = Film(widget)
    play(opened.page, widget, recorded)
    recorded.save(OUT / f"{name}.gif")
    context.close()


def play_with_viewer(page, widget, film) -> None:
    """Show all layers, errors last, hover, show one class alone, compare, go on to the next."""
    stage = widget.locator(".stage").first
    stage.focus()
    box = stage.bounding_box()
    for key in ("1", "2", "3", "4"):
        page.keyboard.press(key)
        film.shoot(1300)
    page.keyboard.press("3")
    for x, y in ((0.5, 0.93), (0.8, 0.5)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        film.shoot(1000)
    for key in ("s", "a", "c", "c", "n"):
        page.keyboard.press(key)
        film.shoot(1000)


def play_with_annotator(page, widget, film) -> None:
    """Accept, name another class, say that one cannot tell, look at guess, doubts and labels."""
    widget.locator(".stage").first.focus()
    film.shoot(1200)
    # The first, fourth and fifth part are of the own bonnet, which is no class. And l shows the
    # guess, then the doubts, the picture, and at last what was said.
    for key in ("q", "e", "e", "q", "l", "q", "l", "e", "2", "e", "l", "l"):
        page.keyboard.press(key)
        film.shoot(1000)


def main() -> None:
    """Make all of them."""
    hero()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        browser = playwright.chromium.launch(executable_path=lab.CHROMIUM, args=lab.FLAGS)
        with lab.serve(Path(home)) as running:
            film(browser, running, "viewer", VIEWER, play_with_viewer)
            film(browser, running, "annotator", ANNOTATOR, play_with_annotator)
        browser.close()


if __name__ == "__main__":
    main()
