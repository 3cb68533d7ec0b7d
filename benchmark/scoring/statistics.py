"""From the numbers of several runs to spreads, intervals, paired tests and tiers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

Runs = Mapping[Hashable, float]
"""The score of each run of a method, by what two methods must share to be compared: seed, order, data."""

FEWEST_RUNS = 3
LEVEL = 0.95
MOST_EXACT, MOST_EXACT_TIED = 50, 13
"""The most differences whose signed-rank test SciPy makes exact: without ties, and with some."""


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (divisor n-1), which is None for one value.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("the mean of no values is not defined")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def bootstrap_interval(
    differences: Sequence[float], level: float = LEVEL, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the mean of paired differences, None below two values.

    Args:
        differences: one per pair of runs.
        level: share of the resampled means inside the interval.
        resamples: number of resamples.
        seed: of the generator, so that the same runs give the same interval.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return None
    rows = resampled_rows(len(values), resamples, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(values[rows].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def student_interval(differences: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Return Student's interval of the mean of paired differences, None below two values.

    Where values are few it is wider than the percentile bootstrap, which at three of them leaves out 0
    whenever all have one sign: by chance one time in four.
    """
    if len(differences) < 2:
        return None
    mean, deviation = spread(differences)
    reach = student_reach(len(differences), level) * (deviation or 0.0)
    return mean - reach, mean + reach


@cache
def student_reach(count: int, level: float = LEVEL) -> float:
    """Return half the width of Student's interval of a mean of `count` values in standard deviations."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, count - 1)) / count**0.5


@cache
def resampled_rows(count: int, resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Return `(resamples, count)` row numbers drawn with replacement, the same for the same seed."""
    rows = np.random.default_rng(seed).integers(0, count, size=(resamples, count))
    rows.flags.writeable = False  # shared by every caller
    return rows


@dataclass(frozen=True)
class Comparison:
    """What the shared runs of two methods say about `first - second`; computed when asked for.

    Attributes:
        differences: one per shared run, sorted, so that the order in which runs were read changes nothing.
    """

    differences: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of shared runs."""
        return len(self.differences)

    @property
    def difference(self) -> float | None:
        """Mean of the differences, None without a shared run."""
        return float(np.mean(self.differences)) if self.differences else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's interval of that mean, None below two shared runs."""
        return student_interval(self.differences)

    @property
    def bootstrap(self) -> tuple[float, float] | None:
        """The percentile bootstrap interval of that mean, None below two shared runs."""
        return bootstrap_interval(self.differences)

    @property
    def p(self) -> float | None:
        """Two-sided Wilcoxon signed-rank p-value, None below two shared runs.

        With n runs it cannot fall below 2 ** (1 - n), so it decides nothing below six.
        """
        return signed_rank(self.differences)

    @property
    def distinguishable(self) -> bool:
        """Whether enough runs are shared and both intervals leave out 0."""
        return _told_apart(self.differences)


@lru_cache(maxsize=2**14)  # tables, tests and pictures of one page ask for the same pairs
def _told_apart(differences: tuple[float, ...]) -> bool:
    if len(differences) < FEWEST_RUNS or not _leaves_out_zero(student_interval(differences)):
        return False
    # Where all have one sign, so has every resampled mean.
    one_sign = min(differences) > 0 or max(differences) < 0
    return one_sign or _leaves_out_zero(bootstrap_interval(differences))


def _leaves_out_zero(interval: tuple[float, float] | None) -> bool:
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


def compare(first: Runs, second: Runs) -> Comparison:
    """Compare two methods on the runs that both have; runs of one alone are not used."""
    return Comparison(tuple(sorted(float(first[key]) - float(second[key]) for key in first if key in second)))


def signed_rank(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test, None below two differences.

    Zeros are left out and equal sizes share their mean rank. The p-value is that of SciPy to the last digit:
    exact up to `MOST_EXACT_TIED` differences where some are equal or 0, up to `MOST_EXACT` where none are,
    and normal above. SciPy's own way takes a millisecond a pair, and with ties up to a second.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return None
    signed = values[values != 0]
    if not len(signed):
        return 1.0  # SciPy would have nothing left to rank
    _, place, counts = np.unique(np.abs(signed), return_inverse=True, return_counts=True)
    if len(values) > (MOST_EXACT_TIED if len(counts) < len(values) else MOST_EXACT):
        from scipy.stats import wilcoxon

        return float(wilcoxon(values, method="asymptotic").pvalue)
    # Twice the ranks, so that the mean rank of two neighbours is a whole number too.
    ranks = (2 * np.cumsum(counts) - counts + 1)[place]
    positive = int(ranks[signed > 0].sum())
    return _chance_of_ranks(tuple(sorted(ranks.tolist())), min(positive, int(ranks.sum()) - positive))


@lru_cache(maxsize=2**14)
def _chance_of_ranks(ranks: tuple[int, ...], smaller: int) -> float:
    """Return the share of all signs of some ranks whose positive or negative sum is at most `smaller`."""
    # ways[s]: how many of the 2 ** n signs give the positive ranks the sum s.
    ways = np.zeros(sum(ranks) + 1, dtype=np.int64)
    ways[0] = 1
    for rank in ranks:
        ways[rank:] += ways[:-rank].copy()
    return min(1.0, 2 * int(ways[: smaller + 1].sum()) / 2 ** len(ranks))


def tiers(scores: Mapping[str, Runs], higher_is_better: bool = True) -> dict[str, int | None]:
    """Return the tier of each method, counted from 1.

    The best mean leads the first tier. Every method whose shared runs do not tell it from the leader joins
    it: fewer than `FEWEST_RUNS` of them, or an interval of the mean difference, Student's or bootstrap, that
    holds 0. The best of the rest leads the next tier, and so on. A method with fewer than `FEWEST_RUNS` runs
    is not ranked, and nobody is where fewer than two methods could be.

    Args:
        scores: the runs of each method.
        higher_is_better: whether the largest mean leads.
    """
    sign = 1.0 if higher_is_better else -1.0
    ranked = {
        name: sign * float(np.mean(list(runs.values())))
        for name, runs in scores.items()
        if len(runs) >= FEWEST_RUNS
    }
    result: dict[str, int | None] = dict.fromkeys(scores)
    if len(ranked) < 2:
        return result
    left = sorted(ranked, key=lambda name: (-ranked[name], name))
    tier = 0
    while left:
        tier += 1
        leader = scores[left[0]]
        alike = [name for name in left if not compare(leader, scores[name]).distinguishable]
        result.update(dict.fromkeys(alike, tier))
        left = [name for name in left if name not in alike]
    return result


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for testing several methods at once (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; an adjusted value is never below an earlier one.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = largest
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of methods over shared blocks.

    Attributes:
        blocks: how many blocks all methods share.
        mean_ranks: by method; 1 is the best.
        statistic: Friedman's chi-squared, corrected for ties.
        p: its p-value.
        critical_difference: Nemenyi's; mean ranks closer than this are not told apart.
    """

    blocks: int
    mean_ranks: dict[str, float]
    statistic: float
    p: float
    critical_difference: float


def friedman(scores: Mapping[str, Runs], level: float = LEVEL) -> Ranking | None:
    """Rank methods in every block that all share, and test whether their mean ranks differ.

    The critical difference is `q sqrt(k (k + 1) / (6 N))` for k methods and N blocks, q the studentised range
    for infinitely many degrees of freedom over sqrt 2 (Demsar 2006, equation 6).

    Returns:
        None below three methods or two shared blocks, and where every block is a tie.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    names = list(scores)
    shared = set.intersection(*(set(runs) for runs in scores.values())) if names else set()
    if len(names) < 3 or len(shared) < 2:
        return None
    blocks = sorted(shared, key=str)
    table = np.array([[scores[name][block] for name in names] for block in blocks])
    if (table == table[:, :1]).all():
        return None
    ranks = rankdata(-table, axis=1).mean(axis=0)
    statistic, p = friedmanchisquare(*table.T)
    q = float(studentized_range.ppf(level, len(names), np.inf)) / 2**0.5
    difference = q * (len(names) * (len(names) + 1) / (6 * len(blocks))) ** 0.5
    mean_ranks = dict(zip(names, (float(rank) for rank in ranks), strict=True))
    return Ranking(len(blocks), mean_ranks, float(statistic), float(p), difference)
