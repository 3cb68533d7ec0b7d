"""One adapted layer: a frozen linear layer with its past pairs stacked and the current one beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class AdaptedLinear(nn.Module):
    """A frozen linear layer with low-rank pairs beside it; made by `AdapterBank`, not by hand."""

    past_down: Tensor
    past_up: Tensor

    def __init__(self, base: nn.Linear, dropout: float) -> None:
        """Wrap a layer; it has no pair until the bank adds one."""
        super().__init__()
        self.base = base
        weight = base.weight
        self.register_buffer("past_down", weight.new_zeros(0, base.in_features), persistent=False)
        self.register_buffer("past_up", weight.new_zeros(base.out_features, 0), persistent=False)
        self.down: nn.Parameter | None = None
        self.up: nn.Parameter | None = None
        self.merged: Tensor | None = None
        self.whole: Tensor | None = None
        self.folded: Tensor | None = None
        self.past_scale: Tensor | None = None
        self.scale: Tensor | float = 1.0
        self.dropout = dropout

    @property
    def weight(self) -> Tensor:
        """The frozen weight, for code that looks at a layer's dtype or shape."""
        return self.base.weight

    @property
    def start(self) -> Tensor:
        """The weight that the pairs are added to: the frozen one with what was merged into it."""
        return self.base.weight if self.whole is None else self.whole

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., d_in)` to `(..., d_out)`."""
        weight = self.start if self.folded is None else self.folded
        y = functional.linear(x, weight, self.base.bias)
        # One mask for past and present, as O-LoRA draws it; predictions, made without gradients, get none.
        x = functional.dropout(x, self.dropout, training=torch.is_grad_enabled())
        if self.folded is None and len(self.past_down):
            middle = functional.linear(x, self.past_down)
            if self.past_scale is not None:
                middle = middle * _by_row(self.past_scale, middle)
            y = _add_product(y, middle, self.past_up)
        if self.down is not None and self.up is not None:
            middle = functional.linear(x, self.down)
            scale = self.scale
            if isinstance(scale, Tensor) and scale.dim():
                scale = _by_row(scale[:, None], middle)
            y = _add_product(y, middle * scale, self.up)
        return y


def _by_row(scale: Tensor, middle: Tensor) -> Tensor:
    """Return scales `(R,)` or, one for each row, `(n, R)`, in a shape that multiplies `(n, ..., R)`."""
    if scale.dim() == 1:
        return scale
    return scale.view(len(scale), *[1] * (middle.dim() - 2), scale.shape[1])


def _add_product(y: Tensor, middle: Tensor, up: Tensor) -> Tensor:
    """Return y + middle up^T in one kernel, for `(..., d_out)` and `(..., R)`."""
    flat = torch.addmm(y.flatten(0, -2), middle.flatten(0, -2), up.t())
    return flat.view(y.shape)
