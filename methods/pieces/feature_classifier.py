"""The base of methods that classify by statistics of features; a head only trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import read_in_order
from benchmark.method import Accounting, Context, Method, Needs, part
from benchmark.models.class_means import ClassMeans
from benchmark.models.objective import ClassificationObjective, best_columns


class FeatureClassifier(Method):
    """Takes statistics of a task's features once it is learned, and answers with the best score by them.

    Put before the method that says how features are learned. While a task is being learned its classes have
    no statistics yet, and the head that trains answers.

    Attributes:
        learning: a task has begun and not ended.
    """

    needs: ClassVar[Needs] = Needs(statistics=True)
    kinds: ClassVar[tuple[str, ...]] = ("vector", "image", "encoder")
    own_classifier: ClassVar[bool] = True
    no_sum: ClassVar[str] = "statistics of features answer, which a peft checkpoint cannot hold"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start between tasks."""
        super().__init__(context, hyperparameters)
        self.learning = False

    @property
    def classifier(self) -> ClassificationObjective:
        """The objective, which has a head."""
        assert isinstance(self.objective, ClassificationObjective)
        return self.objective

    def features(self, batch: Batch) -> Tensor:
        """Return the features that statistics are taken of, `(n, d)`."""
        return self.classifier.features(batch)

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Add the features `(n, d)` of a task's rows and their head columns to the statistics."""
        raise NotImplementedError

    def scores(self, features: Tensor) -> Tensor:
        """Return how well features `(n, d)` fit each class, `(n, classes)`."""
        raise NotImplementedError

    def begin_task(self, t: int, rows: Rows) -> None:
        """Let the head answer for now."""
        super().begin_task(t, rows)
        self.learning = True

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Take the statistics of the task's rows, as they are at test time."""
        super().end_task(t, rows)
        self.learning = False
        features, labels = [], []
        for batch in read_in_order(rows, self.protocol.batch_size, self.objective.device, training=False):
            assert batch.labels is not None
            features.append(self.features(batch))
            labels.append(batch.labels)
        self.take(torch.cat(features), torch.cat(labels))

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return the columns of the best score, of all classes seen or of the given task's."""
        if self.learning:
            return super().predict(batch, task)
        columns = None if task is None else self.objective.task_columns(self.objective.tasks[task])
        return best_columns(self.scores(self.features(batch)), columns)


class MeanClassifier(FeatureClassifier):
    """Answers with the class whose mean feature is nearest in angle.

    Attributes:
        prototypes: mean features of the classes of finished tasks.
    """

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without classes."""
        super().__init__(context, hyperparameters)
        example = next(self.objective.backbone.module.parameters())
        self.prototypes = ClassMeans(self.width(), example)

    def width(self) -> int:
        """Return the size of a feature."""
        return self.objective.backbone.width

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Add rows to the class means."""
        self.prototypes.add(features, labels, len(self.classifier.head))

    def scores(self, features: Tensor) -> Tensor:
        """Return the cosines with the class means."""
        return self.prototypes.scores(features)

    def accounting(self) -> Accounting:
        """Count the class means as auxiliary."""
        return replace(super().accounting(), auxiliary_bytes=self.prototypes.bytes())

    def state(self) -> dict[str, Tensor]:
        """Return the base's state and the class means."""
        means = {f"prototypes.{name}": value for name, value in self.prototypes.state().items()}
        return super().state() | means

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the base's state and the class means."""
        super().restore(state)
        self.prototypes.restore(part(state, "prototypes."))
