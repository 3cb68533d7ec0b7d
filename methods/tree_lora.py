"""TreeLoRA: one adapter, aligned layer by layer with earlier tasks found by a tree (arXiv 2506.10355, ICML).

Idea: tasks that are alike should move a layer alike. The mean down factor of every task is kept; at each step
and layer one earlier task is sampled, by a bandit over distances and a binary tree of the tasks, and the loss
rewards alignment with its factor. The search is what saves the cost of comparing with all of them. Official
repository: ZinYY/TreeLoRA.

Trained per task: the one adapter and the head rows of the task's classes. Frozen: the backbone. Stored: one
adapter; every task's mean down factors, as auxiliary bytes, half an adapter a task. Needs neither task id,
old data nor old classes' statistics. Works on every kind of backbone; the cost of a step does not grow with
the tasks.

Follows the official code where it differs from the paper, which speaks of gradients: what is averaged and
compared are the down factors' values; the mean is of a task's last epoch and too large by the number of
layers, since it is added once per layer; the search raises the probability of more distant tasks; the term is
scaled to `alignment` times the loss, from 0 at an epoch's first step almost to 1 times that at its last, so
it raises the size of the alignment whatever its sign. There is no variant for the paper: a reward for aligned
gradients would need second derivatives, which the released code does not take.

Differences: an alignment near zero, by which the code divides, is kept 1e-5 away from it on its own side;
layers of unequal width are filled up with zeros; the learning rate follows a cosine by epoch, not by step.

Published settings: lambda 0.5, learning rate 1e-4 with cosine, batch 32 (4 devices of 8 rows by
accumulation), TRACE epochs 2, 1, 3, 2, 1, 2, 2, 3 (official scripts).

Defaults that differ from the released program: Adam's betas 0.9 and 0.999 (there 0.9 and 0.95) and no
gradient clip (there 1, from its DeepSpeed settings; here `--set protocol.gradient_clip=1`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmark import initialisation
from benchmark.data.batches import Batch, Rows
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context
from benchmark.state import auxiliary
from methods.pieces import task_tree
from methods.pieces.task_tree import TaskTree
from methods.seq_lora import SequentialLoRA


class TreeHyperparameters(LowRankHyperparameters):
    """The alignment's weight beside the adapter's settings."""

    learning_rate: float = Field(1e-4, gt=0, le=10, description="of the adapter")
    alignment: float = Field(0.5, ge=0, le=1, description="lambda, the term's share of the loss it rises to")


class TreeLoRA(SequentialLoRA):
    """Sequential LoRA with an alignment term; see the module.

    Attributes:
        means: `(tasks, layers, n)`, the down factors of each earlier task, averaged and flattened.
        tree: of the earlier tasks.
        running: `(layers, n)`, the current epoch's part of the current task's mean.
        rounds: steps of an epoch.
        round: steps of the current epoch that are over.
        distances: `(tasks, layers)`, summed over the epoch's samples of a task in a layer.
        draws: `(tasks, layers)`, how often.
    """

    Hyperparameters = TreeHyperparameters
    keeps = auxiliary("means")
    schedule = "cosine-by-epoch"  # as in the official code
    whole_batches = True
    reference = False

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without earlier tasks."""
        super().__init__(context, hyperparameters)
        self.means: Tensor | None = None
        self.tree = TaskTree([])
        self.rounds = 1

    def begin_task(self, t: int, rows: Rows) -> None:
        """Arrange the earlier tasks in a tree."""
        super().begin_task(t, rows)
        if self.means is None:
            self.means = self.flat_downs().new_zeros(0, *self.flat_downs().shape)
        self.tree = task_tree.build(self.means)
        self.rounds = math.ceil(len(rows) / self.protocol.batch_size)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        assert self.means is not None
        self.round = 0
        self.running = self.means.new_zeros(self.means.shape[1:])
        self.distances = self.means.new_zeros(self.means.shape[:2])
        self.draws = torch.zeros_like(self.distances)

    def flat_downs(self) -> Tensor:
        """Return the down factors `(layers, n)` with their gradient."""
        downs = [exact(lora_a).flatten() for lora_a in self.stack.lora_a()]
        return pad_sequence(downs, batch_first=True)

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss less the scaled alignment with the sampled tasks."""
        assert self.means is not None
        if self.round == self.rounds:
            self._begin_epoch()
        loss, downs = super().loss(batch), self.flat_downs()
        self.running += len(downs) / self.rounds * downs.detach()
        if len(self.means):
            drawn = self.draw()
            weight = self.hyperparameters.alignment * self.round / self.rounds
            loss = loss - weight * loss.detach() * in_units((downs * self.chosen(drawn)).sum())
        self.round += 1
        return loss

    def chosen(self, drawn: Tensor) -> Tensor:
        """Return, of the task sampled for each layer, that layer's mean, `(layers, n)`."""
        assert self.means is not None
        return self.means[drawn, torch.arange(len(drawn), device=drawn.device)]

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Sample one earlier task for each layer, `(layers,)`, and note how far it is."""
        drawn = initialisation.one_of(self.probabilities().t())
        layers = torch.arange(len(drawn), device=drawn.device)
        self.draws[drawn, layers] += 1
        self.distances[drawn, layers] += (self.running - self.chosen(drawn)).abs().sum(1)
        return drawn

    def probabilities(self) -> Tensor:
        """Return each task's probability in each layer, `(tasks, layers)`; enters the tree at random."""
        # The bound is lower on similarity, the negative distance, and thus upper on distance.
        width = math.sqrt(math.log(2 * self.rounds * (self.round + 1) * (self.round + 2)))
        bounds = self.distances / self.draws.clamp(min=1) + width / (2 * self.draws + 1e-5).sqrt()
        bounds = bounds + bounds.min()
        first = int(initialisation.one_of(bounds.sum(1).softmax(0)))
        group = self.tree.child_with(first)
        if group is not None and group.median is not None:
            bounds[group.tasks] *= min(group.median, 1.5)
        return (bounds / (bounds.max() - bounds.min() + 1e-5)).softmax(0)

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the mean of the last epoch."""
        assert self.means is not None
        self.means = torch.cat([self.means, self.running[None]])

    def report(self, t: int) -> dict[str, Any]:
        """Return the share of the last epoch's samples that each earlier task got."""
        return {"drawn": (self.draws.sum(1) / self.draws.sum().clamp(min=1)).tolist()}


def in_units(value: Tensor) -> Tensor:
    """Return a number over its own size, with the gradient of the number alone: 1 whatever its sign."""
    size = value.detach()
    return value / torch.where(size < 0, size - 1e-5, size + 1e-5)


METHOD = TreeLoRA
