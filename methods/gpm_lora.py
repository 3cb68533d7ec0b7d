"""GPM-LoRA: one adapter whose steps stay off old tasks' inputs (gradient projection, arXiv 2103.09762).

Idea: a linear layer's output on old inputs does not change if its weight moves in directions orthogonal to
them. An adapter is two linear layers, so each of its factors has a memory of what entered it: the down factor
of the layer's inputs x, the up factor of A x. Steps are projected off both. The original work is of whole
networks, its official repository sahagobinda/GPM; this is the same rule on one low-rank adapter that is
trained on and on.

Trained per task: the one adapter and the head rows of the task's classes. Frozen: the backbone. Stored: one
adapter; two memories per layer, of at most d_in x d_in and r x r numbers, as auxiliary bytes. Needs neither
task id, old data nor old classes' statistics; each task is read once more after training. Works on every kind
of backbone.

Follows the paper: energies are of the inputs' own singular values, the basis only grows. Differences: what a
whole step has moved is projected and not the gradient alone, which with Adam would not keep it off; the
energy rises evenly towards `last_energy` over the tasks, where the paper adds a constant.

Defaults that differ from the released program: learning rate and optimiser, which there are those of a whole
network (SGD without momentum, 0.01 on CIFAR-100, less where the validation loss stalls); the energy rises
from 0.97 to 1 over the tasks, there by 0.003 a task (in superclasses from 0.98 by 0.001; five datasets 0.965
throughout).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.inputs import in_order, second_moments
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.state import auxiliary
from methods.pieces.subspace_memory import SubspaceMemory
from methods.seq_lora import SequentialLoRA


class ProjectionHyperparameters(LowRankHyperparameters):
    """The memory's settings beside the adapter's."""

    energy: float = Field(0.97, gt=0, le=1, description="share of the inputs' energy to remember, first task")
    last_energy: float = Field(1.0, gt=0, le=1, description="the share approached over the tasks")


class ProjectedLoRA(SequentialLoRA):
    """Sequential LoRA with projected steps.

    Attributes:
        memories: of x for each down factor and of A x for each up factor, in the order of the adapter's
        factors. start: the factors as the task found them.
    """

    Hyperparameters = ProjectionHyperparameters
    keeps = auxiliary("memories")
    reference = False

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start with empty memories."""
        super().__init__(context, hyperparameters)
        sizes = [
            size for layer in self.stack.layers.values() for size in (layer.base.in_features, self.rank(0))
        ]
        example = exact(next(iter(self.stack.layers.values())).like)
        self.memories = [SubspaceMemory.empty(example.new_zeros(size, 0)) for size in sizes]
        self.start: list[Tensor] = []

    def begin_task(self, t: int, rows: Rows) -> None:
        """Note where the adapter starts."""
        super().begin_task(t, rows)
        self.start = self.stack.snapshot()

    def main_phase(self, t: int, groups: list[ParameterGroup], **changes: Any) -> Phase:
        """Keep every step after the first task off the memories."""
        held = {"after_step": self.hold} if t else {}
        return super().main_phase(t, groups, **held | changes)

    @torch.no_grad()
    def hold(self) -> None:
        """Take back what the factors have moved along old inputs."""
        for factor, start, memory in zip(self.stack.parameters(), self.start, self.memories, strict=True):
            moved = exact(factor - start)
            factor.copy_(start + memory.free(moved.t()).t().to(start))

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Remember the directions that entered both factors."""
        chosen = self.hyperparameters
        threshold = chosen.energy + (chosen.last_energy - chosen.energy) * t / self.task_count
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        moments = second_moments(self.task_model.loss, self.stack, given)
        matrices = zip(self.stack.layers, self.stack.lora_a(), strict=True)
        for number, (name, lora_a) in enumerate(matrices):
            # The mean of A x (A x)^T is A times the mean of x x^T times A^T.
            inner = exact(lora_a) @ moments[name] @ exact(lora_a).t()
            for memory, seen in zip(self.memories[2 * number :], (moments[name], inner), strict=False):
                memory.update(seen, threshold, power=1, dual=False)

    def report(self, t: int) -> dict[str, Any]:
        """Return the mean share of free directions of the down and of the up factors."""
        shares = [memory.free_share() for memory in self.memories]
        downs, ups = shares[::2], shares[1::2]
        return {"free_inputs": sum(downs) / len(downs), "free_middle": sum(ups) / len(ups)}


METHOD = ProjectedLoRA
