"""Answers by the nearest class mean: the head serves training alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.batches import Batch, Rows, by_length
from benchmark.class_means import ClassMeans
from benchmark.errors import UserError
from benchmark.objective import ClassificationObjective

MEANS = "class_means."


class NearestMeanObjective(ClassificationObjective):
    """Trains as any classifier; predicts the class seen whose mean feature has the highest cosine.

    A mean is taken over a class's training rows when its task has been learned, and stays as it is while
    later tasks move the features (SimpleCIL and iCaRL's classifier without exemplars).
    """

    def __init__(self, *arguments: Any) -> None:
        """Start without means."""
        super().__init__(*arguments)
        like = next(self.backbone.module.parameters())
        self.means = ClassMeans(self.backbone.width, like)
        self._collecting = False

    @torch.no_grad()
    def end_task(self, rows: Rows, answer: Callable[[Batch], object]) -> None:
        """Take the means of the rows' features, as the method's own prediction makes them.

        Raises:
            UserError: the method answers without asking this objective, so means would change nothing.
        """
        before = int(self.means.counts.sum())
        self._collecting = True
        for chosen in by_length(rows, self.protocol.evaluation_batch_size):
            answer(rows.batch(chosen).to(self.device))
        self._collecting = False
        if int(self.means.counts.sum()) == before:
            raise UserError(
                "the head nearest-class-mean has no effect on a method with a classifier of its own; "
                "choose the head class-incremental"
            )

    def scores(self, batch: Batch) -> Tensor:
        """Return cosines with class means, `(n, classes seen)`; before the first task's end, logits."""
        features = self.features(batch)
        if self._collecting:
            assert batch.labels is not None
            self.means.add(features, batch.labels, len(self.head))
        return self.means.scores(features) if len(self.means.counts) else self.head(features)

    def auxiliary_bytes(self) -> int:
        """Return the bytes of means and counts."""
        return self.means.bytes()

    def state(self) -> dict[str, Tensor]:
        """Return head and means."""
        return super().state() | {MEANS + name: value for name, value in self.means.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over head and means."""
        of_means = {name: value for name, value in state.items() if name.startswith(MEANS)}
        self.means.restore({name.removeprefix(MEANS): value for name, value in of_means.items()})
        super().restore({name: value for name, value in state.items() if name not in of_means})
