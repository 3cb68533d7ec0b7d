"""The base of methods that keep an adapter per task and let one of them answer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankMethod
from benchmark.method import Context


class OneAdapterAtATime(LowRankMethod):
    """Every task is learned from the pretrained model in an adapter of its own; see the module.

    Attributes:
        chosen: the task whose adapter is switched on; None for the pretrained model.
    """

    no_sum: ClassVar[str] = "each task has an adapter of its own"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the chosen task scale the stack."""
        super().__init__(context, hyperparameters)
        self.chosen: int | None = None
        self.stack.learned_scales = self._scale_chosen

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter from the pretrained model."""
        super().begin_task(t, rows)
        self.chosen = t
        # No earlier adapter takes part in training: none may cost time.
        self.stack.leave_out_frozen()

    @contextmanager
    def through(self, task: int | None) -> Iterator[None]:
        """Within the context, let the adapter of one task answer, or the pretrained model."""
        # What `begin_task` left out holds for the adapter under training alone.
        self.stack.unmerge()
        before, self.chosen = self.chosen, task
        try:
            yield
        finally:
            self.chosen = before

    def low_rank_sum(self) -> None:
        """Return None: no single sum answers for all tasks."""
        return None

    def _scale_chosen(self) -> tuple[Tensor, Tensor]:
        layers = len(self.stack.layers)
        past = torch.tensor([float(task == self.chosen) for task in self.stack.frozen_tasks])
        current = torch.full((layers,), float(self.stack.current_task == self.chosen))
        device = self.task_model.device
        return past.expand(layers, -1).to(device), current.to(device)
