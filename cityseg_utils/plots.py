"""Every static figure of the course. Colour is never the only cue: legends carry the names.

Functions return a matplotlib Figure; :func:`show` displays it as a small JPEG with alt text.
"""

import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from cityseg_utils.labels import VOID, ClassScheme

DPI = 80
STYLES = ("o-", "s--", "^-.", "d:", "v-", "x--")


def in_notebook() -> bool:
    """Tell whether this code runs in a Jupyter kernel."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def show(figure: Figure, alt: str, publish: Callable | None = None) -> None:
    """Display a figure as JPEG with `alt` as its description for those who cannot see it.

    Parameters
    ----------
    figure : Figure
        Is closed afterwards.
    alt : str
        Also the text that stands for the picture where none can be shown.
    publish : callable, optional
        What to display with, such as a display handle's ``update``; default IPython's ``display``.
    """
    from IPython.display import display

    content = BytesIO()
    figure.savefig(content, format="jpeg", dpi=DPI, bbox_inches="tight", pil_kwargs={"quality": 85})
    plt.close(figure)
    bundle = {"image/jpeg": content.getvalue(), "text/plain": alt}
    (publish or display)(bundle, raw=True, metadata={"image/jpeg": {"alt": alt}})


def literal(text) -> str:
    r"""Return what a figure must be given to show a text as it stands.

    To matplotlib $ begins a formula and _ a name that no legend shows; bytes of a file's name that
    are no UTF-8 it cannot draw.
    """
    text = str(text).encode(errors="replace").decode().replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _literals(texts) -> list[str]:
    return [literal(text) for text in texts]


def overlay(
    image: np.ndarray, mask: np.ndarray, scheme: ClassScheme, opacity: float = 0.6
) -> np.ndarray:
    """Lay a mask's colours over its image, ``(H, W, 3) uint8``; void pixels keep the photograph."""
    mixed = (1 - opacity) * image + opacity * scheme.colorize(mask)
    return np.where((mask == VOID)[..., None], image, mixed).astype(np.uint8)


def error_map(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Paint where a prediction is right (grey), wrong (orange) and not scored (black)."""
    picture = np.full((*truth.shape, 3), (200, 200, 200), np.uint8)
    picture[truth != prediction] = (213, 94, 0)
    picture[truth == VOID] = 0
    return picture


def grid(
    pictures: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    rows: Sequence[str] | None = None,
    width: float = 11,
) -> Figure:
    """Show rows of pictures under column titles; grey pictures are drawn in grey."""
    height, wide = pictures[0][0].shape[:2]
    cell = width / len(columns)
    shape = (len(pictures), len(columns))
    figure, axes = plt.subplots(
        *shape, figsize=(width, cell * height / wide * shape[0] + 0.5), squeeze=False
    )
    for r, line in enumerate(pictures):
        for c, picture in enumerate(line):
            axes[r, c].imshow(picture, cmap="gray", interpolation="nearest")
            axes[r, c].set(xticks=[], yticks=[])
            if r == 0:
                axes[r, c].set_title(literal(columns[c]), fontsize=11)
        if rows is not None:
            axes[r, 0].set_ylabel(literal(rows[r]), fontsize=10)
    figure.tight_layout(pad=0.4)
    return figure


def add_legend(
    figure: Figure, scheme: ClassScheme, masks: Sequence[np.ndarray], columns: int = 7
) -> Figure:
    """Add names and colours of the classes that occur in `masks` below a figure."""
    present = np.unique(np.concatenate([np.unique(mask) for mask in masks]))
    handles = [
        Patch(facecolor=scheme.palette[k] / 255, edgecolor="black", label=literal(scheme.names[k]))
        for k in present
        if k != VOID
    ]
    if VOID in present:
        handles.append(Patch(facecolor="black", label="void"))
    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=columns,
        fontsize=9,
        frameon=False,
    )
    return figure


def pairs(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    scheme: ClassScheme,
    names: Sequence[str] | None = None,
    title: str = "labels",
) -> Figure:
    """Show photographs, their labels and both together, with a legend by name."""
    lines = [
        (image, scheme.colorize(mask), overlay(image, mask, scheme))
        for image, mask in zip(images, masks, strict=True)
    ]
    return add_legend(grid(lines, ["image", title, "both"], names), scheme, masks)


def predictions(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    scheme: ClassScheme,
    names: Sequence[str] | None = None,
) -> Figure:
    """Show photographs, truth, prediction and where they differ, with a legend by name.

    Each street takes two lines: four pictures side by side would be too small for thin things.
    """
    lines, sides = [], []
    for k, (image, truth, guess) in enumerate(zip(images, truths, predicted, strict=True)):
        lines.append((image, scheme.colorize(truth)))
        lines.append((scheme.colorize(guess), error_map(truth, guess)))
        sides += [names[k] if names is not None else "", ""]
    figure = grid(lines, ["image", "truth"], sides)
    for k, axis in enumerate(figure.axes):
        axis.set_title(["image", "truth", "prediction", "errors (orange)"][k % 4], fontsize=11)
    figure.set_figheight(figure.get_figheight() + 0.25 * (len(lines) - 1))
    figure.tight_layout(pad=0.4)
    return add_legend(figure, scheme, [*truths, *predicted])


def u_net(
    image: tuple[int, int, int],
    encoder: Sequence[tuple[int, int]],
    decoder: Sequence[tuple[int, int]],
) -> Figure:
    """Draw a U-Net from the (height, channels) of its layers, in their order.

    A block is as high as its pictures, and the wider the more channels it has; `image` is
    (H, W, channels).
    """
    height, _, colors = image
    sides = [[(height, colors), *encoder], decoder]
    sides = [{h: max(c for k, c in side if k == h) for h, _ in side} for side in sides]
    depth = len(sides[0])
    widest = max(channels for side in sides for channels in side.values())
    figure, axis = plt.subplots(figsize=(11, 5.5))
    for sign, side, color in zip((-1, 1), sides, ("tab:blue", "tab:orange"), strict=True):
        for h, channels in side.items():
            level = round(np.log2(height / h))
            x = sign * 1.6 * (depth - 1 - level)
            wide, high = 0.12 + 1.4 * channels / widest, 0.8 * h / height
            axis.bar(x, high, wide, -level - high / 2, color=color, edgecolor="black")
            axis.text(x, -level - high / 2 - 0.05, f"{h} px\n{channels} ch.", ha="center", va="top")
            if sign < 0 and level and h in sides[1]:
                ends = (-x - wide / 2 - 0.3, -level), (x + wide / 2 + 0.3, -level)
                axis.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": "gray"})
    axis.text(0, -0.4, "height and channels of each block\narrows: skip connections", ha="center")
    axis.set(xlim=(-1.6 * depth, 1.6 * depth), ylim=(-depth + 0.3, 0.5))
    axis.set_axis_off()
    figure.tight_layout()
    return figure


def curves(history: pd.DataFrame, epochs: int | None = None) -> Figure:
    """Plot loss and mean IoU, training and validation, against the epoch."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3))
    for axis, what, title in zip(axes, ("loss", "mean_iou"), ("loss", "mean IoU"), strict=True):
        axis.plot(history.index, history[what], "o-", label="training")
        axis.plot(history.index, history[f"val_{what}"], "s--", label="validation")
        axis.set(xlabel="epoch", title=title, xlim=(0.5, (epochs or history.index.max()) + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend()
        axis.grid(alpha=0.3)
    axes[1].set_ylim(bottom=0)
    figure.tight_layout()
    return figure


def bars(values: pd.Series, title: str, unit: str = "", log: bool = False) -> Figure:
    """Draw one horizontal bar per entry, its number beside it; NaN is written as absent."""
    figure, axis = plt.subplots(figsize=(8, 0.26 * len(values) + 0.9))
    axis.barh(range(len(values)), values.fillna(0), color="#4477aa")
    for k, value in enumerate(values):
        text = " absent" if pd.isna(value) else literal(f" {value:.3g}{unit}")
        axis.text(0 if pd.isna(value) else value, k, text, va="center", fontsize=9)
    if log:
        axis.set_xscale("log")
    axis.margins(x=0.15)
    return _by_rows(figure, values.index, title)


def mean_bars(groups: pd.DataFrame, title: str) -> Figure:
    """Draw grouped horizontal bars: one group per row, one hatch and colour per column."""
    figure, axis = plt.subplots(figsize=(8, 0.36 * len(groups) + 1))
    # Seven colours and four hatches: 28 columns differ.
    colors = cycle(("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"))
    hatches = cycle(("", "//", "..", "xx"))
    thick = 0.8 / groups.shape[1]
    for k, column in enumerate(groups):
        places = np.arange(len(groups)) + (k - (groups.shape[1] - 1) / 2) * thick
        look = {"label": literal(column), "color": next(colors), "hatch": next(hatches)}
        axis.barh(places, groups[column].fillna(0), thick, **look)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _by_rows(figure, groups.index, title)


def confusion_map(matrix, title: str = "which class was taken for which") -> Figure:
    """Draw a `metrics.ConfusionMatrix`, each row divided by its sum: % of the true pixels."""
    present = np.flatnonzero(matrix.true_pixels)
    counts = matrix.counts[present]
    shares = 100 * counts / counts.sum(1, keepdims=True)
    columns = _literals([*matrix.names, "void"])
    figure, axis = plt.subplots(figsize=(0.42 * len(columns) + 2, 0.34 * len(present) + 2))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.argwhere(shares >= 1):
        value = shares[row, column]
        color = "white" if value > 60 else "black"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    axis.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=9)
    axis.set_yticks(range(len(present)), [columns[k] for k in present], fontsize=9)
    axis.set(xlabel="prediction", ylabel="truth", title=literal(f"{title} (% of a row)"))
    figure.tight_layout()
    return figure


def interval_bars(table: pd.DataFrame, title: str) -> Figure:
    """Draw a bar per row of a table with ``IoU``, ``low`` and ``high``, and its interval."""
    table = table.dropna(subset="IoU")
    figure, axis = plt.subplots(figsize=(8, 0.27 * len(table) + 0.9))
    below, above = table["IoU"] - table["low"], table["high"] - table["IoU"]
    axis.barh(
        range(len(table)),
        table["IoU"],
        xerr=np.clip([below, above], 0, None),
        color="#77aadd",
        error_kw={"ecolor": "black", "capsize": 3},
    )
    axis.set_xlim(0, 1)
    return _by_rows(figure, table.index, title)


def _by_rows(figure: Figure, names, title: str) -> Figure:
    """Finish a figure that has a row for each name, the first on top."""
    axis = figure.axes[0]
    axis.set_yticks(range(len(names)), _literals(names))
    axis.set_title(literal(title))
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def seed_intervals(
    means: pd.DataFrame,
    scores: pd.Series,
    title: str,
    zero: bool = False,
    now: dict[str, float] | None = None,
) -> Figure:
    """Draw mean and interval of each configuration, and a dot for each seed.

    Parameters
    ----------
    means : DataFrame
        ``mean``, ``low``, ``high`` by configuration, from `experiments.means` or `.paired`.
    scores : Series
        By configuration and seed: what the means are of.
    zero : bool
        Draw a line at 0, where two configurations are equal.
    now : dict of names to floats, optional
        Scores of single trainings of today, a star in a row of its own each.
    """
    now = now or {}
    names = [*means.index, *now]
    figure, axis = plt.subplots(figsize=(8, 0.36 * len(names) + 1.0))
    places = np.arange(len(means))
    low, high = means["mean"] - means["low"], means["high"] - means["mean"]
    axis.errorbar(
        means["mean"],
        places,
        xerr=[low, high],
        fmt="D",
        color="black",
        capsize=4,
        label="mean, 95 %",
    )
    for place, name in enumerate(means.index):
        dots = scores.xs(name, level="configuration")
        label = "one seed" if place == 0 else None
        axis.plot(dots, np.full(len(dots), place) - 0.22, "o", color="#0072b2", ms=4, label=label)
    if now:
        places = range(len(means), len(names))
        axis.plot(list(now.values()), places, "*", color="#d55e00", ms=10, label="just now")
    if zero:
        axis.axvline(0, color="gray", linestyle=":")
    axis.set_ylim(len(names) - 0.5, -0.6)
    axis.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _by_rows(figure, names, title)


def trade_off(
    costs: pd.Series, means: pd.DataFrame, xlabel: str, ylabel: str, title: str = "cost and score"
) -> Figure:
    """Draw score against cost, a marker with its interval for each configuration.

    Parameters
    ----------
    costs : Series
        By configuration; drawn on a logarithmic scale.
    means : DataFrame
        ``mean``, ``low``, ``high`` by configuration, from `experiments.means`.
    """
    figure, axis = plt.subplots(figsize=(8, 4))
    costs = costs.sort_values()
    means = means.loc[costs.index]
    for (name, row), cost, marker in zip(means.iterrows(), costs, cycle("osD^vPX*"), strict=False):
        reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        axis.errorbar(cost, row["mean"], reach, fmt=marker, ms=8, capsize=3, label=literal(name))
    front = means["mean"][means["mean"] == means["mean"].cummax()]
    axis.step(costs[front.index], front, where="post", color="gray", ls=":", label="Pareto front")
    axis.set_xscale("log")
    _name(axis, xlabel, ylabel, title)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def arrows(moves: dict[str, np.ndarray], xlabel: str, ylabel: str, title: str) -> Figure:
    """Draw an arrow for each name, from one point to another, beside the line of equal scores.

    Parameters
    ----------
    moves : dict of names to arrays
        (2, 2): the point where it begins and the one where it ends, each across and up.
    """
    figure, axis = plt.subplots(figsize=(6.5, 4))
    for (name, (begin, end)), marker in zip(moves.items(), cycle("osD^vP"), strict=False):
        [point] = axis.plot(*begin, marker, ms=7, label=literal(name))
        arrow = {"arrowstyle": "-|>", "color": point.get_color(), "lw": 2, "mutation_scale": 16}
        axis.annotate("", end, begin, arrowprops=arrow)
        axis.plot(*end, alpha=0)  # an arrow alone does not widen the axes
    among = np.mean(list(moves.values()))  # so that the line does not widen the axes, either
    axis.axline((among, among), slope=1, color="gray", linestyle=":", label="equal")
    axis.margins(0.1)
    _name(axis, xlabel, ylabel, title)
    axis.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def reliability(tables: dict[str, pd.DataFrame], title: str) -> Figure:
    """Plot accuracy against confidence, a line for each table of `analysis.Calibration`.

    A circle round each point says by its area which share of the pixels is so confident.
    """
    figure, axis = plt.subplots(figsize=(5, 4))
    axis.plot([0, 1], [0, 1], color="gray", linestyle=":", label="as sure as right")
    for (name, table), style in zip(tables.items(), cycle(STYLES), strict=False):
        known = table.dropna()
        where = known["confidence"], known["accuracy"]
        [line] = axis.plot(*where, style, markersize=4, label=literal(name))
        area = {"s": 600 * known["share"], "alpha": 0.3}
        axis.scatter(*where, **area, color=line.get_color(), clip_on=False)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    _name(axis, "confidence", "accuracy", title)
    axis.legend()
    axis.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def lines(table: pd.DataFrame, xlabel: str, ylabel: str, title: str, log: bool = False) -> Figure:
    """Plot each column of a table against its index, markers and strokes telling them apart."""
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for column, style in zip(table, cycle(STYLES), strict=False):
        axis.plot(table.index, table[column], style, label=literal(column))
    if log:
        axis.set_xscale("log")
    if log and len(table) <= 12:  # few enough to write them all
        axis.set_xticks(table.index, [f"{value:g}" for value in table.index])
        axis.minorticks_off()
    _name(axis, xlabel, ylabel, title)
    crowded = len(table.columns) > 3  # beside the lines, then, and not over them
    axis.legend(**({"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if crowded else {}))
    axis.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def _name(axis, xlabel: str, ylabel: str, title: str) -> None:
    axis.set(xlabel=literal(xlabel), ylabel=literal(ylabel), title=literal(title))
