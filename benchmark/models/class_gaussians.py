"""A Gaussian of features for each class: what is remembered of old classes to draw from later."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


class ClassGaussians:
    """Mean and covariance of each class's features, by head column.

    Attributes:
        means: `(classes, d)` in float32 or float64.
        covariances: `(classes, d, d)`, with divisor n - 1; 0 for a class of one row.
        counts: `(classes,)`, how many rows each is of; 0 for a class not seen.
        tasks: `(classes,)`, the task at which a class was last seen.
    """

    def __init__(self, width: int, like: Tensor) -> None:
        """Start without classes; `like` gives device and number format."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.means = torch.zeros(0, width, dtype=dtype, device=like.device)
        self.covariances = self.means.new_zeros(0, width, width)
        self.counts = torch.zeros(0, dtype=torch.int64, device=like.device)
        self.tasks = torch.zeros(0, dtype=torch.int64, device=like.device)

    def add(self, features: Tensor, labels: Tensor, classes: int, task: int) -> None:
        """Take rows `(n, d)` of a task in, making room for `classes` columns.

        A class seen before gets the mean and covariance of its rows of all tasks together.
        """
        missing = classes - len(self.counts)
        self.means = functional.pad(self.means, (0, 0, 0, missing))
        self.covariances = functional.pad(self.covariances, (0, 0, 0, 0, 0, missing))
        self.counts = functional.pad(self.counts, (0, missing))
        self.tasks = functional.pad(self.tasks, (0, missing))
        for column in labels.unique().tolist():
            self._add_class(column, features[labels == column].double())
            self.tasks[column] = task

    def _add_class(self, column: int, rows: Tensor) -> None:
        old, new = int(self.counts[column]), len(rows)
        total = old + new
        apart = rows.mean(0) - self.means[column].double()
        centred = rows - rows.mean(0)
        # Scatters about two means add up to that about the common one, and what lies between the means.
        scatter = centred.t() @ centred + max(old - 1, 0) * self.covariances[column].double()
        scatter = scatter + (old * new / total) * torch.outer(apart, apart)
        self.means[column] = (self.means[column].double() + apart * (new / total)).to(self.means)
        self.covariances[column] = (scatter / max(total - 1, 1)).to(self.covariances)
        self.counts[column] = total

    def seen(self) -> Tensor:
        """Return the columns of the classes seen, `(k,)`."""
        return self.counts.nonzero().flatten()

    def factors(self, ridge: float) -> Tensor:
        """Return for each class seen an F with F F^t = covariance + ridge, `(k, d, d)`."""
        values, vectors = torch.linalg.eigh(self.covariances[self.seen()].double())
        # Rounding can leave a direction without spread slightly below 0.
        spreads = (values.clamp(min=0) + ridge).sqrt()
        return (vectors * spreads[:, None]).to(self.means)

    def bytes(self) -> int:
        """Return how many bytes all of it takes."""
        return sum(tensor.nbytes for tensor in self.state().values())

    def state(self) -> dict[str, Tensor]:
        """Return means, covariances, counts and tasks."""
        held = {"means": self.means, "covariances": self.covariances}
        return held | {"counts": self.counts, "tasks": self.tasks}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        device = self.means.device
        self.means, self.covariances = state["means"].to(device), state["covariances"].to(device)
        self.counts, self.tasks = state["counts"].to(device), state["tasks"].to(device)
