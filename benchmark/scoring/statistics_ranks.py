"""Statistics of ranks: exact signed-rank test, Holm's adjustment, Friedman's test, ranks in two halves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from benchmark.scoring.rank_permutation import double_ranks
from benchmark.scoring.statistics import LEVEL, Runs

MOST_EXACT = 50
"""The most differences whose signed-rank test counts every sign; the normal approximation is near above."""
MOST_SPLITS = 200


def signed_rank(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test, None below two differences.

    Zeros are left out and equal sizes share their mean rank (Wilcoxon 1945). The p-value is exact, ties and
    zeros or not: the share of the 2^n signs of these ranks with a sum as small, doubled; above `MOST_EXACT`
    differences SciPy's normal approximation. With n runs it cannot fall below 2^(1 - n).

    Args:
        differences: one a run; those that differ below the twelfth decimal are equal, because means of the
            same counts in another order are not equal to the last bit.
    """
    values = np.round(np.asarray(differences, dtype=float), 12)
    if len(values) < 2:
        return None
    signed = values[values != 0]
    if not len(signed):
        return 1.0  # nothing is left to rank
    if len(signed) > MOST_EXACT:
        from scipy.stats import wilcoxon

        return float(wilcoxon(values, method="asymptotic").pvalue)
    ranks = np.array(double_ranks(np.abs(signed).tolist()))
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
    """Rank methods in every run that all share, and test whether their mean ranks differ.

    The blocks are whole runs: scores of several tasks of one run come from one model and are no blocks.

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


def half_correlation(table: np.ndarray) -> float | None:
    """Return how well the ranking by half of the runs agrees with that by the other half.

    Spearman's correlation of the two columns of mean scores, averaged over the ways to halve the runs: all of
    them, or `MOST_SPLITS` sampled ones, the same each time. 1: the halves agree; 0: the order is noise.

    Args:
        table: `(k, n)` scores of k methods on n runs.

    Returns:
        None below three methods or two runs, and where a half ties all methods.
    """
    from scipy.stats import rankdata

    methods, runs = table.shape
    if methods < 3 or runs < 2:
        return None
    first = np.zeros((min(MOST_SPLITS, comb(runs, runs // 2)), runs), dtype=bool)
    drawn, every = np.random.default_rng(0), combinations(range(runs), runs // 2)
    for split in first:
        all_fit = comb(runs, runs // 2) <= MOST_SPLITS
        split[list(next(every)) if all_fit else drawn.permutation(runs)[: runs // 2]] = True
    halves = [table @ (each.T / each.sum(axis=1)) for each in (first, ~first)]
    ranks = [rankdata(np.round(half, 12), axis=0) for half in halves]
    centred = [each - each.mean(axis=0) for each in ranks]
    norms = np.sqrt((centred[0] ** 2).sum(axis=0) * (centred[1] ** 2).sum(axis=0))
    if (norms == 0).any():
        return None
    return float(((centred[0] * centred[1]).sum(axis=0) / norms).mean())
