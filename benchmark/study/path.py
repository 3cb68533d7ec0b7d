"""The path of lambdas: where its values lie, which of them is chosen, and what one run predicts of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.errors import UserError

DIGITS = 3
"""Of a lambda, so that it can be read and typed."""
BEYOND = 1.5
"""The largest lambda over the largest worth: there every gate closes."""


def place_lambdas(worths: Sequence[float], count: int) -> list[float]:
    """Return `count` values of lambda in rising order, the first 0, by what adapters are worth.

    Given the steps, a gate closes where lambda is more than its adapter's worth. The values between are
    quantiles of the worths above 0, at equal shares, so that about as many more adapters go from each to the
    next; the last is `BEYOND` times the largest worth.

    Args:
        worths: in nats, of all adapters that were asked about at lambda 0.

    Raises:
        UserError: fewer values than asked for are left after rounding.
    """
    positive = np.array([worth for worth in worths if worth > 0])
    if not len(positive):
        raise UserError("at lambda 0 no adapter was worth anything: there is nothing for a gate to find")
    shares = np.arange(1, count - 1) / (count - 1)
    inner = np.quantile(positive, shares).tolist()
    rounded = sorted({round_digits(value) for value in [*inner, BEYOND * float(positive.max())]})
    if len(rounded) < count - 1:
        raise UserError(
            f"the worths of {len(positive)} adapters give {len(rounded) + 1} different lambdas, {count} are "
            "asked for; add tuning runs, or ask for fewer values"
        )
    return [0.0, *rounded]


def round_digits(value: float) -> float:
    """Return a number with `DIGITS` digits: 0.012345 gives 0.0123."""
    return float(f"{value:.{DIGITS}g}")


def choose_lambda(
    scores: Mapping[float, Sequence[float]],
    reductions: Mapping[float, Sequence[float]],
    least_reduction: float,
) -> float:
    """Return lambda*: of those that drop at least a share of the adapters, the one of highest mean score.

    Of equal scores the larger reduction decides, then the smaller lambda. Where none drops as many, those
    that drop most are left to choose from.

    Args:
        scores: of each lambda on the tuning runs.
        reductions: of each lambda on the same runs, 0 to 1.
        least_reduction: the share, 0 to 1.
    """
    dropped = {value: float(np.mean(found)) for value, found in reductions.items()}
    asked = min(least_reduction, max(dropped.values())) - 1e-9
    fit = [value for value in scores if dropped[value] >= asked]
    return max(fit, key=lambda value: (np.mean(scores[value]), dropped[value], -value))


def predict_kept(worths: Sequence[float], value: float) -> list[bool]:
    """Return what one run's worths say a lambda keeps, for the tasks after the first."""
    return [worth > value for worth in worths]
