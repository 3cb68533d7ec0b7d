"""SLAO: one adapter, averaged into the last after each task from an orthogonal start (arXiv 2512.23017).

Idea: a new task starts from the last one's directions, made orthonormal, and its coefficients. What has been
learned is kept in a second, merged adapter: its down factor is the newest, its up factor moves towards the
new one by 1/sqrt(i) at task i, so later tasks change it less. No official code was found; this is written
from descriptions of the paper.

Trained per task: the adapter and the head rows of the task's classes. Frozen: the backbone. Stored: the
merged adapter, which alone answers, and the last fine-tuned one. Needs neither task id, old data nor
statistics. Works on every kind of backbone.

The published hyper-parameters could not be read in the paper itself, so none are quoted; the default learning
rate follows a third party's notes and is unconfirmed.

Defaults that differ from the released program: there is none; the learning rate is unconfirmed.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context
from benchmark.state import stored


class SLAOHyperparameters(LowRankHyperparameters):
    """The adapter's settings."""

    learning_rate: float = Field(1e-4, gt=0, le=10, description="of the adapter")


class SLAO(LowRankMethod):
    """One merged adapter in the stack while predicting, the fine-tuned one while training.

    Attributes:
        merged: the merged adapter's factors while a task is being learned, down and up by layer; else empty.
        last: the last fine-tuned adapter's factors between tasks.
    """

    Hyperparameters = SLAOHyperparameters
    keeps = stored("last", in_memory=False)

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without an adapter."""
        super().__init__(context, hyperparameters)
        self.last: list[Tensor] = []
        self.merged: list[Tensor] = []

    def begin_task(self, t: int, rows: Rows) -> None:
        """Put the merged adapter aside and start from the last one's orthonormal directions."""
        self.merged = self.stack.snapshot()
        self.stack.discard_current()
        self.stack.add(t)
        for (_, own), last_a, last_b in zip(
            self.stack.current_adapters(), self.last[::2], self.last[1::2], strict=False
        ):
            own.lora_A.data.copy_(orthonormal(last_a))
            own.lora_B.data.copy_(last_b)

    def end_task(self, t: int, rows: Rows) -> None:
        """Merge the fine-tuned adapter and let the merged one answer."""
        self.last = self.stack.snapshot()
        for lora_b, merged in zip(self.stack.lora_b(), self.merged[1::2], strict=False):
            # Of the first task nothing is merged yet: its adapter is the merged one.
            lora_b.data.copy_(merged + (lora_b.data - merged) / (t + 1) ** 0.5)
        self.merged = []


def orthonormal(down: Tensor) -> Tensor:
    """Return orthonormal rows (r, d) that span those of a down factor; R's diagonal is made positive."""
    directions, triangle = torch.linalg.qr(exact(down).t())
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(directions)
    return (directions * signs).t().to(down)


METHOD = SLAO
