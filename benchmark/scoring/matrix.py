"""A score matrix as an array: what every metric starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Matrix = Sequence[Sequence[float | None]] | Array


def as_array(matrix: Matrix) -> Array:
    """Return the `(T, T)` float array of a matrix, NaN where a cell is None; an array as it is.

    Raises:
        ValueError: there is no task, a row has not T cells, or a score is NaN or infinite.
    """
    if isinstance(matrix, np.ndarray):
        return matrix
    tasks = len(matrix)
    if tasks == 0 or any(len(row) != tasks for row in matrix):
        lengths = [len(row) for row in matrix]
        raise ValueError(f"a score matrix of {tasks} rows needs as many cells a row: {lengths}")
    array = np.array(matrix, dtype=float)  # None becomes NaN
    if np.isfinite(array).sum() + sum(row.count(None) for row in matrix) < array.size:
        raise ValueError("a score is NaN or infinite; a cell that was not measured is None")
    return array


def number(value: float | np.floating) -> float | None:
    """Return a plain float, or None where a missing cell (NaN) went in."""
    return None if math.isnan(value) else float(value)


def mean_of_seen(row: Sequence[float | None], t: int) -> float | None:
    """Return the mean over the tasks learned up to t, from the row that was scored after t."""
    known = [score for score in row[: t + 1] if score is not None]
    return sum(known) / len(known) if known else None
