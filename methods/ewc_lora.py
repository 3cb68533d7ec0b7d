"""EWC-LoRA: one adapter, merged per task, held back by Fisher information (arXiv 2602.17559, ICLR 2026).

Idea: elastic weight consolidation slows a weight down in proportion to its Fisher information on old tasks.
Here the information is that of the whole weight matrix and the change is the product B A of one fresh
adapter, so the anchor is zero: the weight already holds the past. After a task the adapter is merged and the
information of the task is added. Official repository: yaoyz96/low-rank-cl.

Trained per task: the adapter and the head rows of the task's classes. Frozen: the backbone. Stored: what has
been merged, as large as the adapted weights and of constant size; the Fisher information is as large again,
as auxiliary bytes. Needs neither task id, old data nor old classes' statistics. Works on every kind of
backbone.

Official code and paper differ; `variant` chooses. The paper (default) merges the product, W + B A. The
released code adds the factors, (B_past + B)(A_past + A), so that from the second merge on the function jumps;
it is offered as `official` and is not the default for that reason. `space=factors` is classical EWC instead:
one adapter is trained on and on, with information and anchor of its two factors.

Follows the code in both variants: the information is the mean over rows of the squared gradient of their
batch's mean loss; the new task's is added to `decay` times the old. Differences: rows are read in order; new
head rows start uniform within sqrt(3 / d) with zero biases, where the code's start as torch's linear layer
does, weights and biases uniform within 1 / sqrt(d).

Defaults that differ from the released program: the merge (`variant=paper`).

Published settings: rank 10 (DomainNet 30) on key and value, Adam with cosine, learning rate 5e-4, of the head
5e-3 (ImageNet-R 5e-4, there with weight decay 5e-3), lambda 1e7, decay 1, batch 128, 20, 50, 10 and 5 epochs
on CIFAR-100, ImageNet-R, ImageNet-A and DomainNet (official code; the paper sweeps lambda from 10 to 1000
under another scaling).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import in_order
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context
from benchmark.space import Between, Space
from benchmark.state import auxiliary
from methods.pieces import fisher


class EWCHyperparameters(LowRankHyperparameters):
    """The weight of the penalty beside the adapter's settings."""

    learning_rate: float = Field(5e-4, gt=0, le=10, description="of the current adapter")
    head_learning_rate: float | None = Field(5e-3, gt=0, le=10, description="of the head; none: the same")
    variant: Literal["official", "paper"] = Field(
        "paper", description="add the factors, or merge the product"
    )
    space: Literal["full", "factors"] = Field("full", description="information of weights, or of the factors")
    penalty: float = Field(1e7, ge=0, description="lambda, the weight of squared change times information")
    decay: float = Field(1.0, ge=0, le=1, description="gamma, what is left of the old information each task")


class EWCLoRA(LowRankMethod):
    """A fresh adapter per task under a Fisher-weighted penalty; see the module.

    Attributes:
        information: by layer `(d_out, d_in)`, or by factor's number for `space=factors`; empty at first.
        anchor: for `space=factors`, the factors as the last task left them.
    """

    Hyperparameters = EWCHyperparameters
    keeps = auxiliary("information", "anchor")
    schedule = "cosine-by-epoch"  # as in the official code
    search: ClassVar[Space] = {"penalty": Between(1e4, 1e8)}

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without information."""
        super().__init__(context, hyperparameters)
        self.information: dict[str, Tensor] = {}
        self.anchor: list[Tensor] = []

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a fresh adapter, or go on with the one adapter of `space=factors`."""
        if self.hyperparameters.space == "factors" and self.stack.current_task is not None:
            self.anchor = self.stack.snapshot()
        else:
            self.stack.add(t)

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus lambda / 2 times the weighted squared change."""
        loss, weight = super().loss(batch), self.hyperparameters.penalty
        return loss + weight / 2 * self.change() if self.information and weight else loss

    def change(self) -> Tensor:
        """Return the sum over entries of information times squared change."""
        if self.hyperparameters.space == "factors":
            moves = [
                (self.information[str(i)] * (factor - start).square()).sum()
                for i, (factor, start) in enumerate(zip(self.stack.parameters(), self.anchor, strict=True))
            ]
            return torch.stack(moves).sum()
        layers = self.stack.layers.items()
        moves = [(self.information[name] * layer.delta("current").square()).sum() for name, layer in layers]
        return torch.stack(moves).sum()

    def end_task(self, t: int, rows: Rows) -> None:
        """Add the task's information, then merge the adapter."""
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        loss = self.task_model.loss
        if self.hyperparameters.space == "factors":
            factors = fisher.of_parameters(loss, self.stack.parameters(), given)
            found = {str(i): value for i, value in enumerate(factors)}
        else:
            found = fisher.of_weights(loss, self.stack, given)
            self._merge()
        decay = self.hyperparameters.decay
        self.information = {
            name: value + decay * self.information[name] if name in self.information else value
            for name, value in found.items()
        }

    def _merge(self) -> None:
        if self.hyperparameters.variant == "paper":
            self.stack.merge_current()
        elif not self.stack.frozen_tasks:
            self.stack.freeze_current()
        else:
            for layer, own in self.stack.current_adapters():
                layer.frozen.lora_A = layer.frozen.lora_A + own.lora_A.detach()
                layer.frozen.lora_B = layer.frozen.lora_B + own.lora_B.detach()
            self.stack.discard_current()

    def adapter_counts(self) -> tuple[int, int]:
        """Return one of one: what is merged counts as one."""
        return 1, 1


METHOD = EWCLoRA
