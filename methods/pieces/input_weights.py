"""The base of methods that weight their pairs anew for every input row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.low_rank import LowRankMethod
from benchmark.method import Accounting, Context
from methods.pieces.queries import pooled_embeddings


class InputWeighted(LowRankMethod):
    """Put before a method that keeps a pair per task: `weights` says how much each counts for a row.

    Attributes:
        scales_of_rows: the weights of the batch at hand, `(n, pairs)`.
    """

    task_id_only_masks: ClassVar[bool] = True
    no_sum: ClassVar[str] = "it weighs its pairs anew for every input"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the weights scale the bank."""
        super().__init__(context, hyperparameters)
        self.scales_of_rows: Tensor | None = None
        self.bank.scaling = self._row_scales

    def weights(self, query: Tensor) -> Tensor:
        """Return the weight of every pair held, past ones first, for queries `(n, d)`: `(n, pairs)`."""
        raise NotImplementedError

    def queries(self, batch: Batch) -> Tensor:
        """Return the rows' queries, `(n, d)`, in float32 or float64."""
        query = pooled_embeddings(self.objective.backbone, batch)
        return query if query.dtype == torch.float64 else query.float()

    def loss(self, batch: Batch) -> Tensor:
        """Weight the pairs by the batch's queries, then return the base's loss."""
        self.scales_of_rows = self.weights(self.queries(batch))
        return super().loss(batch)

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Weight the pairs by the batch's queries, then answer."""
        self.scales_of_rows = self.weights(self.queries(batch))
        return super().predict(batch, task)

    def _row_scales(self) -> tuple[Tensor | None, Tensor | None]:
        rows, layers = self.scales_of_rows, len(self.bank.layers)
        if rows is None:
            return None, None
        past = rows[:, : len(self.bank.slots)].expand(layers, -1, -1)
        return past, None if self.bank.current is None else rows[:, -1].expand(layers, -1)

    def low_rank_sum(self) -> None:
        """Return None: every input has a sum of its own."""
        return None


def with_more(counted: Accounting, numbers: int, auxiliary: int = 0) -> Accounting:
    """Return counts with so many more numbers that are held, and so many auxiliary bytes."""
    return replace(
        counted,
        stored=counted.stored + numbers,
        resident=counted.resident + numbers,
        auxiliary_bytes=counted.auxiliary_bytes + auxiliary,
    )
