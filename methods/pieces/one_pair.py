"""The base of methods that keep a pair per task and let one of them answer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.low_rank import LowRankMethod
from benchmark.method import Context


class OnePairAtATime(LowRankMethod):
    """Every task is learned from the pretrained model in a pair of its own; see the module.

    Attributes:
        chosen: the task whose pair is switched on; None for the pretrained model.
    """

    no_sum: ClassVar[str] = "each task has a pair of its own"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the chosen task scale the bank."""
        super().__init__(context, hyperparameters)
        self.chosen: int | None = None
        self.bank.scaling = self._only_chosen

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new pair from the pretrained model."""
        super().begin_task(t, rows)
        self.chosen = t
        layers, slots = len(self.bank.layers), len(self.bank.slots)
        # No earlier pair takes part in training: none may cost time.
        self.bank.fold(torch.zeros(layers, slots, device=self.objective.device))

    @contextmanager
    def through(self, task: int | None) -> Iterator[None]:
        """Within the context, let the pair of one task answer, or the pretrained model."""
        # What `begin_task` folded holds for the pair under training alone.
        self.bank.unfold()
        before, self.chosen = self.chosen, task
        try:
            yield
        finally:
            self.chosen = before

    def holders(self) -> list[int]:
        """Return the tasks that have a pair, in the order of the bank."""
        return [*self.bank.slots, *([] if self.bank.current is None else [self.bank.current])]

    def low_rank_sum(self) -> None:
        """Return None: no single sum answers for all tasks."""
        return None

    def _only_chosen(self) -> tuple[Tensor, Tensor]:
        layers = len(self.bank.layers)
        past = torch.tensor([float(slot == self.chosen) for slot in self.bank.slots])
        current = torch.full((layers,), float(self.bank.current == self.chosen))
        device = self.objective.device
        return past.expand(layers, -1).to(device), current.to(device)
