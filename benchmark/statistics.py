"""From the numbers of several runs to spreads, intervals, paired tests and tiers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Runs = Mapping[Hashable, float]
"""The score of each run of a method, by what two methods must share to be compared: seed, order, data."""

FEWEST_RUNS = 3
LEVEL = 0.95


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
    rows = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[rows].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """What the shared runs of two methods say about `first - second`.

    Attributes:
        n: number of shared runs.
        difference: mean of the differences, None without a shared run.
        interval: bootstrap interval of that mean, None below two shared runs.
        p: two-sided Wilcoxon signed-rank p-value, None below two shared runs. With n runs it cannot fall
            below 2 ** (1 - n), so it decides nothing below six.
    """

    n: int
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None

    @property
    def distinguishable(self) -> bool:
        """Whether enough runs are shared and the interval leaves out 0."""
        if self.n < FEWEST_RUNS or self.interval is None:
            return False
        low, high = self.interval
        return low > 0 or high < 0


def compare(first: Runs, second: Runs) -> Comparison:
    """Compare two methods on the runs that both have; runs of one alone are not used."""
    shared = [key for key in first if key in second]
    # Sorted by value, so that the order in which runs were read cannot move the interval.
    differences = sorted(float(first[key]) - float(second[key]) for key in shared)
    if not differences:
        return Comparison(0, None, None, None)
    interval = bootstrap_interval(differences)
    return Comparison(len(differences), float(np.mean(differences)), interval, _signed_rank(differences))


def _signed_rank(differences: Sequence[float]) -> float | None:
    if len(differences) < 2:
        return None
    if not any(differences):
        return 1.0  # SciPy drops ties and would have nothing left to rank
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)


def tiers(scores: Mapping[str, Runs], higher_is_better: bool = True) -> dict[str, int | None]:
    """Return the tier of each method, counted from 1.

    The best mean leads the first tier. Every method whose shared runs do not tell it from the leader joins
    it: fewer than `FEWEST_RUNS` of them, or an interval of the mean difference that holds 0. The best of the
    rest leads the next tier, and so on. A method with fewer than `FEWEST_RUNS` runs is not ranked, and nobody
    is where fewer than two methods could be.

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
