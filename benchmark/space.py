"""Which values of hyper-parameters a search may try: a method's own space, and the rule of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


@dataclass(frozen=True)
class Between:
    """Any number from `low` to `high`; with `log` each decade is as likely as the next."""

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty span."""
        if not (self.low > 0 or not self.log) or not self.low < self.high:
            raise ValueError(f"no span: from {self.low:g} to {self.high:g}")


Values = tuple[Any, ...] | Between
"""Values to choose from, or a span of numbers."""
Space = Mapping[str, Values]

Objective = Literal["average_performance", "average_anytime"]
OBJECTIVES: Mapping[str, tuple[str, str]] = {
    "average_performance": ("AP", "average performance"),
    "average_anytime": ("AIA", "average incremental accuracy"),
}
"""What a search may make as high as it can: a metric's name, its short form and its words."""

BY_RULE = "every point once, by the protocol's rule"
"""The sampler of a search that followed a rule, as results name it."""

UNEVEN = 1.2
"""Ratios of neighbouring rates may differ by this factor: 1, 3, 10 are evenly spaced to one digit."""


class SearchRule(BaseModel):
    """The same search for every method: each optimiser with each of its learning rates, on validation rows.

    Where the best rate lies at its end, the grid is extended by its own ratio, at most six times. Momentum of
    SGD is 0.9. A method without a choice of optimisers tries all the rates with its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: dict[Literal["sgd", "adamw"], tuple[float, ...]] = Field(
        min_length=1, description="the learning rates of each optimiser, rising evenly on a log scale"
    )
    orders: tuple[str, ...] = Field(min_length=1, description="orders of the trials, none that is reported")
    seeds: tuple[int, ...] = Field(min_length=1, description="seeds of the trials, none that is reported")
    tasks: int = Field(3, ge=2, description="a trial learns the first so many tasks")
    objective: Objective = Field(
        "average_performance",
        description="on validation rows, after the last of these tasks; average_anytime: the mean of it over "
        "the stages that are scored, of which a method that learns all tasks at once has one",
    )

    @field_validator("rates")
    @classmethod
    def _even_grids(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for optimiser, rates in value.items():
            steps = [b / a for a, b in pairwise(rates) if a > 0]
            if (
                len(steps) < len(rates) - 1
                or not steps
                or min(steps) <= 1
                or max(steps) > UNEVEN * min(steps)
            ):
                raise ValueError(f"two or more rates of {optimiser} that rise evenly on a log scale")
        return value

    @property
    def trials(self) -> int:
        """How many points every method with a choice of optimisers tries, before any extension."""
        return sum(len(rates) for rates in self.rates.values())
