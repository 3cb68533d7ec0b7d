"""Class means of features: a classifier that is not trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


class ClassMeans:
    """The mean feature of each class, by head column.

    Attributes:
        means: `(classes, d)` in float32 or float64.
        counts: `(classes,)`, how many rows each is the mean of; 0 for a class not seen.
    """

    def __init__(self, width: int, like: Tensor) -> None:
        """Start without classes; `like` gives device and number format."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.means = torch.zeros(0, width, dtype=dtype, device=like.device)
        self.counts = torch.zeros(0, dtype=torch.int64, device=like.device)

    def add(self, features: Tensor, labels: Tensor, classes: int) -> None:
        """Take rows `(n, d)` into the means, making room for `classes` columns."""
        missing = classes - len(self.counts)
        self.means = functional.pad(self.means, (0, 0, 0, missing))
        self.counts = functional.pad(self.counts, (0, missing))
        # A product, where adding at indices would sum in any order on a GPU.
        member = functional.one_hot(labels, classes)
        sums = member.t().to(self.means) @ features.to(self.means)
        counts = self.counts + member.sum(0)
        self.means = (self.means * self.counts[:, None] + sums) / counts.clamp(min=1)[:, None]
        self.counts = counts

    def directions(self) -> tuple[Tensor, Tensor]:
        """Return the columns `(k,)` of the classes seen and the unit vectors `(k, d)` of their means."""
        columns = self.counts.nonzero().flatten()
        return columns, functional.normalize(self.means[columns], dim=1)

    def scores(self, features: Tensor) -> Tensor:
        """Return the cosine with every class's mean, `(n, classes)`; minus infinity for classes not seen.

        Among unit vectors the highest cosine is the least distance.
        """
        columns, directions = self.directions()
        scores = self.means.new_full((len(features), len(self.counts)), float("-inf"))
        scores[:, columns] = functional.normalize(features.to(self.means), dim=1) @ directions.t()
        return scores

    def bytes(self) -> int:
        """Return how many bytes means and counts take."""
        return sum(tensor.nbytes for tensor in self.state().values())

    def state(self) -> dict[str, Tensor]:
        """Return means and counts."""
        return {"means": self.means, "counts": self.counts}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self.means, self.counts = (state[name].to(self.means.device) for name in ("means", "counts"))
