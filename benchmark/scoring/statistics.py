"""From the numbers of several runs to spreads, paired differences, and which rows are one and the same."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

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


def student_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Student's test that paired differences have the mean 0, None below two.

    Differences that are all the same are certain: 1 where they are 0, else 0.
    """
    if len(differences) < 2:
        return None
    from scipy.stats import t

    mean, deviation = spread(differences)
    if not deviation:
        return float(mean == 0)
    count = len(differences)
    return float(2 * t.sf(abs(mean) * count**0.5 / deviation, count - 1))


@cache
def student_reach(count: int, level: float = LEVEL) -> float:
    """Return half the width of Student's interval of a mean of `count` values in standard deviations."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, count - 1)) / count**0.5


@dataclass(frozen=True)
class Comparison:
    """What the shared runs of two methods say about `first - second`.

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
        """Student's interval of that mean, None below two shared runs; for one comparison planned before."""
        return student_interval(self.differences)

    @property
    def standard_error(self) -> float | None:
        """Of that mean, None below two shared runs."""
        if self.n < 2:
            return None
        return (spread(self.differences)[1] or 0.0) / self.n**0.5


def compare(first: Runs, second: Runs) -> Comparison:
    """Compare two methods on the runs that both have; runs of one alone are not used."""
    return Comparison(tuple(sorted(float(first[key]) - float(second[key]) for key in first if key in second)))


def common_runs(
    runs: Mapping[str, Iterable[Hashable]], competing: Collection[str] = ()
) -> frozenset[Hashable]:
    """Return the runs that one table stands on: those that fill the largest complete table of scores.

    A candidate is the set of runs of some row. It counts for every row that has all of them, and the one with
    the most rows times runs is taken, of equals the one with more runs; a set that allows no comparison, of
    fewer than `FEWEST_RUNS` runs or held by one row alone, only where all are such. Six rows of ten runs and
    two of three stand on ten (60 scores against 24), and the two are listed apart; one row of ten and seven
    of three stand on three (24 against 10).

    Args:
        competing: rows that are to be compared, whose scores count before those of others: references of ten
            runs do not set two methods of five apart.

    Returns:
        an empty set where no row has a run.
    """
    held = {name: frozenset(each) for name, each in runs.items()}

    def weight(candidate: frozenset[Hashable]) -> tuple[bool, int, int, int, list[str]]:
        rows = [name for name, each in held.items() if candidate <= each]
        size, competitors = len(candidate), sum(name in competing for name in rows)
        comparable = len(rows) > 1 and size >= FEWEST_RUNS
        return comparable, competitors * size, len(rows) * size, size, sorted(map(str, candidate))

    return max(held.values(), key=weight, default=frozenset())


def find_twins(scores: Mapping[str, Mapping[Hashable, Hashable]]) -> list[list[str]]:
    """Return the groups of two and more rows whose scores are equal on every run that they share.

    Args:
        scores: by row and run, everything that was scored; rows without a shared run are no twins.
    """
    groups: list[list[str]] = []
    for name, own in scores.items():
        for group in groups:
            if all(_are_equal(own, scores[other]) for other in group):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _are_equal(first: Mapping[Hashable, Hashable], second: Mapping[Hashable, Hashable]) -> bool:
    shared = first.keys() & second.keys()
    return bool(shared) and all(first[run] == second[run] for run in shared)
