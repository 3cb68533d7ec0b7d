"""One-sided comparisons that are planned before the runs: not worse by a margin, or better at all.

The mean of paired differences is bounded from below and from above by Student's t, each bound at the level
asked for. Not inferior by a margin: the lower bound lies above minus the margin. Better: it lies above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from benchmark.scoring.statistics import LEVEL, spread

POWER = 0.8
MOST_RUNS = 100_000


@dataclass(frozen=True)
class Bounds:
    """What paired differences say of their mean.

    Attributes:
        n: how many differences.
        mean: of them.
        deviation: of them, divisor n - 1.
        lower: the mean lies above it, at the level asked for.
        upper: the mean lies below it, at the level asked for.
    """

    n: int
    mean: float
    deviation: float
    lower: float
    upper: float


def bound_mean(differences: Sequence[float], level: float = LEVEL) -> Bounds | None:
    """Return the one-sided bounds of a mean, each at `level`; None below two differences."""
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return None
    mean, deviation = spread(differences)
    reach = float(t.ppf(level, n - 1)) * (deviation or 0.0) / sqrt(n)
    return Bounds(n, mean, deviation or 0.0, mean - reach, mean + reach)


def p_above(differences: Sequence[float], threshold: float) -> float | None:
    """Return the p-value of "the mean is at most the threshold" against "it is above", None below two.

    Student's t test, one-sided. Where the differences are all equal it is 0 or 1.
    """
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return None
    mean, deviation = spread(differences)
    if not deviation:
        return 0.0 if mean > threshold else 1.0
    return float(t.sf((mean - threshold) / (deviation / sqrt(n)), n - 1))


def runs_needed(deviation: float, distance: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """Return the fewest runs with which the one-sided t test finds a true distance with the power asked for.

    The test statistic has a noncentral t distribution with n - 1 degrees of freedom and noncentrality
    `distance sqrt(n) / deviation`.

    Args:
        deviation: of the differences, as a pilot has it.
        distance: of the true mean from the threshold; above 0, or nothing can be found.

    Returns:
        at least 2; None where more than `MOST_RUNS` are needed.
    """
    if distance <= 0:
        return None
    if deviation <= 0:
        return 2
    low, high = 1, 2
    while _power(high, distance / deviation, level) < power:
        low, high = high, 2 * high
        if high > MOST_RUNS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(middle, distance / deviation, level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _power(n: int, effect: float, level: float) -> float:
    from scipy.stats import nct, t

    if n < 2:
        return 0.0
    found = float(nct.sf(t.ppf(level, n - 1), n - 1, effect * sqrt(n)))
    # Of large noncentralities SciPy may give no number; there the power is 1 for all purposes.
    return found if found == found and found not in (inf, -inf) else 1.0
