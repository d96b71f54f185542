import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cityseg_utils import experiments, statistics
from cityseg_utils.errors import DataError


def table_of(scores):
    rows = [(name, seed, x) for name, values in scores.items() for seed, x in enumerate(values)]
    return pd.DataFrame(rows, columns=["configuration", "seed", "mean IoU"]).set_index(
        ["configuration", "seed"]
    )


def drawn(rng, means, seeds=3, deviation=0.01):
    return table_of({name: rng.normal(mean, deviation, seeds) for name, mean in means.items()})


def test_the_names_of_before_are_the_same_functions():
    for name in ("means", "by_class", "gains", "paired"):
        assert getattr(experiments, name) is getattr(statistics, name)


def test_intervals_by_hand():
    """Student's t for two degrees of freedom at 95 % is 4.3027."""
    result = statistics.means(table_of({"a": [0.2, 0.3, 0.4], "b": [0.5]}))
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert result.loc["a"].tolist() == pytest.approx([0.3, 0.3 - half, 0.3 + half, 3])
    assert result.loc["b", "mean"] == 0.5
    assert np.isnan(result.loc["b", "low"])


def test_pairs_tell_what_scores_alone_do_not():
    """Seeds differ by tenths, configurations within a seed by hundredths, always the same way."""
    table = table_of(
        {
            "base": [0.2, 0.3, 0.4],
            "more": [0.21, 0.311, 0.41],
            "less": [0.19, 0.289, 0.39],
            "other": [0.25, 0.26, 0.41],
        }
    )
    result = statistics.paired(table, "base")
    assert list(result.index) == ["more", "less", "other"]
    assert result["verdict"].tolist() == ["better", "worse", "no difference seen"]
    assert result.loc["more", "mean"] == pytest.approx(0.031 / 3)


def test_gains_are_within_seeds_that_both_have():
    table = table_of({"more": [0.3, 0.5, 0.8], "base": [0.2, 0.3]})
    result = statistics.gains(table, "base")
    assert list(result.index) == [("more", 0), ("more", 1)]
    assert result.tolist() == pytest.approx([0.1, 0.2])


def test_gains_need_a_baseline_and_a_seed_of_it():
    table = table_of({"base": [0.2], "more": [0.3]})
    with pytest.raises(DataError, match=r"no run of 'plain' to compare with, only of \['base'"):
        statistics.gains(table, "plain")
    with pytest.raises(DataError, match="no run shares a seed"):
        statistics.gains(table.iloc[:1], "base")


def test_by_class_is_the_mean_over_seeds():
    table = table_of({"b": [0.2, 0.3], "a": [0.4]})
    table["IoU bus stop"] = [0.5, 0.7, 0.1]
    result = statistics.by_class(table)
    assert list(result.columns) == ["bus stop"]
    assert list(result.index) == ["b", "a"]  # as in the table
    assert result["bus stop"].tolist() == pytest.approx([0.6, 0.1])


def test_one_seed_shows_no_difference():
    result = statistics.paired(table_of({"base": [0.2], "more": [0.9]}), "base")
    assert result["verdict"].tolist() == ["no difference seen"]


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        row = statistics.means(table_of({"a": rng.normal(0.5, 0.1, 3)})).loc["a"]
        inside += row["low"] <= 0.5 <= row["high"]
    assert 0.92 < inside / 400 < 0.98


def test_spread_by_hand():
    """Squares of 0.1 and of 0.1, 0 and 0.1 around two means, of three degrees of freedom."""
    table = table_of({"a": [0.4, 0.6], "b": [0.7, 0.8, 0.9]})
    assert statistics.spread(table) == (pytest.approx(np.sqrt(0.04 / 3)), 3)


def test_runs_without_the_score_say_nothing_of_it_and_a_run_twice_is_refused():
    table = table_of({"a": [0.5, 0.51, 0.53], "b": [0.52, 0.55, 0.56]})
    more = table.reindex([*table.index, *[(name, seed) for name in "abc" for seed in (3, 4)]])
    pd.testing.assert_frame_equal(statistics.compared(more, "a"), statistics.compared(table, "a"))
    assert statistics.spread(more) == statistics.spread(table)
    pd.testing.assert_frame_equal(statistics.means(more), statistics.means(table))
    twice = pd.concat([table, table.iloc[:1]])
    for way in (statistics.compared, statistics.gains, statistics.paired):
        with pytest.raises(DataError, match="a run twice"):
            way(twice, "a")
    with pytest.raises(DataError, match="a run twice"):
        statistics.means(twice)


def test_one_seed_says_nothing_of_chance():
    with pytest.raises(DataError, match="one seed of each configuration says nothing of chance"):
        statistics.spread(table_of({"a": [0.5], "b": [0.6]}))


def test_intervals_agree_with_dunnett_s_in_scipy():
    rng = np.random.default_rng(3)
    samples = {"base": rng.normal(0.5, 0.01, 4), "a": rng.normal(0.52, 0.01, 3)}
    samples |= {"b": rng.normal(0.5, 0.01, 5), "c": rng.normal(0.49, 0.01, 3)}
    found = statistics.compared(table_of(samples), "base")
    others = [samples[name] for name in "abc"]
    theirs = stats.dunnett(*others, control=samples["base"], rng=np.random.default_rng(0))
    interval = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(found["low"], interval.low, atol=2e-4)
    np.testing.assert_allclose(found["high"], interval.high, atol=2e-4)
    assert found["seeds"].tolist() == [3, 5, 3]


def test_a_single_comparison_is_student_s_t_of_two_samples():
    rng = np.random.default_rng(4)
    one, two = rng.normal(0.5, 0.01, 5), rng.normal(0.52, 0.01, 5)
    found = statistics.compared(table_of({"base": one, "a": two}), "base").loc["a"]
    theirs = stats.ttest_ind(two, one).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_verdicts():
    rng = np.random.default_rng(0)
    means = {"base": 0.5, "better": 0.6, "worse": 0.4, "same": 0.5, "perhaps": 0.515}
    table = drawn(rng, means, seeds=8, deviation=0.008)
    verdicts = statistics.compared(table, "base")["verdict"].to_dict()
    assert verdicts["better"] == "better"
    assert verdicts["worse"] == "worse"
    assert verdicts["same"] == "no difference"
    few = drawn(rng, means, seeds=2, deviation=0.05)
    assert statistics.compared(few, "base")["verdict"]["same"] == "not decided"


def test_among_ten_that_are_equal_one_is_rarely_called_different():
    """Ten comparisons at 95 % each would call one different in a third of all studies."""
    rng, called = np.random.default_rng(1), 0
    for _ in range(200):
        table = drawn(rng, dict.fromkeys(["base", *"abcdefghij"], 0.5))
        called += statistics.compared(table, "base")["verdict"].isin(["better", "worse"]).any()
    assert called / 200 < 0.1


def test_no_difference_is_rarely_said_of_one_as_large_as_the_margin():
    rng, said = np.random.default_rng(2), 0
    for _ in range(200):
        table = drawn(rng, {"base": 0.5, "a": 0.52, "b": 0.5}, seeds=6)
        said += statistics.compared(table, "base")["verdict"]["a"] == "no difference"
    assert said / 200 < 0.09


def test_seeds_for_an_effect_show_it_as_often_as_they_say():
    seeds, rng, seen = statistics.seeds_for(0.02, 0.012), np.random.default_rng(5), 0
    for _ in range(400):
        one, two = rng.normal(0.5, 0.012, seeds), rng.normal(0.52, 0.012, seeds)
        seen += stats.ttest_ind(one, two).pvalue < 0.05
    assert 0.74 < seen / 400 < 0.93
    assert statistics.seeds_for(0.01, 0.012) > 3 * seeds
    with pytest.raises(ValueError, match="too small to be seen"):
        statistics.seeds_for(1e-9, 1.0)


def test_without_the_baseline_nothing_is_compared():
    with pytest.raises(DataError, match="no run of 'plain'"):
        statistics.compared(table_of({"a": [0.1, 0.2]}), "plain")
