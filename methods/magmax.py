"""MagMax: train on and on, keep each weight's change of largest magnitude (arXiv 2407.06322, ECCV 2024).

Idea: one model is fine-tuned on task after task, and after each its change from the pretrained model is
compared with the merged one: at every weight the entry of larger magnitude wins. Fine-tuning in sequence
makes the changes agree in sign, and large entries are the important ones. Official repository:
danielm1405/magmax.

Trained per task: one adapter, on and on, and the head rows of the task's classes. Frozen: the backbone.
Stored: the adapter as it was last trained, which answers nothing, and the merged change, as large as the
adapted weights; both of constant size, since a running maximum needs no earlier change. Needs neither task
id, old data nor old classes' statistics. Works on every kind of backbone. The merged change has full rank, so
there is no peft form.

Follows the official code in that of equal magnitudes the later wins and that the merged change is halved
(`scale`), as its scripts do. Differences: the paper fine-tunes all weights, here it is the product of one
adapter.

Defaults that differ from the released program: learning rate and optimiser, which there are those of all
weights (AdamW 1e-5, weight decay 0.1, a warm-up of 500 steps, then a cosine); no gradient clip (there 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.method import Context
from benchmark.state import stored
from methods.pieces.merging import Change, MergeHyperparameters, RunningMerging


class MaximumHyperparameters(MergeHyperparameters):
    """The merge's settings."""

    scale: float = Field(0.5, ge=0, le=100, description="factor of the merged change")


class MagMax(RunningMerging):
    """A running maximum of the sequential change; see the module.

    Attributes:
        last: the adapter as last trained, down and up by layer; empty before the first task.
    """

    Hyperparameters = MaximumHyperparameters
    keeps = stored("last", in_memory=False)

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without an adapter."""
        super().__init__(context, hyperparameters)
        self.last: list[Tensor] = []

    def begin_task(self, t: int, rows: Rows) -> None:
        """Go on with the adapter as last trained."""
        super().begin_task(t, rows)
        for factor, last in zip(self.stack.parameters(), self.last, strict=False):
            factor.data.copy_(last)

    def keep(self, t: int) -> None:
        """Merge the adapter's change; put the adapter aside."""
        self.last = self.stack.snapshot()
        super().keep(t)

    def merge(self, t: int, change: Change) -> Change:
        """Return at each weight the entry of larger magnitude."""
        return larger(self.running, change) if self.running else change

    def after_restore(self) -> None:
        """Let the merged change answer.

        Raises:
            UserError: the adapter to go on with has another rank.
        """
        super().after_restore()
        if self.last and len(self.last[0]) != self.protocol.rank:
            raise UserError(
                f"the adapter to go on with has rank {len(self.last[0])} and the protocol rank "
                f"{self.protocol.rank}; set it with --set rank={len(self.last[0])}"
            )


def larger(merged: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> Change:
    """Return by layer the entries of larger magnitude; of equal ones those of `change`."""
    return {
        name: torch.where(change[name].abs() >= value.abs(), change[name], value)
        for name, value in merged.items()
    }


METHOD = MagMax
