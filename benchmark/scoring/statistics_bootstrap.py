"""Intervals that count both noises of a score: the runs that happened, and the test rows that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchmark.scoring.statistics import LEVEL

RESAMPLES = 1_000

Scored = Sequence[np.ndarray]
"""One run: for each task, the score of every test row after the last task, 0 or 1 where it is correctness."""


def hierarchical_interval(
    runs: Sequence[Scored],
    rows: Sequence[Sequence[np.ndarray]] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the mean score over runs and test rows.

    Each resample has runs with replacement and test rows with replacement. A test row stands in the test
    set of every run, so that one sample of rows is for all runs of a resample: a test set of easy rows makes
    every run look better, and more runs do not average that out.

    Args:
        runs: one entry a run; for each task an array of the scores of its test rows. Scores may be
            differences of two methods on the same runs and rows.
        rows: for each run and task, the number of each test row, the same for the same row in every run; None
            where no two runs share a row: then each run has its own sample.
        level: share of the resampled means inside the interval.
        seed: of the generator, so that the same runs give the same interval.

    Returns:
        None below two runs.

    Raises:
        ValueError: a task has no rows, or numbers of rows do not fit the scores.
    """
    if len(runs) < 2:
        return None
    numbered = _own_numbers(runs) if rows is None else rows
    for scores, numbers in zip(runs, numbered, strict=True):
        if any(len(a) != len(b) or not len(a) for a, b in zip(scores, numbers, strict=True)):
            raise ValueError("each task of each run needs test rows, and a number for each of them")
    count = 1 + max(int(task.max()) for run in numbered for task in run)
    weights = _row_weights(count, resamples, seed)
    means = np.empty((resamples, len(runs)))
    for place, (scores, numbers) in enumerate(zip(runs, numbered, strict=True)):
        means[:, place] = np.mean(
            [_weighted(weights[:, n], s) for s, n in zip(scores, numbers, strict=True)], 0
        )
    drawn = np.random.default_rng([seed, 1]).integers(0, len(runs), size=(resamples, len(runs)))
    found = np.take_along_axis(means, drawn, axis=1).mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def _own_numbers(runs: Sequence[Scored]) -> list[list[np.ndarray]]:
    """Number the rows of every run and task apart from all others."""
    numbered, next_number = [], 0
    for run in runs:
        own = []
        for task in run:
            own.append(np.arange(next_number, next_number + len(task)))
            next_number += len(task)
        numbered.append(own)
    return numbered


def _weighted(weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the mean score of a task in each resample; of one that drew none of its rows, of all."""
    counts = weights.astype(np.float32)
    total = counts.sum(axis=1)
    found = counts @ np.asarray(scores, dtype=np.float32) / np.maximum(total, 1)
    return np.where(total > 0, found, float(np.mean(scores)))


@lru_cache(maxsize=2)
def _row_weights(count: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each of `count` rows is sampled in each resample, `(resamples, count)`.

    Kept, because all rows of a table ask for the same ones.
    """
    drawn = np.random.default_rng([seed, 0])
    weights = np.empty((resamples, count), dtype=np.uint8)  # 100,000 rows take 100 MB
    for resample in range(resamples):
        weights[resample] = np.bincount(drawn.integers(0, count, size=count), minlength=count)
    return weights
