"""Normalised scores over several boards: which boards may be averaged, and how much each of them decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmark.scoring.statistics import Runs, compare

SMALLEST_GAP = 0.10
FEWEST_ERRORS = 5
FEWEST_RUNS = 5


@dataclass(frozen=True)
class Width:
    """How far the ceiling stands above the floor on their shared runs.

    Attributes:
        mean: of the paired differences, scores in 0..1.
        standard_error: of that mean.
        n: shared runs.
    """

    mean: float
    standard_error: float
    n: int

    @property
    def refusal(self) -> str:
        """In words why no score may be divided by this gap; empty where it may."""
        if self.n < FEWEST_RUNS:
            return f"floor and ceiling share {self.n} runs, {FEWEST_RUNS} are needed"
        if self.mean < SMALLEST_GAP:
            return f"the gap is {100 * self.mean:.1f} points, {100 * SMALLEST_GAP:.0f} are needed"
        if self.mean < FEWEST_ERRORS * self.standard_error:
            errors = self.mean / self.standard_error
            return f"the gap is {errors:.1f} standard errors, {FEWEST_ERRORS} are needed"
        return ""


def measure_gap(floor: Runs, ceiling: Runs) -> Width | None:
    """Return how far the ceiling stands above the floor; None below two shared runs."""
    found = compare(ceiling, floor)
    error, mean = found.standard_error, found.difference
    return None if error is None or mean is None else Width(mean, error, found.n)


@dataclass(frozen=True)
class Summary:
    """The normalised scores of one method on several boards.

    Attributes:
        mean: over boards.
        median: over boards; it does not move with one extreme board.
        low: the lowest mean with one board left out.
        high: the highest such mean.
    """

    mean: float
    median: float
    low: float
    high: float


def summarise(shares: Sequence[float]) -> Summary | None:
    """Return mean, median and the range of the mean when one board is left out; None below two boards."""
    if len(shares) < 2:
        return None
    total, others = sum(shares), len(shares) - 1
    without = [(total - share) / others for share in shares]
    return Summary(total / len(shares), median(shares), min(without), max(without))
