"""The base of methods that weight their pairs anew for every input row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.lora.method import LowRankMethod
from benchmark.method import Accounting, Context
from methods.pieces.queries import pooled_embeddings


class InputWeighted(LowRankMethod):
    """Put before a method that keeps a pair per task: `weights` says how much each counts for a row.

    Attributes:
        scales_of_rows: the weights of the batch at hand, `(n, pairs)`.
    """

    no_sum: ClassVar[str] = "it weighs its pairs anew for every input"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the weights scale the stack."""
        super().__init__(context, hyperparameters)
        self.scales_of_rows: Tensor | None = None
        self.stack.learned_scales = self._row_scales
        self.objective.before_batch(self.weight_rows)

    def weights(self, query: Tensor) -> Tensor:
        """Return the weight of every pair held, past ones first, for queries `(n, d)`: `(n, pairs)`."""
        raise NotImplementedError

    def queries(self, batch: Batch) -> Tensor:
        """Return the rows' queries, `(n, d)`, in float32 or float64."""
        query = pooled_embeddings(self.objective.backbone, batch)
        return query if query.dtype == torch.float64 else query.float()

    def weight_rows(self, batch: Batch) -> None:
        """Weight the pairs by a batch's queries until the next batch."""
        self.scales_of_rows = self.weights(self.queries(batch))

    def _row_scales(self) -> tuple[Tensor | None, Tensor | None]:
        rows, layers = self.scales_of_rows, len(self.stack.layers)
        if rows is None:
            return None, None
        past = rows[:, : len(self.stack.frozen_tasks)].expand(layers, -1, -1)
        return past, None if self.stack.current_task is None else rows[:, -1].expand(layers, -1)

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
