"""Which methods of a table could be the best: one simultaneous procedure on the two-way layout.

A table is an array of k methods (rows) by n runs (columns, the blocks: order and seed), every cell measured.
Scores are read as method + run + noise, so that what a run does to all methods alike costs nothing. The noise
is estimated from all methods together. All functions take arrays of shape `(..., k, n)` and work on each
table, so that thousands of simulated tables are judged at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmark.scoring.statistics import LEVEL

POWER = 0.8


def residual_deviation(tables: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the noise, pooled over methods; (k - 1)(n - 1) degrees of freedom.

    `s^2 = sum (x_ij - mean_i - mean_j + mean)^2 / ((k - 1)(n - 1))`, the residual mean square of the two-way
    analysis of variance without replication. It takes methods to be alike in noise, see `row_deviations`.

    Args:
        tables: `(..., k, n)` scores.

    Returns:
        an array of shape `(...)`, in the unit of the scores.

    Raises:
        ValueError: there are fewer than two methods or two runs, or a cell is missing.
    """
    methods, runs = tables.shape[-2:]
    return np.sqrt((_residuals(tables) ** 2).sum(axis=(-2, -1)) / ((methods - 1) * (runs - 1)))


def row_deviations(tables: np.ndarray) -> np.ndarray:
    """Return each method's own deviation of the noise (Grubbs 1948).

    The expectation of `s_i = sum_j r_ij^2 / (n - 1)`, of k methods with variances v, is
    `(1 - 2 / k) v_i + sum v / k^2`, and that of their sum `(1 - 1 / k) sum v`. So the deviation is the root
    of `(s_i - sum v / k^2) / (1 - 2 / k)`, or 0 where that is below 0. Squares have the pooled one as their
    mean where none is. Where they differ much, the error of `could_be_best` is not what it says: noisy
    methods are left out too readily and steady ones too rarely.

    Returns:
        an array of shape `(..., k)`, in the unit of the scores.

    Raises:
        ValueError: there are fewer than three methods: of two the residuals are the same.
    """
    methods, runs = tables.shape[-2:]
    if methods < 3:
        raise ValueError(f"the noises of single methods are told apart among 3 or more, got {methods}")
    squares = (_residuals(tables) ** 2).sum(axis=-1) / (runs - 1)
    total = squares.sum(axis=-1, keepdims=True) * methods / (methods - 1)
    return np.sqrt(np.maximum(squares - total / methods**2, 0.0) / (1 - 2 / methods))


def _residuals(tables: np.ndarray) -> np.ndarray:
    methods, runs = tables.shape[-2:]
    if methods < 2 or runs < 2 or not np.isfinite(tables).all():
        raise ValueError(
            f"a complete table of 2 methods and 2 runs at least is needed, got {methods} x {runs}"
        )
    centred = tables - tables.mean(axis=-1, keepdims=True)
    return centred - centred.mean(axis=-2, keepdims=True)


@cache
def critical_range(methods: int, runs: int, level: float = LEVEL) -> float:
    """Return Tukey's studentised range for k methods and (k - 1)(n - 1) degrees of freedom."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, methods, (methods - 1) * (runs - 1)))


def critical_difference(tables: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return Tukey's honestly significant difference of two means: `q(level; k, (k-1)(n-1)) s / sqrt(n)`."""
    methods, runs = tables.shape[-2:]
    return critical_range(methods, runs, level) * residual_deviation(tables) / runs**0.5


def could_be_best(tables: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return which methods could be the best: those whose mean is within Tukey's difference of the highest.

    Where methods are alike in noise, with probability `level` none is left out that is as good as the best,
    however many there are and whichever of them are equal (Tukey's intervals of all differences hold at
    once). Hsu's comparison with the best leaves out more, but where several are equally good it may leave out
    some of them.

    Args:
        tables: `(..., k, n)` scores, higher is better.

    Returns:
        booleans of shape `(..., k)`; the highest mean is always among them.
    """
    means = tables.mean(axis=-1)
    behind = means.max(axis=-1, keepdims=True) - means
    # Equal means may differ in their last bits where the noise is exactly 0.
    return behind <= critical_difference(tables, level)[..., None] + 1e-12


@cache
def visible_ratio(methods: int, runs: int, power: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest visible difference in units of the noise, see `smallest_visible`."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    freedom = (methods - 1) * (runs - 1)
    # The studentised range is a range, t a difference of two: they differ by sqrt 2.
    critical = critical_range(methods, runs, level) / 2**0.5

    def missing(shift: float) -> float:
        return float(nct.sf(critical, freedom, shift)) - power

    shift = brentq(missing, 0.0, 2 * critical + 10)
    return float(shift) * (2 / runs) ** 0.5


def smallest_visible(tables: np.ndarray, power: float = POWER, level: float = LEVEL) -> np.ndarray:
    """Return the smallest difference that a table can see.

    A method that is truly this far below the best is left out of `could_be_best` with probability `power` or
    more: the difference d for which a noncentral t with (k - 1)(n - 1) degrees of freedom and noncentrality
    `d / (s sqrt(2 / n))` exceeds Tukey's critical value so often. More often where further methods are near
    the best, since the highest mean is then above the best one's.

    Returns:
        an array of shape `(...)`, in the unit of the scores.
    """
    methods, runs = tables.shape[-2:]
    return visible_ratio(methods, runs, power, level) * residual_deviation(tables)
