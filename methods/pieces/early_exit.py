"""Answering from the first transformer blocks alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def first_blocks(model: nn.Module, layers: Iterable[str], count: int) -> Iterator[None]:
    """Within the context, let the model run its first `count` blocks and what follows the last one.

    Args:
        layers: dotted names of layers inside the blocks, by which the lists of blocks are found.
    """
    lists = {_list_of(name): model.get_submodule(_list_of(name)) for name in layers}
    try:
        for name, blocks in lists.items():
            assert isinstance(blocks, nn.ModuleList)
            model.set_submodule(name, blocks[:count])
        yield
    finally:
        for name, blocks in lists.items():
            model.set_submodule(name, blocks)


def _list_of(layer: str) -> str:
    """Return the name of the list of blocks that a layer is in: what stands before the block's number."""
    parts = layer.split(".")
    return ".".join(parts[: next(place for place, part in enumerate(parts) if part.isdecimal())])
