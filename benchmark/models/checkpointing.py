"""Gradient checkpointing: a block keeps its input alone and computes again what the gradient needs of it.

transformers has a switch of its own, which does nothing in evaluation mode, in which a frozen backbone stands
throughout; so the blocks are wrapped here, by torch's own checkpoint. Passes that are computed again count as
forward-equivalents like any other pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmark.errors import UserError
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.blocks import find_stacks


def checkpoint_blocks(backbone: LoadedBackbone) -> None:
    """Let every block that a gradient passes through forget what it computed until it is asked for.

    Raises:
        UserError: the backbone has no blocks.
    """
    stacks = find_stacks(backbone.module)
    if not stacks:
        raise UserError(
            f"protocol.gradient_checkpointing: the backbone {type(backbone.module).__name__} has no list of "
            "blocks; the only valid value is false"
        )
    for stack in stacks:
        for block in stack.blocks:
            block.forward = CheckpointedForward(block, backbone)  # type: ignore[method-assign]


class CheckpointedForward:
    """A block's forward pass, computed once more when its gradient is asked for."""

    def __init__(self, block: nn.Module, backbone: LoadedBackbone) -> None:
        """Take the place of the block's own.

        Args:
            block: of the backbone's blocks.
            backbone: counts the passes.
        """
        self.block, self.backbone = block, backbone
        self.whole: Callable[..., Any] = block.forward

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the block makes of states `(n, length, width)`."""
        if not self._has_gradient(hidden_states):
            return self.whole(hidden_states, *args, **kwargs)
        for name in ("past_key_values", "past_key_value"):
            cache = kwargs.get(name)
            # Filled a second time, an empty cache would hold every key twice; nobody reads it in training.
            if cache is not None and not cache.get_seq_length():
                kwargs[name] = None
        region = Region()
        return checkpoint(
            self.whole,
            hidden_states,
            *args,
            use_reentrant=False,
            context_fn=lambda: (entered(region), self._again(region, len(hidden_states))),
            **kwargs,
        )

    def _has_gradient(self, hidden_states: Tensor) -> bool:
        trained = hidden_states.requires_grad or any(p.requires_grad for p in self.block.parameters())
        return torch.is_grad_enabled() and trained

    @contextmanager
    def _again(self, region: Region, rows: int) -> Iterator[None]:
        """The second computation."""
        region.again = True
        self.backbone.passes.add(rows, self.backbone.passes.shares[self.block])
        with entered(region):
            yield


@dataclass
class Region:
    """One pass of one block whose insides are computed twice.

    Attributes:
        again: it is the second time.
        kept: what comes from outside of the block and is asked for within it, by who asks: kept the first
            time, so that the second one finds the same, whatever passes have been made since.
    """

    again: bool = False
    kept: dict[tuple[int, int], Any] = field(default_factory=dict)


_REGIONS: list[Region] = []


@contextmanager
def entered(region: Region) -> Iterator[None]:
    """Within the context `current_region` returns the region."""
    _REGIONS.append(region)
    try:
        yield
    finally:
        _REGIONS.pop()


def current_region() -> Region | None:
    """Return the region that is being computed; None outside of all."""
    return _REGIONS[-1] if _REGIONS else None


def outside_of_regions() -> AbstractContextManager[Any]:
    """Return a context in which tensors are saved for the gradient as outside of any checkpointed block."""
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
