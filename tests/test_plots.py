import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from cityseg_utils import plots
from cityseg_utils.labels import ClassScheme
from cityseg_utils.metrics import ConfusionMatrix

HOSTILE = ["a $5 b", "$x^$", "_hidden", "\udcff\udcfe", r"\$ and \\frac", "$a$"]
SHOWN = ["a $5 b", "$x^$", " _hidden", "??", r"\$ and \\frac", "$a$"]
MASK = np.arange(6, dtype=np.uint8).reshape(2, 3).repeat(4, 0).repeat(4, 1)
IMAGE = np.dstack([MASK] * 3)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def scheme_of(names):
    return ClassScheme("own", tuple(names), tuple((k, k, k) for k in range(6)), tuple(range(6)))


def means_of(names):
    return pd.DataFrame({"mean": 0.5, "low": 0.4, "high": 0.6, "IoU": 0.5}, index=names)


def seeds_of(names):
    index = pd.MultiIndex.from_product([names, [0]], names=["configuration", "seed"])
    return pd.Series(0.5, index)


def calibrations(names):
    table = pd.DataFrame({"confidence": [0.5, 0.9], "accuracy": [0.5, 0.8], "share": [0.1, 0.9]})
    return dict.fromkeys(names, table)


def matrix_of(names):
    return ConfusionMatrix(6, names=names).update(MASK, MASK)


DRAWN = {
    "grid": lambda names, title: plots.grid([[IMAGE] * 6] * 6, names, names),
    "pairs": lambda names, title: plots.pairs([IMAGE] * 6, [MASK] * 6, scheme_of(names), names),
    "predictions": lambda names, title: plots.predictions(
        [IMAGE] * 6, [MASK] * 6, [MASK] * 6, scheme_of(names), names
    ),
    "bars": lambda names, title: plots.bars(pd.Series(1.0, names), title),
    "mean_bars": lambda names, title: plots.mean_bars(pd.DataFrame(1.0, names, names), title),
    "confusion_map": lambda names, title: plots.confusion_map(matrix_of(names), title),
    "interval_bars": lambda names, title: plots.interval_bars(means_of(names), title),
    "seed_intervals": lambda names, title: plots.seed_intervals(
        means_of(names), seeds_of(names), title
    ),
    "trade_off": lambda names, title: plots.trade_off(
        pd.Series(range(1, 7), names), means_of(names), title, title, title
    ),
    "arrows": lambda names, title: plots.arrows(
        {name: np.array([[0.5, 0.4], [0.3, 0.6]]) for name in names}, title, title, title
    ),
    "reliability": lambda names, title: plots.reliability(calibrations(names), title),
    "lines": lambda names, title: plots.lines(
        pd.DataFrame(1.0, [1, 2], names), title, title, title
    ),
}


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def shown(figure):
    """All texts of a figure, as they are drawn."""
    figure.canvas.draw()
    return [text.get_text().replace(r"\$", "$") for text in figure.findobj(Text)]


@pytest.mark.parametrize("kind", DRAWN)
def test_names_and_titles_are_shown_as_they_stand(kind):
    texts = shown(DRAWN[kind](HOSTILE, "100 $ or \udcff, $_"))
    assert set(SHOWN) <= set(texts)
    if kind not in ("grid", "pairs", "predictions"):
        assert any("100 $ or ?, $_" in text for text in texts)


@pytest.mark.parametrize("name", ["$a$", "5 $, 6 $", r"\$"])
def test_a_dollar_begins_no_formula(name):
    figure = plots.bars(pd.Series([1.0], ["one"]), name)
    found = pixels(figure)
    plain = figure.axes[0].title
    plain.set_parse_math(False)
    plain.set_text(name)
    np.testing.assert_array_equal(pixels(figure), found)


def test_many_columns_have_looks_of_their_own():
    columns = [f"recipe {k}" for k in range(9)]
    figure = plots.mean_bars(pd.DataFrame(1.0, ["road", "sky"], columns), "IoU")
    bars = figure.axes[0].patches
    assert len(bars) == 18
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == 9
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == columns


def test_no_table_is_left_out_of_a_reliability_diagram():
    names = [f"model {k}" for k in range(8)]
    axis = plots.reliability(calibrations(names), "confidence").axes[0]
    drawn = [line for line in axis.lines if line.get_label() in names]
    assert [line.get_label() for line in drawn] == names
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 8
    for circles in axis.collections:  # the area tells the share
        small, large = circles.get_sizes()
        assert large == pytest.approx(9 * small)


def test_a_training_of_today_has_a_row_below_the_stored_ones():
    names = ["a", "b"]
    figure = plots.seed_intervals(means_of(names), seeds_of(names), "", now={"today": 0.3})
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "today"]
    star = axis.lines[-1]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([0.3], [2])
    low, high = sorted(axis.get_ylim())
    assert low < 0 and high > 2


def test_an_arrow_leads_from_the_first_point_to_the_second():
    axis = plots.arrows({"all": np.array([[0.8, 0.5], [0.7, 0.6]])}, "train", "val", "").axes[0]
    [arrow] = axis.texts
    assert tuple(arrow.xyann) == (0.8, 0.5) and tuple(arrow.xy) == (0.7, 0.6)
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    assert 0.5 < left < 0.7 and 0.8 < right < 0.9
    assert 0.4 < low < 0.5 and 0.6 < high < 0.7


def test_what_a_mask_is_stands_over_it():
    two = ClassScheme("ab", ("a", "b"), ((1, 1, 1), (2, 2, 2)), (0, 1))
    image, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    figure = plots.pairs([image], [mask], two, title="prediction")
    assert [axis.get_title() for axis in figure.axes] == ["image", "prediction", "both"]


def test_rows_of_one_name_stay_two():
    figure = plots.bars(pd.Series([1.0, 2.0], ["a", "a"]), "twice")
    assert sorted(bar.get_y() for bar in figure.axes[0].patches) == pytest.approx([-0.4, 0.6])


def test_a_u_net_is_drawn_with_its_sizes_and_skips():
    encoder, decoder = [(32, 8), (32, 16), (16, 24)], [(32, 12), (64, 5)]
    axis = plots.u_net((64, 64, 3), encoder, decoder).axes[0]
    said = [text.get_text() for text in axis.texts if text.get_text()]
    assert {f"{h} px\n{c} ch." for h, c in [(64, 3), (32, 16), (16, 24), (32, 12), (64, 5)]} < set(
        said
    )
    assert len(axis.patches) == 5
    assert (
        sum(hasattr(text, "arrow_patch") and text.arrow_patch is not None for text in axis.texts)
        == 1
    )
