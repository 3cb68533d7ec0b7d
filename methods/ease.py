"""EASE: a feature space per task, old class means completed by likeness (arXiv 2403.12030, CVPR 2024).

Idea: every task gets an adapter of its own, trained from the pretrained model, and so a space in which its
classes are told apart. Each class is remembered by its mean feature in every space. Old classes cannot be
seen in new spaces; there their means are put together from those of newer classes, weighted by how alike old
and newer classes are in the old class's own space. Official repository: sun-hailong/CVPR24-Ease.

Trained per task: the new adapter and the head rows of the task's classes. Frozen: the backbone and all
earlier adapters. Stored: T adapters, all active; of each class the means in the spaces of its own and all
earlier tasks, as auxiliary bytes. Needs statistics of old classes, these means; neither task id nor old data.
The head only trains. A prediction takes T passes. Works where there is a feature: on vectors, images and
encoders.

A class's score is the cosine in its own task's space plus alpha / (T - 1) times those in each other space.
The weights of the completion are the softmax of cosines over all classes of the task whose space is completed
and of later ones, and are made anew after every task, as the official code's default does.

Differences: the adapter is the protocol's LoRA, where the official code has a bottleneck adapter; the head
that trains is the protocol's, not a cosine one; a class that several tasks hold is scored by the best of its
sets of means. The official code's options to add the pretrained space or to leave spaces out are not offered.

Published settings (shipped configurations): SGD with a cosine schedule, 20 epochs, bottleneck 64, batch 16 to
48; rate, weight decay and alpha by set, below.

Defaults that differ from the released program: none for CIFAR-100. ImageNet-R and ImageNet-A have learning
rate 0.05 and weight decay 5e-3; CUB-200 0.005 and alpha 0.005 beside the pretrained space, or 0.008 and 0.05
on weights of ImageNet-21k alone; OmniBenchmark 0.01 with one adapter beside the pretrained space; VTAB 0.03,
5e-3, 45 epochs and bottleneck 16; ObjectNet Adam 0.03 and 5e-3, or SGD 0.05, 25 epochs and alpha 0.2 on
ImageNet-21k's.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import Batch
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context
from benchmark.models.class_means import ClassMeans
from benchmark.state import auxiliary
from methods.pieces.feature_classifier import KINDS, NEEDS, NO_SUM, FeatureClassifier, head_of
from methods.pieces.one_adapter import OneAdapterAtATime
from methods.pieces.prototypes import complete_means


class SubspaceHyperparameters(LowRankHyperparameters):
    """The weight of other spaces beside the adapter's settings."""

    learning_rate: float = Field(0.025, gt=0, le=10, description="of the current adapter")
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on the current adapter and the head")
    alpha: float = Field(0.1, ge=0, le=1, description="weight of the spaces of other tasks, all together")


class EASE(OneAdapterAtATime):
    """Class means in the spaces of all tasks' adapters; see the module.

    Attributes:
        means: by task that has ended, of its classes in the spaces up to its own, `(spaces, classes, width)`.
        columns: by task that has ended, the head columns of its classes, `(classes,)`.
        complete: the same means with those of later spaces, `(spaces, classes, width)` for all spaces.
    """

    Hyperparameters = SubspaceHyperparameters
    needs = NEEDS
    kinds = KINDS
    own_classifier = True
    no_sum = NO_SUM
    schedule = "cosine-by-epoch"  # as in the official code
    keeps = auxiliary("means", "columns")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without classes."""
        super().__init__(context, hyperparameters)
        self.means: list[Tensor] = []
        self.columns: list[Tensor] = []
        self.complete: list[Tensor] = []
        self.classifier = FeatureClassifier(self, self.features, self.take, self.scores)

    def features(self, batch: Batch) -> Tensor:
        """Return the features in every task's space side by side, `(n, spaces width)`."""
        spaces = []
        for task in self.stack.tasks():
            with self.through(task):
                spaces.append(exact(head_of(self).features(batch)))
        return torch.cat(spaces, dim=1)

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Keep the means of the task's classes in every space, then complete those of older classes."""
        prototypes = ClassMeans(features.shape[1], features)
        prototypes.add(features, labels, len(head_of(self).head))
        columns = prototypes.counts.nonzero().flatten()
        self.columns.append(columns)
        self.means.append(self.by_space(prototypes.means[columns]))
        self.complete = complete_means(self.means)

    def by_space(self, features: Tensor) -> Tensor:
        """Return features side by side, `(n, spaces width)`, as `(spaces, n, width)`."""
        return features.unflatten(1, (-1, self.task_model.backbone.width)).transpose(0, 1)

    def scores(self, features: Tensor) -> Tensor:
        """Return the weighted cosines, `(n, classes seen)`; of a class of several tasks the best."""
        units = functional.normalize(self.by_space(features), dim=2)
        scores = units.new_full((units.shape[1], len(head_of(self).head)), float("-inf"))
        for task, (means, columns) in enumerate(zip(self.complete, self.columns, strict=True)):
            cosines = units @ functional.normalize(means, dim=2).transpose(1, 2)
            weights = units.new_full((len(units),), self.hyperparameters.alpha / max(len(units) - 1, 1))
            weights[task] = 1.0
            found = (weights[:, None, None] * cosines).sum(0)
            scores[:, columns] = torch.maximum(scores[:, columns], found)
        return scores

    def passes(self) -> float:
        """Return one for each adapter."""
        return float(self.stack.count())

    def after_restore(self) -> None:
        """Complete the means again."""
        self.complete = complete_means(self.means)


METHOD = EASE
