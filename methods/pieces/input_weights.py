"""Adapters that are weighted anew for every input row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.lora.method import LowRankMethod
from benchmark.lora.stack import AdapterStack
from benchmark.method import Context
from benchmark.models.task_model import TaskModel
from methods.pieces.queries import pool_embeddings


class RowWeights:
    """Scales the adapters of a stack by what is said of each row that the backbone reads.

    Attributes:
        of_rows: the weights of the batch at hand, `(n, adapters)`.
    """

    def __init__(
        self, task_model: TaskModel, stack: AdapterStack, weights: Callable[[Tensor], Tensor]
    ) -> None:
        """Look at every batch before the backbone does.

        Args:
            weights: from queries `(n, d)` to the weight of every adapter, frozen ones first: `(n, adapters)`.
        """
        self.task_model = task_model
        self.stack = stack
        self.weights = weights
        self.of_rows: Tensor | None = None
        stack.learned_scales = self.scales
        task_model.before_batch(self.look)

    def look(self, batch: Batch) -> None:
        """Weight the adapters by a batch's queries until the next batch."""
        self.of_rows = self.weights(self.queries(batch))
        # An encoder may be run alone: what it did not ask for in the last pass is of other rows.
        self.stack.forget_scales()

    def queries(self, batch: Batch) -> Tensor:
        """Return the rows' queries, `(n, d)`, in float32 or float64."""
        query = pool_embeddings(self.task_model.backbone, batch)
        return query if query.dtype == torch.float64 else query.float()

    def scales(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the scales of frozen adapters, `(M, n, frozen)`, and of the current one, `(M, n)`."""
        if self.of_rows is None:
            return None, None
        layers = len(self.stack.layers)
        frozen = self.of_rows[:, : len(self.stack.frozen_tasks)].expand(layers, -1, -1)
        return frozen, None if self.stack.current_task is None else self.of_rows[:, -1].expand(layers, -1)


class InputWeighted(LowRankMethod):
    """The base of methods that keep an adapter per task: `weights` says how much each counts for a row."""

    task_id_only_masks: ClassVar[bool] = True
    no_sum: ClassVar[str] = "it weighs its adapters anew for every input"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the weights scale the stack."""
        super().__init__(context, hyperparameters)
        self.queries = RowWeights(self.task_model, self.stack, self.weights).queries

    def weights(self, query: Tensor) -> Tensor:
        """Return the weight of every adapter, frozen ones first, for queries `(n, d)`: `(n, adapters)`."""
        raise NotImplementedError

    def low_rank_sum(self) -> None:
        """Return None: every input has a sum of its own."""
        return None
