"""RanPAC: ridge regression on a random projection of features (arXiv 2307.02251, NeurIPS 2023).

Idea: a wide random projection with a ReLU makes classes that overlap in the features separable by a linear
rule, and second-order statistics of it decorrelate the class means. The projection's Gram matrix and its
products with the labels add up over tasks exactly, so the classifier is the one that all data together would
give. Official repository: RanPAC/RanPAC.

Trained: an adapter and the head, on the first task alone (`adapt`). Frozen: the backbone, and all from then
on. Stored: one adapter, which is active; as auxiliary bytes the projection (d, M), the Gram matrix (M, M),
the products with the labels and the classifier (M, classes): at M = 10000 far more than any pool of adapters.
Needs these statistics of old classes; neither task id nor old data. The head only trains. Works where there
is a feature: on vectors, images and encoders.

The ridge is chosen among 10^-8 to 10^8 by the squared error on a fifth of the current task's rows, sampled at
random, of the solution for the other four fifths; the classifier is then solved anew over all tasks.
`variant` chooses how a class is scored: `official` (default) by the solution itself, `pilot` by its cosine,
as LAMDA-PILOT's version of the code does.

Differences: the adapter is the protocol's LoRA, where the official code has a bottleneck adapter, prompts or
scale-and-shift; the head that trains is the protocol's, not a cosine one. The published M belongs to features
of width 768; by default M keeps that ratio at other widths. Of ridges of equal error the largest is taken,
and none below the rounding of the stored Gram matrix. Errors and solution are computed in float64, where the
code has float32, as the sums have here.

Published settings, the same for all sets: M 10000; on the first task SGD 0.01 with a cosine schedule, weight
decay 5e-4, batch 48, 20 epochs.

Defaults that differ from the released program: M, which is 10000 for a feature of 768 and in proportion
elsewhere; none where a feature has 768.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import Batch, Rows
from benchmark.lora.layer import exact
from benchmark.method import Context, Phase
from benchmark.state import auxiliary
from methods.pieces.feature_classifier import KINDS, NEEDS, NO_SUM, FeatureClassifier, head_of
from methods.pieces.first_task import FirstTaskAdapted, FirstTaskHyperparameters
from methods.pieces.ridge import choose_ridge, rounding, solution

PUBLISHED_WIDTH, PUBLISHED_FEATURE = 10000, 768


class ProjectionHyperparameters(FirstTaskHyperparameters):
    """The projection beside the adapter's settings."""

    variant: Literal["official", "pilot"] = Field("official", description="scores by products, or by cosines")
    projection: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="M; none: 10000 per 768 of a feature's width",
    )
    adapt: bool = Field(True, description="train an adapter on the first task")


class RanPAC(FirstTaskAdapted):
    """Ridge regression on projected features; see the module.

    Attributes:
        statistics: `projection` (d, M), `gram` (M, M), `products` (M, classes), `weights` (M, classes); empty
            before the first task has ended.
        ridge: chosen at the last task; None after a restart.
    """

    Hyperparameters = ProjectionHyperparameters
    needs = NEEDS
    kinds = KINDS
    own_classifier = True
    no_sum = NO_SUM
    keeps = auxiliary("statistics")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without statistics."""
        super().__init__(context, hyperparameters)
        self.statistics: dict[str, Tensor] = {}
        self.ridge: float | None = None
        self.classifier = FeatureClassifier(self, self.features, self.take, self.scores)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Make the adapter at the first task, where one is wanted."""
        super().begin_task(t, rows)
        if not self.hyperparameters.adapt:
            self.stack.discard_current()

    def phases(self, t: int) -> Iterable[Phase]:
        """Return the first task's phase, where an adapter is wanted."""
        return super().phases(t) if self.hyperparameters.adapt else []

    def features(self, batch: Batch) -> Tensor:
        """Return the adapted features, `(n, width)`."""
        with self.through(0):
            return head_of(self).features(batch)

    def project(self, features: Tensor) -> Tensor:
        """Return the rectified projection of features `(n, width)`, `(n, M)`."""
        return functional.relu(exact(features) @ self.statistics["projection"])

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Add a task's rows to the sums, choose the ridge by them and solve for all classes seen."""
        if not self.statistics:
            self.statistics = self.first_statistics(features)
        classes = len(head_of(self).head)
        # The official code reads rows in random order, which its choice of the ridge relies on.
        order = torch.randperm(len(features)).to(features.device)
        projected = self.project(features[order])
        targets = functional.one_hot(labels[order], classes).to(projected)
        held = self.statistics
        held["gram"] = held["gram"] + projected.t() @ projected
        missing = classes - held["products"].shape[1]
        held["products"] = functional.pad(held["products"], (0, missing)) + projected.t() @ targets
        self.ridge = choose_ridge(projected, targets, rounding(held["gram"]))
        held["weights"] = solution(held["gram"], held["products"], self.ridge)

    def first_statistics(self, features: Tensor) -> dict[str, Tensor]:
        """Sample the projection for features `(n, width)`; return it with empty sums."""
        width = features.shape[1]
        size = self.hyperparameters.projection or round(PUBLISHED_WIDTH * width / PUBLISHED_FEATURE)
        empty = exact(features).new_zeros
        # Sampled on the CPU, so that a seed means the same projection on every device.
        projection = torch.randn(width, size).to(empty(0))
        none = empty(size, 0)
        return {"projection": projection, "gram": empty(size, size), "products": none, "weights": none}

    def scores(self, features: Tensor) -> Tensor:
        """Return the regression's values, or their cosines, `(n, classes)`."""
        projected, weights = self.project(features), self.statistics["weights"]
        if self.hyperparameters.variant == "pilot":
            projected, weights = functional.normalize(projected, dim=1), functional.normalize(weights, dim=0)
        return projected @ weights

    def report(self, t: int) -> dict[str, Any]:
        """Return the chosen ridge."""
        return {"ridge": self.ridge}


METHOD = RanPAC
