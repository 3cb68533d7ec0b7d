"""Two results side by side, task by task: the same test rows answered by both, so that noise is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.scoring.statistics_ranks import signed_rank
from benchmark.scoring.statistics_rows import number_rows, row_differences, row_interval

MEAN = "mean of tasks"


@dataclass(frozen=True)
class TaskPair:
    """The scores of both on one task after the last one, means over the paired runs, in 0..1.

    Attributes:
        interval: 95 % of the difference over runs and test rows; None where the results keep no scores of
            rows.
    """

    task: str
    first: float
    second: float
    interval: tuple[float, float] | None
    rows: int

    @property
    def difference(self) -> float:
        """The first minus the second."""
        return self.first - self.second


@dataclass(frozen=True)
class Pairing:
    """Two results, or two sets of runs, compared.

    Attributes:
        tasks: in the order learned, then their mean.
        runs: pairs of runs with equal order, seed and data.
        p: two-sided exact p of the signed-rank test over the mean differences of runs; None below two runs.
    """

    names: tuple[str, str]
    tasks: tuple[TaskPair, ...]
    runs: int
    p: float | None

    def frame(self) -> pd.DataFrame:
        """Return the table x 100, as texts."""
        rows = [
            {
                "task": each.task,
                self.names[0]: f"{100 * each.first:.1f}",
                self.names[1]: f"{100 * each.second:.1f}",
                "difference": f"{100 * each.difference:+.1f}",
                "95 %": _reach(each.interval),
                "rows": str(each.rows),
            }
            for each in self.tasks
        ]
        return pd.DataFrame(rows)

    def note(self) -> str:
        """Return what stands behind the numbers."""
        runs = "1 pair of runs" if self.runs == 1 else f"{self.runs} pairs of runs"
        over = "test rows" if self.runs == 1 else "runs and test rows"
        test = "" if self.p is None else f" Signed-rank p of the mean, n = {self.runs}: {self.p:.3f}."
        return (
            f"Scores x 100 after the last task, {self.names[0]} minus {self.names[1]}, over {runs} with "
            f"equal order, seed and data. Intervals: paired, over {over}.{test}"
        )


def pair(first: Sequence[Result], second: Sequence[Result], names: tuple[str, str]) -> Pairing:
    """Compare two sets of runs of one stream, each run with its partner of equal order, seed and data.

    Raises:
        UserError: they are of different streams, protocols or tasks, or no two runs go together.
    """
    for what in ("stream", "protocol"):
        found = [sorted({getattr(run, what) for run in runs}) for runs in (first, second)]
        if found[0] != found[1] or len(found[0]) > 1:
            given = " and ".join(", ".join(values) for values in found)
            raise UserError(f"results of one {what} are compared, and these are of {given}")
    partners = {_identity(run): run for run in second}
    pairs = [(run, partners[_identity(run)]) for run in first if _identity(run) in partners]
    if not pairs:
        raise UserError("no two of the runs have equal order, seed and data, so nothing is paired")
    names_of = [[task.name for task in run.tasks] for run, _ in pairs]
    alike = all(names == names_of[0] for names in names_of)
    numbers = number_rows([run for run, _ in pairs])
    tasks = [
        _compare_task(pairs, i, names_of[0][i] if alike else f"task {i + 1}", [[own[i]] for own in numbers])
        for i in range(min(map(len, names_of)))
    ]
    differences = [_mean_of(one) - _mean_of(other) for one, other in pairs]
    everything = TaskPair(
        MEAN,
        float(np.mean([_mean_of(one) for one, _ in pairs])),
        float(np.mean([_mean_of(other) for _, other in pairs])),
        _interval(pairs, numbers),
        sum(task.rows for task in tasks),
    )
    return Pairing(
        names, (*tasks, everything), len(pairs), signed_rank(differences) if len(pairs) > 1 else None
    )


def _identity(run: Result) -> tuple[str, int, str]:
    return run.order, run.seed, run.provenance.data_fingerprint


def _compare_task(
    pairs: Sequence[tuple[Result, Result]], i: int, name: str, numbers: Sequence[Sequence[np.ndarray]]
) -> TaskPair:
    first, second = ([_score(run, i) for run in side] for side in zip(*pairs, strict=True))
    rows = pairs[0][0].tasks[i].test
    return TaskPair(name, float(np.mean(first)), float(np.mean(second)), _interval(pairs, numbers, i), rows)


def _score(run: Result, i: int) -> float:
    score = run.matrix[-1][i]
    if score is None:
        raise UserError(f"{run.name} was not scored on task {i + 1} after the last one")
    return score


def _mean_of(run: Result) -> float:
    return float(np.mean([_score(run, i) for i in range(len(run.tasks))]))


def _interval(
    pairs: Sequence[tuple[Result, Result]], numbers: Sequence[Sequence[np.ndarray]], task: int | None = None
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over runs of the mean over tasks of paired row differences.

    None where the rows of a run were not kept.

    Args:
        numbers: of the rows, see `number_rows`.
        task: alone; None for all tasks.
    """
    first, second = zip(*pairs, strict=True)
    differences = row_differences(first, second, task)
    return None if differences is None else row_interval(differences, numbers)


def _reach(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
