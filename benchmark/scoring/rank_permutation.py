"""Does a number order tasks by what they need? The mean AUC over runs, by exact permutation within runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Counts = dict[Fraction, int]
"""By the value of a statistic: how many of the permutations give it."""


@dataclass(frozen=True)
class AucTest:
    """The AUC of every run that has tasks of both kinds, and what chance would do as well.

    Attributes:
        aucs: of each run: the share of pairs, one of each kind, that stand in order; ties count half.
        p: share of all permutations of the kinds within runs whose mean AUC is at least that found.
    """

    aucs: tuple[float, ...]
    p: float

    @property
    def mean(self) -> float:
        """The mean over runs."""
        return float(np.mean(self.aucs))


def permute_auc(runs: Sequence[tuple[Sequence[bool], Sequence[float]]]) -> AucTest | None:
    """Return the one-sided exact test over runs; None where no run has tasks of both kinds.

    The kinds are permuted within each run, all permutations alike, and independently of other runs.

    Args:
        runs: of each, by task: whether the task is of the kind that should have the larger numbers, and the
            numbers.
    """
    found: list[Fraction] = []
    total: Counts = {Fraction(0): 1}
    for kinds, numbers in runs:
        if len(set(kinds)) < 2:
            continue
        ranks = double_ranks(numbers)
        positive = sum(kinds)
        found.append(_auc(sum(r for r, kind in zip(ranks, kinds, strict=True) if kind), positive, len(kinds)))
        own = {_auc(each, positive, len(kinds)): count for each, count in sums(ranks, positive).items()}
        total = _convolve(total, own)
    if not found:
        return None
    as_large = sum(count for value, count in total.items() if value >= sum(found))
    return AucTest(tuple(map(float, found)), float(Fraction(as_large, sum(total.values()))))


def double_ranks(numbers: Sequence[float]) -> list[int]:
    """Return twice the rank of each number, counted from 1; equal numbers share their mean rank."""
    _, place, counts = np.unique(np.asarray(numbers, dtype=float), return_inverse=True, return_counts=True)
    return [int(rank) for rank in (2 * np.cumsum(counts) - counts + 1)[place]]


def sums(ranks: Sequence[int], size: int) -> dict[int, int]:
    """Return how many of the subsets of `size` ranks have each sum."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(size))]
    for rank in ranks:
        for held in range(size, 0, -1):
            for total, count in ways[held - 1].items():
                ways[held][total + rank] = ways[held].get(total + rank, 0) + count
    return ways[size]


def _auc(doubled: int, positive: int, tasks: int) -> Fraction:
    """Return Mann and Whitney's U over its largest value, of twice the sum of the positive ranks."""
    won = Fraction(doubled, 2) - Fraction(positive * (positive + 1), 2)
    return won / (positive * (tasks - positive))


def _convolve(first: Counts, second: Counts) -> Counts:
    found: Counts = {}
    for a, ways in first.items():
        for b, others in second.items():
            found[a + b] = found.get(a + b, 0) + ways * others
    return found
