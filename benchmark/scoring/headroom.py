"""How much room a stream leaves to adapters: joint LoRA beside what the frozen backbone reaches without any.

A stream that a frozen backbone solves cannot tell methods of adapting it apart, and one that nobody can learn
tells nothing. The thresholds are this suite's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmark.scoring.statistics import Runs, compare, spread

SMALLEST_GAP = 0.05
FEWEST_ERRORS = 5
CHANCES = 5
ROUNDING = 1e-9
"""Scores are shares of rows, whose differences in floating point miss a threshold that they meet exactly."""


@dataclass(frozen=True)
class Headroom:
    """What the reference rows of one board reach on the runs that all of them have.

    Attributes:
        chance: the score of guessing, in 0..1.
        frozen: the mean score of each reading of the frozen backbone, in 0..1, the best first.
        joint: the mean score of joint LoRA, in 0..1.
        gap: joint minus the best frozen reading.
        standard_error: of the gap, over paired runs; None below two.
        row_error: of the gap, over test rows sampled for all runs at once; None where rows were not kept.
        n: the runs.
    """

    chance: float
    frozen: Mapping[str, float]
    joint: float
    gap: float
    standard_error: float | None
    n: int
    row_error: float | None = None

    @property
    def best(self) -> str:
        """The name of the best frozen reading."""
        return next(iter(self.frozen))

    @property
    def refusals(self) -> list[str]:
        """In words each rule that is not met; empty where adapters can be compared."""
        broken = []
        if not self._is_wide:
            broken.append(f"the gap is {100 * self.gap:.1f} points, {100 * SMALLEST_GAP:.0f} are needed")
        if self.standard_error is None:
            broken.append(f"{self.n} paired run gives no standard error, two are needed")
        elif self.gap < FEWEST_ERRORS * self.standard_error - ROUNDING:
            errors = self.gap / self.standard_error
            broken.append(f"the gap is {errors:.1f} standard errors, {FEWEST_ERRORS} are needed")
        if not self._is_learned:
            broken.append(f"joint is {self.joint / self.chance:.1f} x chance, {CHANCES} x are needed")
        return broken

    @property
    def is_unsure(self) -> bool:
        """Whether runs too few or too unlike are all that adapters cannot be compared for."""
        return self._is_wide and self._is_learned and bool(self.refusals)

    @property
    def _is_wide(self) -> bool:
        return self.gap >= SMALLEST_GAP - ROUNDING

    @property
    def _is_learned(self) -> bool:
        return self.joint >= CHANCES * self.chance - ROUNDING


def measure_headroom(joint: Runs, frozen: Mapping[str, Runs], chance: float) -> Headroom | None:
    """Return how far joint LoRA stands above the best frozen reading; None where not all share a run.

    Args:
        joint: the score of each run, in 0..1.
        frozen: the same for each reading of the frozen backbone, by name.
        chance: the score of guessing.
    """
    # In one order: a sum in the order of a set differs in its last bit from process to process.
    shared = sorted(frozenset(joint).intersection(*frozen.values()), key=str)
    if not frozen or not shared:
        return None
    means = {name: spread([runs[key] for key in shared])[0] for name, runs in frozen.items()}
    ordered = dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
    here = {key: joint[key] for key in shared}
    found = compare(here, frozen[next(iter(ordered))])
    assert found.difference is not None, "the runs are shared"
    mean = spread(list(here.values()))[0]
    return Headroom(chance, ordered, mean, found.difference, found.standard_error, found.n)


def chance_at_last(classes: Sequence[Collection[str]], all_compete: bool) -> float:
    """Return the score of guessing after the last task, the mean over tasks of 1 / classes to choose from.

    Args:
        classes: of each task, by name; equal names are one class. A task without classes is free text, whose
            chance is 0.
        all_compete: whether the classes of all tasks compete, not only those of the row's own.
    """
    seen = len(set().union(*classes))
    counts = [(seen if all_compete else len(set(own))) if own else 0 for own in classes]
    return sum(1 / count for count in counts if count) / len(counts)
