"""Which values of a method's hyper-parameters a search may try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
