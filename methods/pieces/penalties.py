"""Penalties on a new adapter: overlap with the past, length, density."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.lora.stack import AdapterStack


def overlap(stack: AdapterStack, power: int) -> Tensor:
    """Return sum over layers and entries of |A_past A^T|^power; 0 without a past.

    A_past (R, d_in) are the stacked lora_A of all earlier tasks, A (r, d_in) is the current one. The
    past is no parameter, so the gradient reaches the current lora_A alone. O-LoRA (arXiv 2310.14152).
    """
    adapters = stack.current_adapters()
    parts = [(layer.frozen.lora_A @ own.lora_A.t()).abs().pow(power).sum() for layer, own in adapters]
    return torch.stack(parts).sum()


def factor_length(stack: AdapterStack) -> Tensor:
    """Return sum over layers of |A|_F + |B|_F of the current adapter; a zero factor has a zero gradient."""
    # torch's norm has a zero gradient at zero, where the root of a sum of squares would give NaN.
    return torch.stack([own.lora_A.norm() + own.lora_B.norm() for _, own in stack.current_adapters()]).sum()


def dense_size(down: Tensor, up: Tensor) -> Tensor:
    """Return the sum over entries of |B A| (d_out, d_in): N-LoRA's text (arXiv 2410.10179)."""
    return (up @ down).abs().sum()


def measure_crossed_size(down: Tensor, up: Tensor) -> Tensor:
    """Return the sum over entries of |A B| (r, r): N-LoRA's released code.

    Exists for square layers alone, since A (r, d_in) meets B (d_out, r) on the wrong side.
    """
    return (down @ up).abs().sum()
