"""Random initial values, sampled on the CPU: a seed means the same numbers whatever device learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def uniform(like: Tensor, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return numbers between `low` and `high`; `like` gives device and number format."""
    return torch.empty(shape, dtype=like.dtype).uniform_(low, high).to(like.device)


def kaiming_uniform(like: Tensor, *shape: int, **gain: Any) -> Tensor:
    """Return a matrix `(outputs, inputs)` as torch's linear layers start.

    Args:
        like: gives device and number format.
        shape: outputs and inputs.
        gain: `a` or `nonlinearity`, as `torch.nn.init.kaiming_uniform_` takes them.
    """
    return nn.init.kaiming_uniform_(torch.empty(shape, dtype=like.dtype), **gain).to(like.device)


def one_of(weights: Tensor) -> Tensor:
    """Return one index a row of `weights` `(..., n)`, sampled with its weights as probabilities."""
    return torch.multinomial(weights.cpu(), 1).squeeze(-1).to(weights.device)
