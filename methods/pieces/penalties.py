"""What a new pair is charged for: overlap with the past, length, density."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark.adapters import AdapterBank
from benchmark.models.adapted_linear import AdaptedLinear


def current_pairs(bank: AdapterBank) -> Iterator[tuple[AdaptedLinear, Tensor, Tensor]]:
    """Yield every adapted layer with its current down (r, d_in) and up (d_out, r)."""
    for layer in bank.layers.values():
        assert layer.down is not None and layer.up is not None
        yield layer, layer.down, layer.up


def overlap(bank: AdapterBank, power: int) -> Tensor:
    """Return sum over layers and entries of |A_past A^T|^power; 0 without a past.

    A_past (R, d_in) are the stacked down factors of all earlier tasks, A (r, d_in) is the current one. The
    past is no parameter, so the gradient reaches the current down factor alone. O-LoRA (arXiv 2310.14152).
    """
    parts = [(layer.past_down @ down.t()).abs().pow(power).sum() for layer, down, _ in current_pairs(bank)]
    return torch.stack(parts).sum()


def factor_length(bank: AdapterBank) -> Tensor:
    """Return sum over layers of |A|_F + |B|_F of the current pair; a zero factor has a zero gradient."""
    # torch's norm has a zero gradient at zero, where the root of a sum of squares would give NaN.
    return torch.stack([down.norm() + up.norm() for _, down, up in current_pairs(bank)]).sum()


def dense_size(down: Tensor, up: Tensor) -> Tensor:
    """Return the sum over entries of |B A| (d_out, d_in): N-LoRA's text (arXiv 2410.10179)."""
    return (up @ down).abs().sum()


def crossed_size(down: Tensor, up: Tensor) -> Tensor:
    """Return the sum over entries of |A B| (r, r): N-LoRA's released code.

    Exists for square layers alone, since A (r, d_in) meets B (d_out, r) on the wrong side.
    """
    return (down @ up).abs().sum()
