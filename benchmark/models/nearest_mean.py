"""Answers by the nearest class mean: the head serves training alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmark.models.class_means import ClassMeans
from benchmark.models.feature_statistics import FeatureStatisticsTaskModel
from benchmark.state import part

MEANS = "class_means."


class NearestMeanTaskModel(FeatureStatisticsTaskModel):
    """Trains as any classifier; predicts the class seen whose mean feature has the highest cosine.

    A mean is taken over a class's training rows when its task has been learned, and stays as it is while
    later tasks move the features (SimpleCIL and iCaRL's classifier without exemplars).
    """

    def __init__(self, *arguments: Any) -> None:
        """Start without means."""
        super().__init__(*arguments)
        like = next(self.backbone.module.parameters())
        self.means = ClassMeans(self.backbone.width, like)

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Add rows to the class means."""
        self.means.add(features, labels, len(self.head))

    def answer_scores(self, features: Tensor) -> Tensor:
        """Return cosines with class means, `(n, classes seen)`; before the first task's end, logits."""
        return self.means.scores(features) if len(self.means.counts) else self.head(features)

    def auxiliary_bytes(self) -> int:
        """Return the bytes of means and counts."""
        return self.means.bytes()

    def answering_head(self) -> dict[str, Tensor]:
        """Return the unit vectors of the class means as a head's weights; a class without rows never wins.

        Dividing a feature by its length changes no order of scores, so products rank classes as cosines do.
        """
        if not len(self.means.counts):
            return super().answering_head()
        columns, directions = self.means.directions()
        weights = self.means.means.new_zeros(self.means.means.shape)
        biases = weights.new_full((len(weights),), float("-inf"))
        weights[columns], biases[columns] = directions, 0.0
        return {"weights.0": weights, "biases.0": biases}

    def state(self) -> dict[str, Tensor]:
        """Return head and means."""
        return super().state() | {MEANS + name: value for name, value in self.means.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over head and means."""
        self.means.restore(part(state, MEANS))
        super().restore(state)
