"""The annotator at 2048 x 1024, in a real JupyterLab: strokes that keep up, and the next question.

    python benchmarks/annotator.py

Prints the time that a pointer's move takes in its handler, brush in hand, for several sizes, and
from an answer to the next question on the screen, in the same frame and in the next one. A screen
shows a frame every 16 ms. Needs Chromium and Playwright.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat
from noting import note
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "browser"))
import lab

MOVES, ANSWERS = 60, 20
RADII = (4, 20, 60)
SOURCE = """
import tempfile
from pathlib import Path
import numpy as np
from cityseg_utils import annotations, datasets, minicity, widgets

folder = Path(tempfile.mkdtemp())
root = minicity.generate(folder / "city", 3, 0, 0, (1024, 2048))
pairs, scheme = datasets.open_dataset(root)
likely = np.full((128, 256, 19), 1 / 19, np.float32)
rng = np.random.default_rng(0)
questions = [[((int(at), 1),) for at in rng.integers(0, 2**21, n)] for n in (30, 30, 30)]
log = annotations.AnswerLog(folder / "answers.jsonl", scheme)
widgets.annotate(pairs, log, lambda k: likely, questions)
"""
# Times each call of a method of the widget, in milliseconds.
TIMED = """([name]) => {
    const viewer = document.querySelector(".cityseg-viewer").viewer;
    const inner = viewer[name].bind(viewer);
    window.times = [];
    viewer[name] = (...given) => {
        const start = performance.now();
        const result = inner(...given);
        window.times.push(performance.now() - start);
        return result;
    };
    window.untimed = () => { viewer[name] = inner; };
}"""
# Presses a key and waits until another question, or frame, is painted.
ANSWER = """async ([key]) => {
    const element = document.querySelector(".cityseg-viewer");
    const { viewer } = element;
    const state = () => `${viewer.frame.index} ${viewer.question}`;
    const before = state();
    const start = performance.now();
    viewer.stage.box.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    while (state() === before) await new Promise((next) => setTimeout(next));
    await new Promise((next) => requestAnimationFrame(next));
    return performance.now() - start;
}"""


def strokes(page, stage, radius: int) -> list[float]:
    """Draw a stroke of so many moves; return how long each was handled."""
    page.evaluate("(r) => document.querySelector('.cityseg-viewer').viewer.resizeBrush(r)", radius)
    page.evaluate(TIMED, ["drag"])
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for k in range(MOVES):
        x, y = box["width"] * (0.1 + 0.8 * k / MOVES), box["height"] * (0.3 + 0.4 * (k % 2))
        page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.up()
    page.evaluate("window.untimed()")
    return page.evaluate("window.times")


def main() -> None:
    """Open the annotator, paint and answer."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        with lab.serve(Path(folder)) as (address, token, notebooks):
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)])
            nbformat.write(notebook, notebooks / "speed.ipynb")
            browser = playwright.chromium.launch(executable_path=lab.CHROMIUM, args=lab.FLAGS)
            page = browser.new_page(viewport={"width": 1500, "height": 1200})
            opened = lab.Notebook(page, address, token, "speed.ipynb")
            opened.panel.locator(".cityseg-viewer[data-ready='0']").wait_for()
            stage = opened.panel.locator(".cityseg-viewer .stage")
            stage.focus()
            same = [page.evaluate(ANSWER, ["q"]) for _ in range(ANSWERS)]
            for _ in range(29 - ANSWERS):
                page.evaluate(ANSWER, ["q"])
            page.wait_for_function(
                "document.querySelector('.cityseg-viewer').viewer.ready.has(1)", timeout=60_000
            )
            other = page.evaluate(ANSWER, ["q"])
            page.keyboard.press("b")
            moves = {radius: strokes(page, stage, radius) for radius in RADII}
            browser.close()
    for what, milliseconds in (("same", statistics.median(same)), ("next", other)):
        seconds = milliseconds / 1000
        note(f"next question, {what} frame", milliseconds / 50, "50 ms", "at most 1", seconds)
    for radius, times in moves.items():
        median = statistics.median(times)
        name = f"a move of the brush, radius {radius}"
        note(name, median / 16, "a frame of the screen, 16 ms", "at most 1", median / 1000)


if __name__ == "__main__":
    main()
