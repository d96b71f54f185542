"""What follows from a table of runs: intervals, verdicts, and how many seeds a claim needs.

Scores of different seeds vary by chance, of every configuration about equally. So the error is
pooled over all configurations of a study, and verdicts are corrected for how many are compared.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy import optimize, stats

from cityseg_utils.errors import DataError

MARGIN = 0.02  # of mean IoU: what is less is no difference that matters


def means(table: pd.DataFrame, score: str = "mean IoU", level: float = 0.95) -> pd.DataFrame:
    """Return mean and t interval over seeds of each configuration: ``mean, low, high, seeds``.

    Runs that lack the score are left out, a configuration that has none but these altogether.

    Raises
    ------
    DataError
        If the table has a run twice.
    """
    groups = _scored(table, score).groupby(level="configuration", sort=False)[score]
    return groups.apply(lambda x: pd.Series(_interval(x.to_numpy(), level))).unstack()


def by_class(table: pd.DataFrame) -> pd.DataFrame:
    """Return the IoU of each class (columns), the mean over seeds of each configuration (rows)."""
    ious = table.filter(regex="^IoU ").rename(columns=lambda name: name.removeprefix("IoU "))
    return ious.groupby(level="configuration", sort=False).mean()


def gains(table: pd.DataFrame, baseline: str, score: str = "mean IoU") -> pd.Series:
    """Return how much each run gains over the baseline's run with the same seed.

    Returns
    -------
    Series
        By configuration, without the baseline, and seed; only seeds that the baseline has.

    Raises
    ------
    DataError
        If the table has no run of the baseline, none that shares a seed with it, or a run twice.
    """
    scores = _scored(table, score)[score]
    base = _of(scores, baseline)
    others = scores.drop(baseline, level="configuration")
    result = (others - base.reindex(others.index, level="seed")).dropna()
    if result.empty:
        raise DataError(f"no run shares a seed with one of {baseline!r}; do more runs first")
    return result


def paired(
    table: pd.DataFrame, baseline: str, score: str = "mean IoU", level: float = 0.95
) -> pd.DataFrame:
    """Return mean and t interval over seeds of each configuration's `gains`, and a verdict.

    Each configuration is looked at alone; see :func:`compared` for a study as a whole.

    Returns
    -------
    DataFrame
        ``mean, low, high, seeds`` and ``verdict``: "better", "worse" or "no difference seen".
    """
    result = means(gains(table, baseline, score).to_frame(score), score, level)
    result["verdict"] = np.select(
        [result["low"] > 0, result["high"] < 0], ["better", "worse"], "no difference seen"
    )
    return result


def spread(table: pd.DataFrame, score: str = "mean IoU") -> tuple[float, int]:
    """Return the standard deviation over seeds, pooled over all configurations, and its freedom.

    Raises
    ------
    DataError
        If no configuration has two seeds, or one has a seed twice.
    """
    table = _scored(table, score)
    groups = table.groupby(level="configuration")[score]
    freedom = int((groups.size() - 1).sum())
    if freedom < 1:
        raise DataError("one seed of each configuration says nothing of chance; do more runs")
    squares = ((table[score] - groups.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / freedom)), freedom


def _scored(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the runs that have a score: one that lacks it adds nothing to what is known."""
    table = table[table[score].notna()]
    if twice := sorted(set(table.index[table.index.duplicated()])):
        raise DataError(f"the table has a run twice, which would count as two: {twice}")
    return table


def compared(
    table: pd.DataFrame,
    baseline: str,
    score: str = "mean IoU",
    level: float = 0.95,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Compare every configuration of a study with its baseline, all at once.

    Differences are of means over seeds, with the error of :func:`spread`. The intervals hold all
    true differences together as often as `level` says (Dunnett, "A multiple comparison procedure
    for comparing several treatments with a control", JASA 1955), so that a verdict is as rarely
    wrong among ten configurations as among two. A difference whose interval misses 0 is better or
    worse, however small; any other is called none if a 90 % interval of it alone lies within the
    margin (two one-sided tests: Schuirmann, 1987). Runs that lack the score are left out.

    Parameters
    ----------
    table : DataFrame
        The runs of one study.
    baseline : str
    score : str
    level : float
    margin : float
        The largest difference that does not matter, said before the first run.

    Returns
    -------
    DataFrame
        By configuration ``mean, low, high, seeds`` and ``verdict``: "better", "worse", "no
        difference" or "not decided".

    Raises
    ------
    DataError
        If the table has no run of the baseline, no two seeds of any configuration, or a run twice.
    """
    table = _scored(table, score)
    base, (deviation, freedom) = _of(table[score], baseline), spread(table, score)
    groups = table[score].drop(baseline, level="configuration").groupby(level="configuration")
    means_, sizes = groups.mean(), groups.size()
    names = [x for x in table.index.unique("configuration") if x != baseline]
    gain, sizes = (means_ - base.mean())[names], sizes[names]
    error = deviation * np.sqrt(1 / sizes + 1 / len(base))
    half = _dunnett(len(base), tuple(sizes), freedom, level) * error
    alone = stats.t.ppf(0.95, freedom) * error
    result = pd.DataFrame({"mean": gain, "low": gain - half, "high": gain + half, "seeds": sizes})
    same = (gain - alone > -margin) & (gain + alone < margin)
    result["verdict"] = np.select(
        [result["low"] > 0, result["high"] < 0, same],
        ["better", "worse", "no difference"],
        "not decided",
    )
    return result


def seeds_for(effect: float, deviation: float, level: float = 0.95, power: float = 0.8) -> int:
    """Return how many seeds of each of two configurations show a difference, if there is one.

    Parameters
    ----------
    effect : float
        The smallest difference of means that matters.
    deviation : float
        Over seeds, as from :func:`spread` of earlier runs.
    level : float
        1 minus how often a difference may be seen where there is none.
    power : float
        How often the effect shall be seen where there is one.
    """
    for seeds in range(2, 10_000):
        freedom, shift = 2 * seeds - 2, effect / (deviation * np.sqrt(2 / seeds))
        critical = stats.t.ppf((1 + level) / 2, freedom)
        if stats.nct.sf(critical, freedom, shift) >= power:
            return seeds
    raise ValueError(f"an effect of {effect} is too small to be seen among {deviation}")


def _of(scores: pd.Series, baseline: str) -> pd.Series:
    names = list(dict.fromkeys(scores.index.get_level_values("configuration")))
    if baseline not in names:
        raise DataError(f"there is no run of {baseline!r} to compare with, only of {names}")
    return scores.xs(baseline, level="configuration")


def _interval(values: np.ndarray, level: float) -> dict:
    mean = values.mean() if len(values) else np.nan
    half = np.nan
    if len(values) > 1:
        error = values.std(ddof=1) / np.sqrt(len(values))
        half = stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": len(values)}


@cache
def _dunnett(base: int, sizes: tuple[int, ...], freedom: int, level: float) -> float:
    """Return the factor of the error for which all intervals hold together."""
    share = np.sqrt(np.divide(sizes, np.add(sizes, base)))
    correlation = np.outer(share, share)
    np.fill_diagonal(correlation, 1)
    together = stats.multivariate_t(shape=correlation, df=freedom)

    def missing(factor: float) -> float:
        limits = np.full(len(sizes), factor)
        return together.cdf(limits, lower_limit=-limits, random_state=0) - level

    # Between that of one comparison and Bonferroni's.
    least, most = (stats.t.isf((1 - level) / 2 / n, freedom) for n in (1, len(sizes)))
    return float(optimize.brentq(missing, 0.99 * least, 1.01 * most, xtol=1e-3))
