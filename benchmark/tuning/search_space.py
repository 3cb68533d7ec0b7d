"""Which values of a method's hyper-parameters a search may try, and how one point of them is sampled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.space import Between, Space, Values

if TYPE_CHECKING:
    import optuna

    from benchmark.method import Method

RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""The learning rates that are tried where a method's file names no others."""

DIGITS = 3
"""Significant digits of a sampled number: what is printed is what was tried."""


def space_of(method: type[Method]) -> Space:
    """Return what is searched for a method: its own `search`, and `RATES` where it has a learning rate."""
    rates: dict[str, Values] = {"learning_rate": RATES}
    default = rates if "learning_rate" in method.Hyperparameters.model_fields else {}
    return {**default, **method.search}


def drop_fixed(space: Space, settings: Iterable[str], method: str) -> Space:
    """Return a space without what `key=value` settings fix for the method.

    Raises:
        UserError: nothing is left.
    """
    fixed = {text.partition("=")[0].strip().removeprefix(f"{method}.") for text in settings}
    left = {name: values for name, values in space.items() if name not in fixed}
    if not left:
        reason = "--set fixes all that is searched" if space else "no learning rate, no search stated"
        raise UserError(f"nothing to tune in {method}: {reason} (see: bench list --method {method})")
    return left


def points(space: Space, most: int) -> list[dict[str, Any]] | None:
    """Return every point of a space in the order of its values; None if they are more than `most`."""
    choices = [values for values in space.values() if isinstance(values, tuple)]
    if len(choices) < len(space) or math.prod(len(values) for values in choices) > most:
        return None
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*choices)]


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Return the point that a trial is to try."""
    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Between):
            value = trial.suggest_float(name, values.low, values.high, log=values.log)
            found[name] = float(f"{value:.{DIGITS}g}")
        else:
            found[name] = trial.suggest_categorical(name, values)
    return found


def as_data(space: Space) -> dict[str, Any]:
    """Return a space as JSON: a list of values, or the ends of a span."""
    return {
        name: vars(values) if isinstance(values, Between) else list(values) for name, values in space.items()
    }
