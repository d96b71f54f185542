"""From key press to changed pixels, in a real JupyterLab at 1024 x 512.

    python benchmarks/viewer.py

Median times of the mask viewer, beside a viewer made of ``interact`` and matplotlib in the same
notebook. Needs Chromium and Playwright.
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

PRESSES = 20
SOURCE = """
import tempfile
from pathlib import Path
import ipywidgets, matplotlib.pyplot as plt
from cityseg_utils import datasets, minicity, plots, preprocessing, widgets

root = minicity.generate(Path(tempfile.mkdtemp()) / "city", 6, 0, 0, (512, 1024))
pairs, scheme = datasets.open_dataset(root)
viewer = widgets.view(pairs, scheme=scheme)
viewer
"""
PEER = """
image = preprocessing.read_image(pairs["image"][0])
mask = preprocessing.read_mask(pairs["mask"][0], scheme)
def draw(opacity=0.5):
    plt.figure(figsize=(1024 / 72, 512 / 72))
    plt.imshow(plots.overlay(image, mask, scheme, opacity))
    plt.axis("off")
    plt.show()
ipywidgets.interact(draw, opacity=(0.0, 1.0, 0.05));
"""
# Notes when a key went down, and when what is watched had changed and was on the screen.
WATCH = """([selector, attributes]) => {
    window.finish?.();
    window.times = [];
    let pressed = null;
    const press = () => { pressed = performance.now(); };
    document.addEventListener("keydown", press, true);
    const seen = new MutationObserver(() => {
        if (pressed === null) return;
        const start = pressed;
        pressed = null;
        // A task that is posted from an animation frame runs once that frame was painted.
        requestAnimationFrame(() => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => window.times.push(performance.now() - start);
            port2.postMessage(null);
        });
    });
    window.finish = () => {
        seen.disconnect();
        document.removeEventListener("keydown", press, true);
    };
    for (const node of document.querySelectorAll(selector))
        seen.observe(node, { attributes: true, attributeFilter: attributes, childList: true,
                             subtree: attributes.length === 0 });
}"""


def measure(page, target, keys: list[str], selector: str, attributes: list[str]) -> float:
    """Press keys on an element and return the median time until what `selector` names changed."""
    page.evaluate(WATCH, [selector, attributes])
    for k in range(PRESSES):
        target.focus()
        page.keyboard.press(keys[k % len(keys)])
        page.wait_for_function(f"window.times.length > {k}", timeout=20_000)
    return statistics.median(page.evaluate("window.times"))


def main() -> None:
    """Open both viewers in one notebook and press keys."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        cells = [nbformat.v4.new_code_cell(source) for source in (SOURCE, PEER)]
        with lab.serve(Path(folder)) as (address, token, notebooks):
            nbformat.write(nbformat.v4.new_notebook(cells=cells), notebooks / "speed.ipynb")
            browser = playwright.chromium.launch(executable_path=lab.CHROMIUM, args=lab.FLAGS)
            page = browser.new_page(viewport={"width": 1500, "height": 1200})
            notebook = lab.Notebook(page, address, token, "speed.ipynb")
            viewer = notebook.panel.locator(".cityseg-viewer")
            viewer.and_(page.locator("[data-ready='0']")).wait_for()
            stage, root = viewer.locator(".stage").first, ".cityseg-viewer"
            canvas = f"{root} .stage:first-child canvas:nth-of-type(2)"
            ours = {
                "opacity": measure(page, stage, ["[", "]"], canvas, ["style"]),
                "class shown alone, all": measure(page, stage, ["s", "a"], root, ["data-paints"]),
                "another image": measure(page, stage, ["n"], root, ["data-ready"]),
            }
            handle = notebook.panel.locator(".noUi-handle").last
            outputs = ".widget-interact .jp-OutputArea"
            peer = measure(page, handle, ["ArrowRight", "ArrowLeft"], outputs, [])
            browser.close()
    print(f"1024 x 512, medians of {PRESSES} presses, the frame that shows it painted")
    for what, milliseconds in ours.items():
        note(f"a key: {what}", milliseconds / 50, "50 ms", "at most 1", milliseconds / 1000)
    note("interact with matplotlib: opacity", peer / ours["opacity"], "ours", "", peer / 1000)


if __name__ == "__main__":
    main()
