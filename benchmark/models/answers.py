"""What a prediction was made from, so that one forward pass can be read in several ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """The predictions of a batch of n rows.

    Attributes:
        predictions: one a row, in order.
        features: `(n, d)`, what the classes were told apart by; None where there is no such thing.
        scores: `(n, classes)`, by head column, of which each prediction is the largest; None without any.
    """

    predictions: list[Any]
    features: Tensor | None = None
    scores: Tensor | None = None
