"""LoRA-DRS: new adapters move where the model without old ones sees a task (arXiv 2503.18985, CVPR 2025).

Idea: old adapters are subtracted from the pretrained weight, W - sum B_j A_j, and the new task's inputs are
measured in that model, which knows less of the old tasks than the untouched one. Steps of the new adapter are
projected on the leading directions of these inputs, the drift-resistant space, so that features of old
classes stay and their means stay valid. That leaves room for a triplet loss that keeps new classes off each
other and off the old means. Official repository: scarlet0703/LoRA-Sub-DRS, read in a copy that holds the
authors' own commits (DngBack/LoRA-Sub-DRS at 836ad29), and in LibContinual's port of it.

Trained per task: the new adapter and the head rows of the task's classes. Frozen: the backbone and all
earlier adapters. Stored: T adapters, all active; one mean feature a class, as auxiliary bytes. Needs
statistics of old classes, neither task id nor old data; each task is read once before and once after
training. A prediction is the class whose mean is nearest in angle; the head only trains. Works where there is
a head: on vectors, images and encoders. A model that answers with text has no class means.

Paper and official code differ; `variant` chooses. `official` (default) projects what Adam's step has moved
and divides it by the length of the projection, the root of its rank, a smaller learning rate in effect.
`paper` projects the gradient, undivided. Either projects the up factor's columns too, on the directions of
the inputs, which exist for it where a layer is square only; elsewhere it is left alone.

Differences: the loss of the head is the protocol's; padded tokens do not count as inputs; an up factor starts
at zero, where the code's has one small entry in each column; means of a class that comes again are of all its
rows.

Published settings (shipped configurations): rank 10 on key and value, Adam 5e-4, which falls by epoch along a
quarter of a cosine to 1.6 %, batch 128, energy 0.99; CIFAR-100: 20 epochs, head 2e-3, margin 1, weight 0.05;
ImageNet-R: 50 epochs (first task 40), head 5e-4, margin 2, weight 0.2.

Defaults that differ from the released program: none for CIFAR-100; ImageNet-R has head rate 5e-4, margin 2
and weight 0.2.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import read_in_order, second_moments
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.state import auxiliary
from methods.pieces.feature_classifier import KINDS, NEEDS, NO_SUM, by_means, empty_means, head_of
from methods.pieces.prototypes import augmented_triplet
from methods.pieces.subspace_memory import energies


class SubtractionHyperparameters(LowRankHyperparameters):
    """The space and the triplet loss beside the adapter's settings."""

    learning_rate: float = Field(5e-4, gt=0, le=10, description="of the current adapter")
    head_learning_rate: float | None = Field(2e-3, gt=0, le=10, description="of the head; none: the same")
    variant: Literal["official", "paper"] = Field("official", description="project the step, or the gradient")
    energy: float = Field(0.99, gt=0, le=1, description="share of the inputs' energy that spans the space")
    margin: float = Field(1.0, ge=0, le=10, description="by which negatives are to be farther than positives")
    triplet: float = Field(0.05, ge=0, le=100, description="lambda, the weight of the triplet loss")


class DriftResistantLoRA(LowRankMethod):
    """An adapter per task inside the drift-resistant space; see the module.

    Attributes:
        spaces: an orthonormal basis `(d_in, k)` for each layer, in order; none at the first task.
        before: the factors as the last step found them.
    """

    Hyperparameters = SubtractionHyperparameters
    needs = NEEDS
    kinds = KINDS
    whole_batches = True
    own_classifier = True
    no_sum = NO_SUM
    schedule = "quarter-cosine-by-epoch"  # as in the official code
    keeps = auxiliary("prototypes")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without classes."""
        super().__init__(context, hyperparameters)
        self.spaces: list[Tensor] = []
        self.before: list[Tensor] = []
        self.prototypes = empty_means(self)
        self.classifier = by_means(self, self.prototypes)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Find the task's drift-resistant space, then start an adapter."""
        self.stack.freeze_current()
        if self.stack.frozen_tasks:
            energy = self.hyperparameters.energy
            moments = self.moments_without_past(rows)
            self.spaces = [leading(moments[name], energy) for name in self.stack.layers]
        super().begin_task(t, rows)

    def moments_without_past(self, rows: Rows) -> dict[str, Tensor]:
        """Return the second moments of each layer's inputs while the old adapters are subtracted."""
        self.stack.unmerge()
        signs = -torch.ones(
            len(self.stack.layers), len(self.stack.frozen_tasks), device=self.task_model.device
        )
        self.stack.learned_scales = lambda: (signs, None)
        try:
            given = read_in_order(rows, self.protocol.batch_size, self.task_model.device)
            return second_moments(self.task_model.loss, self.stack, given)
        finally:
            self.stack.learned_scales = None

    def main_phase(self, t: int, groups: list[ParameterGroup], **changes: Any) -> Phase:
        """Keep the steps in the space once there is one."""
        settings: dict[str, Any] = {}
        if self.spaces and self.hyperparameters.variant == "paper":
            settings["after_backward"] = self.project_gradients
        elif self.spaces:
            settings = {"after_backward": self.note_factors, "after_step": self.project_steps}
        return super().main_phase(t, groups, **settings | changes)

    def loss(self, batch: Batch) -> Tensor:
        """Return the head's loss plus lambda times the triplet loss of unit features."""
        assert batch.labels is not None
        task_model = head_of(self)
        features = task_model.features(batch)
        loss = task_model.cross_entropy(task_model.head(features), batch.labels)
        columns, directions = self.prototypes.directions()
        units = functional.normalize(exact(features), dim=1)
        margin = self.hyperparameters.margin
        apart = augmented_triplet(units, batch.labels, columns, directions, margin)
        return loss + self.hyperparameters.triplet * apart

    def note_factors(self) -> None:
        """Remember where a step starts."""
        self.before = self.stack.snapshot()

    @torch.no_grad()
    def project_steps(self) -> None:
        """Replace what a step has moved by its part in the space over the projection's length."""
        for number, (factor, old) in enumerate(zip(self.stack.parameters(), self.before, strict=True)):
            factor.copy_(old + self.inside(number, factor - old, divide=True))

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Replace gradients by their part in the space."""
        for number, factor in enumerate(self.stack.parameters()):
            if factor.grad is not None:
                factor.grad.copy_(self.inside(number, factor.grad, divide=False))

    def inside(self, number: int, change: Tensor, divide: bool) -> Tensor:
        """Return the part of a factor's change that is in its layer's space.

        Args:
            number: of the factor, in the order of the adapter's parameters.
            change: of a down factor (r, d_in) or of an up factor (d_out, r).
            divide: by the Frobenius norm of the projection, the root of its rank.
        """
        basis, is_down = self.spaces[number // 2], number % 2 == 0
        columns = exact(change.t() if is_down else change)
        if len(columns) != len(basis):
            return change
        part_inside = basis @ (basis.t() @ columns)
        if divide:
            part_inside = part_inside / basis.shape[1] ** 0.5
        return (part_inside.t() if is_down else part_inside).to(change)

    def report(self, t: int) -> dict[str, Any]:
        """Return the mean share of a layer's input directions that steps may take."""
        shares = [basis.shape[1] / len(basis) for basis in self.spaces]
        return {"directions": sum(shares) / len(shares) if shares else 1.0}


def leading(moments: Tensor, energy: float) -> Tensor:
    """Return the fewest leading eigenvectors `(d, k)` that hold a share of the trace, at least one."""
    vectors, values = energies(moments, power=1)
    reached = torch.cumsum(values, 0) / values.sum()
    return vectors[:, : min(int((reached < energy).sum()) + 1, len(values))]


METHOD = DriftResistantLoRA
