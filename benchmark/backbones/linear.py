"""linear: a frozen linear layer that passes the first 16 of 48 coordinates; for synthetic vector streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.models.backbone import Backbone, LoadedBackbone

if TYPE_CHECKING:
    from torch import nn

VISIBLE, INPUTS = 16, 48


def build() -> LoadedBackbone:
    """Return the layer `y = W x` with W = [I 0]: what lies in the other coordinates is lost to it."""
    return LoadedBackbone("vector", make_module(), VISIBLE, origin="linear")


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


BACKBONE = Backbone(kind="vector", licence="Apache-2.0", build=build)
