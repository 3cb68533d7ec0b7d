"""Counts the bytes that autograd keeps of a computation, by the block that kept them, on any device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

OUTSIDE = -1
"""The place of what is kept outside of all blocks."""
PRODUCTS = frozenset(
    {
        *(functional.linear, functional.scaled_dot_product_attention),
        *(torch.matmul, torch.bmm, torch.addmm, Tensor.matmul, Tensor.__matmul__),
    }
)


class Kept:
    """Storages that are kept for the gradient, each once, under the place that was first to keep it.

    Attributes:
        place: number of the block at work, or `OUTSIDE`.
    """

    def __init__(self, known: set[int], blocks: Sequence[nn.Module] = ()) -> None:
        """Start without any.

        Args:
            known: storages, by `_cdata`, that are not counted, such as the weights'.
            blocks: whose passes set the place.
        """
        self.known, self.place = known, OUTSIDE
        self._found: dict[int, tuple[int, Tensor]] = {}
        for number, block in enumerate(blocks):
            block.register_forward_pre_hook(lambda *_, number=number: self._enter(number))
            block.register_forward_hook(lambda *_: self._enter(OUTSIDE))

    def _enter(self, place: int) -> None:
        self.place = place

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor and return it; it is held, so that no other storage takes its place meanwhile."""
        self._found.setdefault(tensor.untyped_storage()._cdata, (self.place, tensor))
        return tensor

    def count(self, loss: Callable[[], Tensor]) -> Counter[int]:
        """Return the bytes that a computation keeps, by place."""
        with torch.autograd.graph.saved_tensors_hooks(self.keep, lambda tensor: tensor):
            loss()
        sizes: Counter[int] = Counter()
        for key, (place, tensor) in self._found.items():
            if key not in self.known:
                sizes[place] += tensor.untyped_storage().nbytes()
        return sizes


class Products(TorchFunctionMode):
    """Within the context products see what they see on a GPU: the meta device knows no autocast."""

    def __init__(self, bf16: bool, keep_inputs: Callable[[Tensor], Tensor] | None = None) -> None:
        """Choose what happens to what a product takes.

        Args:
            bf16: float32 becomes bfloat16 first.
            keep_inputs: gets the input of every linear layer that has a gradient, as LLM.int8 keeps it.
        """
        super().__init__()
        self.bf16, self.keep_inputs = bf16, keep_inputs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, a product with changed arguments."""
        given = kwargs or {}
        if func is functional.linear and self.keep_inputs is not None and args[0].requires_grad:
            self.keep_inputs(args[0])
        if func in PRODUCTS and self.bf16:
            args = tuple(_halve(each) for each in args)
            given = {name: _halve(each) for name, each in given.items()}
        return func(*args, **given)


def _halve(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) and value.dtype == torch.float32 else value
