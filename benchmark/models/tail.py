"""Running a model from the input of one of its blocks on, by the model's own code.

Masks, rotary embeddings and whatever else a model prepares for its blocks stay its own business: its
`forward` runs as ever, but while stored hidden states are being fed, the blocks below answer with what they
were given and the first block above takes the stored states for its input. So one mechanism serves a ViT, a
BERT, a T5's encoder and a Llama, and every caller of the model, a method's own ones included: it only has to
hand on the argument `prefix`, which the batch holds among its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.models.blocks import Stack

PREFIX = "prefix"


class _Reached(Exception):
    """Ends a forward pass at the block whose input was asked for."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class Tail:
    """The blocks of a model from number `first` on.

    Attributes:
        below: the blocks that do not run while states are being fed.
        hidden: the states `(n, length, width)` being fed; None where the model runs as a whole.
    """

    def __init__(self, module: nn.Module, stack: Stack, first: int) -> None:
        """Hook the model; without states to feed nothing changes.

        Args:
            module: the whole model.
            stack: the list of blocks that reads the input.
            first: number of the first block that runs, at least 1.
        """
        self.module, self.stack, self.first = module, stack, first
        self.hidden: Tensor | None = None
        self._stopping = False
        module.register_forward_pre_hook(self._take, with_kwargs=True)
        module.register_forward_hook(self._done, always_call=True)
        self.below = list(stack.blocks)[:first]
        for number, block in enumerate(self.below):
            self._pass_through(block, number)
        stack.blocks[first].register_forward_pre_hook(self._enter, with_kwargs=True)

    def _take(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if PREFIX in kwargs:
            kwargs = dict(kwargs)
            self.hidden = kwargs.pop(PREFIX)
        return args, kwargs

    def _done(self, module: nn.Module, args: Any, output: Any) -> None:
        self.hidden = None

    @contextmanager
    def feeding(self, hidden: Tensor | None) -> Iterator[None]:
        """Within the context feed these states to a part of the model that is called by itself."""
        self.hidden = hidden
        try:
            yield
        finally:
            self.hidden = None

    def _pass_through(self, block: nn.Module, number: int) -> None:
        whole = block.forward

        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.hidden is None:
                return whole(hidden_states, *args, **kwargs)
            if _shares_position_bias(self.stack.blocks[0]):
                # The first block makes the bias that all later ones are handed.
                given = args[1] if len(args) > 1 else kwargs.get("position_bias")
                return hidden_states, _position_bias(block, hidden_states) if number == 0 else given, None
            return hidden_states

        block.forward = forward  # type: ignore[method-assign]

    def stands_still(self, block: nn.Module) -> bool:
        """Whether a block hands on what it is given, as those below do while states are being fed."""
        return self.hidden is not None and any(block is below for below in self.below)

    def _enter(
        self, block: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]] | None:
        given = args[0] if args else kwargs["hidden_states"]
        if self._stopping:
            raise _Reached(given)
        if self.hidden is None:
            return None
        hidden = self.hidden.to(given.dtype)
        if hidden.shape != given.shape:
            raise ValueError(
                f"stored states of shape {tuple(hidden.shape)} for tokens of {tuple(given.shape)}"
            )
        return ((hidden, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": hidden})

    @torch.no_grad()
    def input_of_first(self, part: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the states `(n, length, width)` that the first block of the tail is given.

        Args:
            part: the model, or the half of it that reads the input.
            inputs: its arguments.
        """
        self._stopping = True
        try:
            part(**inputs)
        except _Reached as reached:
            return reached.hidden.detach()
        finally:
            self._stopping, self.hidden = False, None
        raise ValueError(f"{type(part).__name__} never ran block {self.first} of {self.stack.name}")


def _shares_position_bias(first: nn.Module) -> bool:
    return _attention(first) is not None


def _attention(block: nn.Module) -> Any:
    """Return the attention of a block that makes a relative position bias for all others, as T5's first."""
    for part in block.modules():
        if getattr(part, "has_relative_attention_bias", False):
            return part
    return None


def _position_bias(block: nn.Module, hidden: Tensor) -> Tensor:
    attention = _attention(block)
    length = hidden.shape[1]
    return attention.compute_bias(length, length, device=hidden.device)
