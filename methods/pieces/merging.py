"""Merging: each task's change of the weights is learned alone, and one merged change answers.

A change is dense, the product of an adapter's factors by layer, so that rules that look at single entries see
the entries of the weights and not those of factors, which differ between equal products.

What merging loses where classes of all tasks compete is the head: a head row is trained with its own task's
features, and the merged change then gives all classes others, so rows of different tasks no longer score on
one scale. Classifier alignment (`--set alignment=5`) puts them on one again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.lora.stack import AdapterStack
from benchmark.method import Context
from benchmark.state import Kept, learned, stored

Change = dict[str, Tensor]


class MergeHyperparameters(LowRankHyperparameters):
    """The merged change's size beside the adapter's settings."""

    scale: float = Field(1.0, ge=0, le=100, description="factor of the merged change")


class Merging(LowRankMethod):
    """An adapter for each task, learned from the pretrained model; `merged` says what answers.

    Subclasses say what is kept of an adapter when its task ends.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = MergeHyperparameters
    keeps: ClassVar[tuple[Kept, ...]] = learned("stack", in_memory=False)
    no_sum: ClassVar[str] = "the merged change has full rank"

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter from the pretrained model."""
        self.stack.add(t, self.rank(t))
        self.stack.leave_out_frozen()

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep what merging needs of the adapter, and let the merged change answer."""
        self.keep(t)
        self.answer()

    def keep(self, t: int) -> None:
        """Take the current adapter's change in, and leave no current adapter."""
        raise NotImplementedError

    def merged(self) -> Change:
        """Return the merged change by layer, `(d_out, d_in)`; empty before the first task has ended."""
        raise NotImplementedError

    def answer(self) -> None:
        """Add the scaled merged change to a copy of each frozen weight, which then answers alone."""
        self.stack.unmerge()
        for name, change in self.merged().items():
            layer = self.stack.layers[name]
            weight = layer.merged_weight()
            layer.answer_with(weight + (self.hyperparameters.scale * change).to(weight), beside=("current",))

    def adapter_counts(self) -> tuple[int, int]:
        """Return all adapters, and that one change answers, which needs no room in the weights."""
        return self.stack.count(), 1

    def after_restore(self) -> None:
        """Let the merged change answer."""
        self.answer()

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]] | None:
        """Return None: a merged change is of full rank, but for rules that say otherwise."""
        return None


class AdapterMerging(Merging):
    """Keeps the adapters of all tasks and merges their changes anew after each."""

    def keep(self, t: int) -> None:
        """Freeze the adapter."""
        self.stack.freeze_current()

    def change(self, index: int) -> Change:
        """Return the change of one past task by layer, in float32 or float64."""
        return {
            name: layer.frozen_delta(*self.stack.frozen_adapter(layer, index))
            for name, layer in self.stack.layers.items()
        }


class RunningMerging(Merging):
    """Keeps the merged change alone, which the next task's is merged into.

    Attributes:
        running: the merged change by layer; empty before the first task has ended.
    """

    keeps: ClassVar[tuple[Kept, ...]] = stored("running", in_memory=False)

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without a change."""
        super().__init__(context, hyperparameters)
        self.running: Change = {}

    def merge(self, t: int, change: Change) -> Change:
        """Return the running change with task t's taken in."""
        raise NotImplementedError

    def keep(self, t: int) -> None:
        """Merge the adapter's change and drop the adapter."""
        self.running = self.merge(t, current_change(self.stack))
        self.stack.discard_current()

    def merged(self) -> Change:
        """Return the running change."""
        return self.running

    def adapter_counts(self) -> tuple[int, int]:
        """Return one of one: the merged change."""
        return 1, 1


def current_change(stack: AdapterStack) -> Change:
    """Return the scaled product of the current adapter by layer, in float32 or float64."""
    return {name: layer.delta("current").detach() for name, layer in stack.layers.items()}


def flat(change: Mapping[str, Tensor]) -> Tensor:
    """Return the entries of all layers in one vector."""
    return torch.cat([value.flatten() for value in change.values()])


def unflat(vector: Tensor, like: Mapping[str, Tensor]) -> Change:
    """Return a vector's entries by layer, shaped as those of `like`."""
    pieces = vector.split([value.numel() for value in like.values()])
    return {name: piece.view_as(value) for (name, value), piece in zip(like.items(), pieces, strict=True)}
