"""KeepLoRA: updates read what neither weights nor old tasks rely on (arXiv 2601.19659, ICLR 2026).

Idea: a pretrained weight's leading directions carry general knowledge, the inputs' leading directions what
old tasks have learned. A new adapter's down factor is taken from the task's first gradient, less both; only
the up factor is trained, and the adapter is merged into the weight. Official repository: MaolinLuo/KeepLoRA.

Trained per task: the up factor and the head rows of the task's classes. Frozen: the backbone and the down
factor. Stored: what has been merged, as large as the adapted weights; one basis per layer as auxiliary bytes.
Needs neither task id, old data nor old classes' statistics; each task is read once before and once after
training. Works on every kind of backbone.

Follows the official code's vision part: the down factor's rows are the leading right singular vectors of the
mean gradient off the basis, the up factor starts at zero, so nothing has to be subtracted from the weight.
Differences: the singular value decomposition is exact; rows of the down factor past the rank of the free
gradient are zero, where the code takes what rounding makes of them; a task's directions come from the second
moments of all its inputs, where the code averages its batches token by token before it decomposes them; the
head's new rows are at their random start while the first gradient is taken, where the code's classes have
text embeddings; any linear targets. The code for language models starts the up factor at the gradient's own
and subtracts the product from the weight. As the down factor is frozen, the steps are the same without weight
decay, so this start is not offered.

Published settings: rank 16 on query, key, value and output, AdamW 1e-3 with weight decay 0.01 on one cycle of
the rate, batch 64, 10 epochs; weight energy 0.85 for vision and 0.2 for text, feature energy 0.99.

Defaults that differ from the released program: weight decay 0 (there 0.01), the protocol's schedule (there
one cycle up and down); its text part has weight energy 0.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.inputs import in_order, second_moments
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context, ParameterGroup
from benchmark.state import auxiliary
from methods.pieces import fisher
from methods.pieces.subspace_memory import SubspaceMemory, energies, free_rows


class KeepHyperparameters(LowRankHyperparameters):
    """The basis's settings beside the adapter's."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    weight_energy: float = Field(0.85, ge=0, le=1, description="share of each weight's energy to keep")
    feature_energy: float = Field(0.99, gt=0, le=1, description="share of each task's inputs' energy to keep")


class KeepLoRA(LowRankMethod):
    """A merged adapter per task in the residual subspace; see the module.

    Attributes:
        memories: by layer, the directions of weight and old inputs.
    """

    Hyperparameters = KeepHyperparameters
    keeps = auxiliary("memories")
    reads_weights = True

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start with the leading input directions of the pretrained weights."""
        super().__init__(context, hyperparameters)
        self.memories = {
            name: SubspaceMemory(leading_directions(exact(layer.weight).t(), hyperparameters.weight_energy))
            for name, layer in self.stack.layers.items()
        }

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start an adapter whose down factor follows the task's first gradient in the free directions."""
        self.stack.add(t)
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        gradients = fisher.mean_gradient(self.task_model.loss, self.stack, given)
        for name, lora_a in zip(self.stack.layers, self.stack.lora_a(), strict=True):
            lora_a.data.copy_(free_rows(self.memories[name], exact(gradients[name]).t(), len(lora_a)))

    def groups(self) -> list[ParameterGroup]:
        """Return lora_B and the head; lora_A stays as it was set."""
        adapter, *head = super().groups()
        return [replace(adapter, parameters=self.stack.lora_b()), *head]

    def end_task(self, t: int, rows: Rows) -> None:
        """Merge the adapter and remember the task's inputs."""
        self.stack.merge_current()
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        moments = second_moments(self.task_model.loss, self.stack, given)
        for name, memory in self.memories.items():
            memory.update(moments[name], self.hyperparameters.feature_energy, power=1, dual=False)

    def adapter_counts(self) -> tuple[int, int]:
        """Return one of one: the merged one."""
        return 1, 1

    def report(self, t: int) -> dict[str, Any]:
        """Return the share of each layer's input directions still free, averaged over layers."""
        shares = [memory.free_share() for memory in self.memories.values()]
        return {"free_directions": sum(shares) / len(shares)}


def leading_directions(matrix: Tensor, share: float) -> Tensor:
    """Return the fewest left singular vectors `(d, k)` that hold a share of a matrix's squared norm."""
    left, energy = energies(matrix, 2)
    before = torch.cumsum(energy, 0) - energy
    return left[:, : int((before < share * energy.sum()).sum())]


METHOD = KeepLoRA
