"""linear: a frozen linear layer that passes the first 16 of 48 coordinates; for synthetic vector streams."""

from __future__ import annotations

from benchmark.models.backbone import Backbone, LoadedBackbone
from benchmark.models.linear import VISIBLE, make_module


def build() -> LoadedBackbone:
    """Return the layer `y = W x` with W = [I 0]: what lies in the other coordinates is lost to it."""
    return LoadedBackbone("vector", make_module(), VISIBLE, origin="linear")


BACKBONE = Backbone(
    kind="vector",
    licence="Apache-2.0",
    build=build,
    weights_hash="5b04d8f66bd2e7b59e2dc88d9338f663c9754f7da5c67ecc50c26e8aee54f5a3",
)
