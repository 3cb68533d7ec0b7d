"""The normalised score: how much of the gap between forgetting freely and learning all at once is closed.

The two ends are reference rows, found by what their results show and not by a name. The floor asks for
nothing: one adapter trained on every task in turn, or the frozen backbone, its head alone trained where it
has one, where that scores higher, since an adapter that collapsed is no floor; the ceiling trained adapters
on all tasks in one go, so that its matrix has a last row alone (a linear probe learns all tasks too, and no
adapter). A share of a gap that is narrow, uncertain, seen in few runs, or has an end that nobody tuned says
little, and is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.publishing.board import LEADING
from benchmark.publishing.collect import Row, is_searched
from benchmark.scoring.statistics import FEWEST_RUNS, spread, student_reach
from benchmark.scoring.statistics_normalised import measure_gap


@dataclass(frozen=True)
class Closed:
    """How much of the gap a row closes.

    Attributes:
        share: 0 at the floor, 1 at the ceiling; it may lie outside.
        interval: 95 % interval over runs, None below `FEWEST_RUNS`.
        n: runs that the row shares with both ends.
    """

    share: float
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Gap:
    """The two ends of one section."""

    floor: Row
    ceiling: Row

    def measure_closed(self, row: Row) -> Closed | None:
        """Return the share of the mean gap that a row closes over shared runs.

        `sum (row - floor) / sum (ceiling - floor)`; None where no run is shared, the gap of the shared runs
        is not above 0, or the row is given the task id and the ends are not.
        """
        if "task_id" in row.needs and row.first.protocol_settings.get("head") != "task-incremental":
            return None
        runs, low, high = (each.runs(LEADING) for each in (row, self.floor, self.ceiling))
        shared = sorted((key for key in runs if key in low and key in high), key=str)
        gained = np.array([runs[key] - low[key] for key in shared])
        possible = np.array([high[key] - low[key] for key in shared])
        if not shared or possible.sum() <= 0:
            return None
        return Closed(float(gained.sum() / possible.sum()), _interval(gained, possible), len(shared))


def find_gap(rows: Sequence[Row]) -> Gap | str:
    """Return the gap of a section, or in words why it has none."""
    references = [row for row in rows if row.first.reference]
    floors, ceilings = [r for r in references if _is_floor(r)], [r for r in references if _is_ceiling(r)]
    for found, what in ((floors, "sequential"), (ceilings, "joint")):
        if len(found) != 1:
            return f"no {what} reference row" if not found else f"several {what} reference rows"
    heads = [row for row in references if _is_frozen(row) and is_searched(row.first)]
    best = max([*floors, *heads], key=lambda row: spread(row.values(LEADING))[0])
    gap = Gap(best, ceilings[0])
    # Runs of a row share how their values were chosen.
    untuned = [row.label for row in (gap.floor, gap.ceiling) if not is_searched(row.first)]
    if untuned:
        return f"not tuned here: {', '.join(untuned)}"
    width = measure_gap(gap.floor.runs(LEADING), gap.ceiling.runs(LEADING))
    return "floor and ceiling share no two runs" if width is None else width.refusal or gap


def _is_floor(row: Row) -> bool:
    counts = [run.parameters for run in row.results]
    one = all(set(count.adapters) == {1} and min(count.trainable) > 0 for count in counts)
    return one and not row.needs


def _is_frozen(row: Row) -> bool:
    frozen = all(max(run.parameters.trainable, default=0) == 0 for run in row.results)
    return frozen and not row.needs and not _learns_at_once(row) and bool(row.values(LEADING))


def _learns_at_once(row: Row) -> bool:
    earlier = [cell for run in row.results for stage in run.matrix[:-1] for cell in stage]
    return bool(earlier) and all(cell is None for cell in earlier) and bool(row.values(LEADING))


def _is_ceiling(row: Row) -> bool:
    return _learns_at_once(row) and all(max(run.parameters.trainable) > 0 for run in row.results)


def _interval(gained: np.ndarray, possible: np.ndarray) -> tuple[float, float] | None:
    """Return Student's interval of a ratio of two sums, linearised at the ratio (the ratio estimator's)."""
    if len(gained) < FEWEST_RUNS:
        return None
    share = gained.sum() / possible.sum()
    deviation = np.std(gained - share * possible, ddof=1) / possible.mean()
    reach = student_reach(len(gained)) * float(deviation)
    return float(share) - reach, float(share) + reach
