"""What training costs, counted in forward passes of the whole backbone on one row.

The unit is one row through every block of the backbone. A block's share of it is its share of all blocks'
parameters; embeddings, the final norm and the head are not counted. A gradient that flows back through a
block costs twice the block's forward pass. So a plain step on n rows whose lowest adapter lies in block b
of B equal blocks costs n (1 + 2 (B - b + 1) / B): 3 n where all are adapted, n where only the head learns.

Counting hangs on the blocks themselves. Whatever a method sends through them while a task is learned is
counted: teachers, statistics, Fisher information, further phases, passes recomputed by checkpointing. What
does not run is not counted. Blocks below the first that a method changes count once for each row that is
read (`benchmark.models.prefix_cache`), whether their outputs lie in a cache or are computed for every batch.
Longer inputs, as with prompts, and work outside the blocks count nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

BACKWARD = 2.0
"""A gradient through a block over the block's forward pass."""


class PassCounter:
    """Adds up what passes through a backbone's blocks; see the module.

    Attributes:
        total: forward-equivalents so far, in rows.
        shares: each block's share of the backbone.
        stands_still: says of a block that it only hands on what it is given, which costs nothing.
    """

    def __init__(self, module: nn.Module) -> None:
        """Hang on the blocks of a backbone that nothing has been put beside yet."""
        self.total = 0.0
        self.stands_still: Callable[[nn.Module], bool] = lambda block: False
        parts = blocks(module)
        sizes = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
        self.shares = {part: size / sum(sizes) for part, size in zip(parts, sizes, strict=True)}
        for part, share in self.shares.items():
            part.register_forward_hook(_Hook(self, share))

    def add(self, rows: float, share: float = 1.0) -> None:
        """Count `rows` through a `share` of the backbone, forward."""
        self.total += rows * share

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Within the context, count nothing."""
        before = self.total
        try:
            yield
        finally:
            self.total = before

    def __deepcopy__(self, memo: dict[int, Any]) -> PassCounter:
        """Return itself: what passes through a copy of the backbone is counted too."""
        return self


class _Hook:
    """Counts one block's passes, and the gradients that reach its output."""

    def __init__(self, counter: PassCounter, share: float) -> None:
        self.counter, self.share = counter, share

    def __call__(self, block: nn.Module, inputs: Any, output: Any) -> None:
        tensor = _first_tensor(output)
        if tensor is None or self.counter.stands_still(block):
            return
        rows = len(tensor)
        self.counter.add(rows, self.share)
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: self.counter.add(BACKWARD * rows, self.share))


def blocks(module: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: what its outermost module lists hold; the model itself without any."""
    from torch import nn

    found: list[nn.Module] = []

    def look(part: nn.Module) -> None:
        for child in part.children():
            if isinstance(child, nn.ModuleList):
                found.extend(block for block in child if any(True for _ in block.parameters()))
            else:
                look(child)

    look(module)
    return found or [module]


def _first_tensor(output: Any) -> Tensor | None:
    from torch import Tensor

    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output
    return next((value for value in values if isinstance(value, Tensor)), None)
