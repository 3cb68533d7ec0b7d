"""A frozen linear layer as a backbone's module: `y = W x` with W = [I 0]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

VISIBLE, INPUTS = 16, 48


def make_module() -> nn.Module:
    """Return the module; its one layer plays the role `projection`."""
    import torch
    from torch import Tensor, nn

    class Projection(nn.Module):
        """One linear layer under the name that adapters look for."""

        def __init__(self) -> None:
            super().__init__()
            self.projection = nn.Linear(INPUTS, VISIBLE, bias=False)
            self.projection.weight = nn.Parameter(torch.eye(VISIBLE, INPUTS))

        def forward(self, x: Tensor) -> Tensor:
            return self.projection(x)

    return Projection()
