"""Intervals that count both noises of a score: the runs that happened, and the test rows sampled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from benchmark.results import Result
from benchmark.scoring.statistics import LEVEL

Scored = Sequence[np.ndarray]
"""One run: for each task, the score of every test row after the last task, 0 or 1 where it is correctness."""


def row_interval(
    runs: Sequence[Scored], rows: Sequence[Sequence[np.ndarray]] | None = None, level: float = LEVEL
) -> tuple[float, float]:
    """Return the interval of the mean score over runs and test rows: mean -+ t sqrt(v_runs + v_rows).

    A test row stands in the test set of every run: a test set of easy rows makes every run look better, and
    more runs do not average that out. `v_runs = s^2 / n` is the variance of a mean of n runs. `v_rows` is
    that of rows sampled for all runs at once, linearised: with x the score of a row and m its task's mean in
    a run of T tasks and N rows, `sum over rows (sum over runs and tasks (x - m) / (n T N))^2 N / (N - 1)`.
    Degrees of freedom are Satterthwaite's. Those of many rows would make few runs look surer than they are,
    so the interval is never narrower than Student's over the runs alone. A percentile bootstrap of the same
    two levels covers 90 % at three simulated runs and 91 % at five.

    Args:
        runs: one entry a run; for each task an array of the scores of its test rows. Scores may be
            differences of two methods on the same runs and rows. Of one run the interval is over rows alone.
        rows: for each run and task, the number of each test row, the same for the same row in every run, see
            `number_rows`; None where no two runs share a row.
        level: of confidence.

    Raises:
        ValueError: a task has no rows, or numbers of rows do not fit the scores.
    """
    from scipy.stats import t

    numbered = _own_numbers(runs) if rows is None else rows
    variances, over_runs = [(row_variance(runs, numbered), max(_count(numbered) - 1, 1))], 0.0
    means = [np.mean([np.mean(task) for task in scores]) for scores in runs]
    mean, quantile = float(np.mean(means)), (1 + level) / 2
    if len(runs) > 1:
        variances.append((float(np.var(means, ddof=1)) / len(runs), len(runs) - 1))
        over_runs = float(t.ppf(quantile, len(runs) - 1)) * variances[1][0] ** 0.5
    total = sum(value for value, _ in variances)
    if total <= 0:
        return mean, mean
    freedom = total**2 / sum(value**2 / own for value, own in variances)
    reach = max(float(t.ppf(quantile, freedom)) * total**0.5, over_runs)
    return mean - reach, mean + reach


def row_variance(runs: Sequence[Scored], rows: Sequence[Sequence[np.ndarray]]) -> float:
    """Return `v_rows` of `row_interval`, the variance of the mean over rows sampled for all runs at once.

    Raises:
        ValueError: as there.
    """
    count = _count(rows)
    pulls = np.zeros(count)
    for scores, numbers in zip(runs, rows, strict=True):
        if any(len(a) != len(b) or not len(a) for a, b in zip(scores, numbers, strict=True)):
            raise ValueError("each task of each run needs test rows, and a number for each of them")
        for task, own in zip(scores, numbers, strict=True):
            size = len(task)
            share = np.sqrt(size / max(size - 1, 1)) / (len(runs) * len(scores) * size)
            pulls += share * np.bincount(own, weights=task - np.mean(task), minlength=count)
    return float(pulls @ pulls)


def _count(rows: Sequence[Sequence[np.ndarray]]) -> int:
    return 1 + max(int(task.max(initial=0)) for run in rows for task in run)


def number_rows(runs: Sequence[Result]) -> list[list[np.ndarray]]:
    """Return for each run and task a number for each test row, the same for the same row.

    Rows are known by their task and their position in it. A task is known by its classes, their order and
    its number of test rows, whatever it is called, as where a run shows it in another place or domain; where
    tasks of a run share classes, by its name too. Where runs cut classes into tasks in other ways, their
    rows count as different ones.
    """
    named = any(_share_classes(run) for run in runs)
    starts: dict[Hashable, int] = {}
    numbers, following = [], 0
    for run in runs:
        own = []
        for task in run.tasks:
            key = task.name if named else "", tuple(task.classes), task.test
            if key not in starts:
                starts[key], following = following, following + task.test
            own.append(starts[key] + np.arange(task.test))
        numbers.append(own)
    return numbers


def _share_classes(run: Result) -> bool:
    """Return whether two tasks of a run have a class in common, or one states none."""
    classes = [name for task in run.tasks for name in task.classes]
    return len(set(classes)) < len(classes) or not all(task.classes for task in run.tasks)


def row_differences(
    first: Sequence[Result], second: Sequence[Result], task: int | None = None
) -> list[list[np.ndarray]] | None:
    """Return by run and task the scores of the test rows of one result minus those of its partner.

    None where a result does not keep them, or the two were scored on unlike rows.

    Args:
        task: alone; None for all tasks.
    """
    differences = []
    for one, other in zip(first, second, strict=True):
        own = []
        for i in range(len(one.tasks)) if task is None else [task]:
            a, b = one.scores_of_rows(i), other.scores_of_rows(i)
            if a is None or b is None or len(a) != len(b):
                return None
            own.append(np.asarray(a, float) - np.asarray(b, float))
        differences.append(own)
    return differences


def _own_numbers(runs: Sequence[Scored]) -> list[list[np.ndarray]]:
    """Number the rows of every run and task apart from all others."""
    numbered, following = [], 0
    for run in runs:
        own = []
        for task in run:
            own.append(np.arange(following, following + len(task)))
            following += len(task)
        numbered.append(own)
    return numbered
