"""Classifying by statistics of features; the task model's head only trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import read_in_order
from benchmark.method import Method, Needs
from benchmark.models.answers import Answer
from benchmark.models.class_means import ClassMeans
from benchmark.models.task_model import ClassificationTaskModel

NEEDS = Needs(stored_statistics=True)
KINDS = ("vector", "image", "encoder")
NO_SUM = "statistics of features answer, which a peft checkpoint cannot hold"
"""What a method whose `classifier` is a `FeatureClassifier` says of itself, beside `own_classifier`."""


class FeatureClassifier:
    """Takes in a task's features once it is learned, and answers with the best score by what it has taken in.

    While a task is being learned its classes have no statistics yet, and the head that trains answers.

    Attributes:
        learning: a task has begun and not ended.
    """

    def __init__(
        self,
        method: Method,
        features: Callable[[Batch], Tensor],
        take: Callable[[Tensor, Tensor], None],
        scores: Callable[[Tensor], Tensor],
    ) -> None:
        """Start between tasks.

        Args:
            take: adds features `(n, d)` and head columns `(n,)` of a task's rows to the statistics.
            scores: says how well features fit each class, `(n, classes)`.
        """
        self.method = method
        self.features = features
        self.take = take
        self.scores = scores
        self.learning = False

    def begin_task(self) -> None:
        """Let the head answer for now."""
        self.learning = True

    @torch.no_grad()
    def end_task(self, rows: Rows) -> None:
        """Take the statistics of a task's rows, as they are at test time."""
        self.learning = False
        features, labels = [], []
        size, device = self.method.protocol.batch_size, self.method.task_model.device
        for batch in read_in_order(rows, size, device, training=False):
            assert batch.labels is not None
            features.append(self.features(batch))
            labels.append(batch.labels)
        self.take(torch.cat(features), torch.cat(labels))

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return the columns of the best score, of all classes seen or of the given task's."""
        task_model = self.method.task_model
        if self.learning:
            return task_model.predict(batch, task)
        features = self.features(batch)
        scores = self.scores(features)
        predictions = task_model.choose(scores, task)
        task_model.note(Answer(predictions, features, scores))
        return predictions


def head_of(method: Method) -> ClassificationTaskModel:
    """Return a method's task model, which has a head."""
    assert isinstance(method.task_model, ClassificationTaskModel)
    return method.task_model


def by_means(
    method: Method, means: ClassMeans, features: Callable[[Batch], Tensor] | None = None
) -> FeatureClassifier:
    """Return a classifier that answers with the class whose mean feature is nearest in angle.

    Args:
        means: starts without classes.
        features: of a batch; None for those that the head reads.
    """
    task_model = head_of(method)

    def take(found: Tensor, labels: Tensor) -> None:
        means.add(found, labels, len(task_model.head))

    return FeatureClassifier(method, features or task_model.features, take, means.scores)


def empty_means(method: Method, width: int | None = None) -> ClassMeans:
    """Return the means of no class, for features as wide as the backbone's or of another width."""
    backbone = method.task_model.backbone
    return ClassMeans(width or backbone.width, next(backbone.module.parameters()))
