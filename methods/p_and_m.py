"""P&M: train with perturbed steps, merge by a closed-form share (arXiv 2505.22389, NeurIPS 2025).

Idea: a task is learned from the merged model, and only a share of its change is added, the one that a
second-order view of all tasks' losses says is best. While training the adapter is made larger or smaller at
random, which penalises curvature along the change and so makes merging hurt less. The paper names
qhmiao/P-M-for-Continual-Learning as its repository; the code could not be read.

Trained per task: the adapter and the head rows of the task's classes. Frozen: the backbone and all earlier
adapters. Stored: T adapters, scaled by their shares; their sum, merged into the weights, answers and is
exported exactly. As auxiliary bytes two sums over tasks as large as the adapted weights: the Fisher
information and its product with each task's solution. Needs neither task id, old data nor old classes'
statistics; each task is read once after training. Works on every kind of backbone.

With solutions theta_i, information F_i, the merged model m and the change D = theta_t - m, the share is

    a = (sum F_t D^2 - sum_(i<t) F_i (m - theta_i) D) / sum_(i<=t) F_i D^2,

held in 0 to 1: the minimum over a of the sum over tasks of (m + a D - theta_i)^2 F_i / 2. The sums over
earlier tasks need only the sum of F_i and that of F_i theta_i, so their number does not matter.

Differences: information is the mean over rows of the squared gradient of their batch's mean loss, of adapted
weights alone. Written from descriptions of the paper, whose settings could not be read in the paper itself
and are therefore not quoted; the perturbation's size and the learning rate follow a third party's notes and
are unconfirmed.

Defaults that differ from the released program: not known, since it could not be read; learning rate and
perturbation are unconfirmed.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import in_order
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context
from benchmark.state import auxiliary, learned
from methods.pieces import fisher
from methods.pieces.merging import Change, current_change


class PerturbHyperparameters(LowRankHyperparameters):
    """The perturbation beside the adapter's settings."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    perturbation: float = Field(0.5, ge=0, lt=1, description="share by which a step's adapter is scaled")


class PerturbAndMerge(LowRankMethod):
    """Adapters that are summed by closed-form shares; see the module.

    Attributes:
        information: the sum of the tasks' Fisher information, by layer `(d_out, d_in)`; empty at first.
        solutions: the sum of information times the change of each task's solution from the pretrained model.
        perturbed: factor of the current adapter for the step at hand.
    """

    Hyperparameters = PerturbHyperparameters
    keeps = learned("stack", in_memory=False) + auxiliary("information", "solutions")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without information; let the perturbation scale the current adapter."""
        super().__init__(context, hyperparameters)
        self.information: Change = {}
        self.solutions: Change = {}
        self.share: float = 1.0
        self.perturbed = 1.0
        self.stack.learned_scales = lambda: (None, self._current_scales())

    def _current_scales(self) -> Tensor:
        return torch.full((len(self.stack.layers),), self.perturbed, device=self.task_model.device)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter on the merged model."""
        super().begin_task(t, rows)
        if self.protocol.dropout == 0:
            # The past's scales are fixed, though the current adapter's are not.
            self.stack.merge_frozen()

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss with the adapter as it is, larger or smaller, one third of the time each."""
        size = self.hyperparameters.perturbation
        self.perturbed = 1.0 + (0.0, size, -size)[int(torch.randint(3, ()))]
        loss = super().loss(batch)
        self.perturbed = 1.0
        return loss

    def end_task(self, t: int, rows: Rows) -> None:
        """Find the share of the change that all tasks together want, and keep that much of the adapter."""
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        information = fisher.of_weights(self.task_model.loss, self.stack, given)
        merged, change = self.merged(), current_change(self.stack)
        self.share = best_share(change, information, merged, self.information, self.solutions)
        for name, value in information.items():
            solution = value * (merged[name] + change[name])
            first = name not in self.information
            self.information[name] = value if first else self.information[name] + value
            self.solutions[name] = solution if first else self.solutions[name] + solution
        for lora_b in self.stack.lora_b():
            lora_b.data.mul_(self.share)

    def merged(self) -> Change:
        """Return what earlier tasks have changed, by layer, in float32 or float64."""
        return {name: layer.delta("frozen") for name, layer in self.stack.layers.items()}

    def adapter_counts(self) -> tuple[int, int]:
        """Return all adapters, and that one change answers, which needs no room in the weights."""
        return self.stack.count(), 1

    def report(self, t: int) -> dict[str, Any]:
        """Return the share of the task's change that was added."""
        return {"share": self.share}


def best_share(
    change: Change, information: Change, merged: Change, earlier: Change, solutions: Change
) -> float:
    """Return the share in 0..1 of a change that the tasks' losses want together; 1 where none matters.

    Args:
        change: D, from the merged model to the new solution, by layer.
        merged: the merged model's change from the pretrained one.
        earlier: the sum of the earlier tasks' information; empty at the first task.
        solutions: the sum of their information times the change of their solution from the pretrained model.
    """
    wanted = curvature = 0.0
    for name, step in change.items():
        own = float((information[name] * step.square()).sum())
        wanted, curvature = wanted + own, curvature + own
        if earlier:
            pull = earlier[name] * merged[name] - solutions[name]
            wanted -= float((pull * step).sum())
            curvature += float((earlier[name] * step.square()).sum())
    return min(max(wanted / curvature, 0.0), 1.0) if curvature > 0 else 1.0


METHOD = PerturbAndMerge
