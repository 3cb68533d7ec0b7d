"""APER: adapt on the first task, then class means of both models' features (arXiv 2303.07338, IJCV 2024).

Idea: the pretrained model generalises and the adapted one knows the domain. One adapter is trained on the
first task and frozen; the features of the model with and without it are put side by side, each class is
remembered by the mean of its rows' paired features, and a prediction is the class of the highest cosine.
Official repository: zhoudw-zdw/RevisitingCIL.

Trained: the adapter and the head, on the first task alone. Frozen: the backbone, and all from then on.
Stored: one adapter, which is active; one mean of twice the feature's width a class, as auxiliary bytes. Needs
statistics of old classes, these means; neither task id nor old data. The head only trains. A prediction takes
two passes. Works where there is a feature to average: on vectors, images and encoders.

Differences: the adapter is the protocol's LoRA, where the official code has a bottleneck adapter, prompts,
scale-and-shift or the whole model to choose from; the head that trains is the protocol's, not a cosine one.

Published settings (shipped configurations): SGD with a cosine schedule, weight decay 5e-4; with bottleneck
adapters 0.01, 20 epochs, batch 48, on ImageNet-R 0.05 and batch 24 (LAMDA-PILOT: 10 epochs, batch 16).

Defaults that differ from the released program: none but for ImageNet-R, whose learning rate there is 0.05, as
it is for deep prompts on most sets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.method import Context
from benchmark.state import auxiliary
from methods.pieces.feature_classifier import KINDS, NEEDS, NO_SUM, by_means, empty_means, head_of
from methods.pieces.first_task import FirstTaskAdapted


class APER(FirstTaskAdapted):
    """Class means of pretrained and adapted features; see the module."""

    needs = NEEDS
    kinds = KINDS
    own_classifier = True
    no_sum = NO_SUM
    keeps = auxiliary("prototypes")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without classes."""
        super().__init__(context, hyperparameters)
        self.prototypes = empty_means(self, 2 * self.task_model.backbone.width)
        self.classifier = by_means(self, self.prototypes, self.features)

    def features(self, batch: Batch) -> Tensor:
        """Return the pretrained and the adapted feature side by side, `(n, 2 width)`."""
        both = []
        for task in (None, 0):
            with self.through(task):
                both.append(head_of(self).features(batch))
        return torch.cat(both, dim=1)

    def passes(self) -> float:
        """Return two: of the pretrained and of the adapted model."""
        return 2.0


METHOD = APER
