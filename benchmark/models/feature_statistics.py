"""The base of task models that take statistics of a task's features once it is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows, batch_by_length
from benchmark.errors import UserError
from benchmark.models.task_model import ClassificationTaskModel
from benchmark.protocol import Protocol


class FeatureStatisticsTaskModel(ClassificationTaskModel):
    """A head over features that sees each task's features as the method's own prediction makes them."""

    def __init__(self, *arguments: Any) -> None:
        """Start between tasks."""
        super().__init__(*arguments)
        self._collecting = False

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Take the features `(n, width)` of a batch and their head columns `(n,)` into the statistics."""
        raise NotImplementedError

    @torch.no_grad()
    def end_task(self, rows: Rows, answer: Callable[[Batch], object]) -> None:
        """Take the statistics of the rows' features, as the method's own prediction makes them.

        Raises:
            UserError: the method answers without asking this task_model, so that they would change nothing.
        """
        self._collecting, self._taken = True, 0
        for batch in batch_by_length(rows, self.protocol.evaluation_batch_size, self.device):
            answer(batch)
        self._collecting = False
        if self._taken == 0:
            raise UserError(no_effect(self.protocol))

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None = None) -> list[int]:
        """Return the columns of highest score; take the features in while a task's statistics are taken."""
        features = self.features(batch)
        if self._collecting:
            assert batch.labels is not None
            self.take(features, batch.labels)
            self._taken += len(features)
        return self.answer(features, task)


def no_effect(protocol: Protocol) -> str:
    """Return why a protocol's way to answer does not go with a method that answers by itself."""
    what = (
        f"classifier alignment (alignment={protocol.alignment})"
        if protocol.alignment
        else f"the head {protocol.head}"
    )
    instead = "leave alignment at 0" if protocol.alignment else "choose the head class-incremental"
    return f"{what} has no effect on a method with a classifier of its own; {instead}"
