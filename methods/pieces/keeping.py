"""Controls for LiteLoRA's gate: adapters learned as it learns them, kept by another rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field

from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.method import Context
from benchmark.state import stored
from methods.pieces.magnitude_phase import MagnitudeHyperparameters, MagnitudeLoRA


class KeepingHyperparameters(MagnitudeHyperparameters):
    """How many adapters are kept, beside the settings of LiteLoRA's first phase."""

    keep: int = Field(1, ge=1, description="adapters kept in all, such as a LiteLoRA run kept")


class Deciding(MagnitudeLoRA):
    """LiteLoRA's magnitude phase for every task; a rule without a gate keeps or drops its adapter.

    The first adapter is always kept, as LiteLoRA keeps it.

    Attributes:
        kept: the decision per task learned, 1 or 0.
    """

    keeps = stored("kept")
    notes: ClassVar[frozenset[str]] = frozenset({"kept", "wanted"})

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without decisions."""
        super().__init__(context, hyperparameters)
        self.kept = torch.zeros(0, dtype=torch.int64, device=self.task_model.device)

    def decide(self, t: int) -> bool:
        """Return whether the adapter of task t, which is not the first, is kept; it is learned by now."""
        raise NotImplementedError

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the adapter or drop it, by the rule."""
        super().end_task(t, rows)
        keep = t == 0 or self.decide(t)
        self.kept = torch.cat([self.kept, self.kept.new_tensor([int(keep)])])
        if not keep:
            self.drop_current()

    def adapter_counts(self) -> tuple[int, int]:
        """Return how many tasks have been learned, and how many adapters were kept: these are all active."""
        return len(self.kept), self.stack.count()

    def report(self, t: int) -> dict[str, Any]:
        """Return the decision on task t beside SD-LoRA's report."""
        return {"kept": bool(self.kept[t])} | super().report(t)


class Planned(Deciding):
    """Keeps the adapters of tasks that are fixed before the first.

    Attributes:
        wanted: these tasks, the first among them.
    """

    keeps = stored("wanted")

    def plan(self, tasks: Iterable[int]) -> None:
        """Fix what will be kept beside the first adapter."""
        self.wanted = torch.tensor(sorted({0, *tasks}), device=self.task_model.device)

    def decide(self, t: int) -> bool:
        """Return whether task t is among the wanted."""
        return t in self.wanted.tolist()


class Keeping(Planned):
    """Keeps as many adapters as are asked for, chosen by a rule that looks at nothing."""

    Hyperparameters: ClassVar[type[BaseModel]] = KeepingHyperparameters

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Fix what will be kept.

        Raises:
            UserError: more adapters are to be kept than there are tasks.
        """
        super().__init__(context, hyperparameters)
        keep = hyperparameters.keep
        if keep > self.task_count:
            raise UserError(
                f"keep={keep}: the stream has {self.task_count} tasks, so at most as many adapters"
            )
        self.plan(self.choose(keep - 1))

    def choose(self, count: int) -> list[int]:
        """Return `count` tasks among those after the first."""
        raise NotImplementedError
