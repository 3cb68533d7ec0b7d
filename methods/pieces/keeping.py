"""Controls for LiteLoRA's gate: adapters learned as it learns them, kept by a rule that looks at nothing."""

from __future__ import annotations

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


class Keeping(MagnitudeLoRA):
    """LiteLoRA's magnitude phase for every task; the adapters of the tasks in `wanted` are kept.

    The first adapter is always kept, as LiteLoRA keeps it.

    Attributes:
        wanted: the tasks whose adapters are kept, fixed before the first.
        kept: the decision per task learned, 1 or 0.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = KeepingHyperparameters
    keeps = stored("wanted", "kept")

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
        device = self.task_model.device
        self.wanted = torch.tensor(sorted({0, *self.choose(keep - 1)}), device=device)
        self.kept = torch.zeros(0, dtype=torch.int64, device=device)

    def choose(self, count: int) -> list[int]:
        """Return `count` tasks among those after the first."""
        raise NotImplementedError

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the adapter or drop it, by the rule."""
        super().end_task(t, rows)
        keep = t in self.wanted.tolist()
        self.kept = torch.cat([self.kept, self.kept.new_tensor([int(keep)])])
        if not keep:
            self.drop_current()

    def adapter_counts(self) -> tuple[int, int]:
        """Return how many tasks have been learned, and how many adapters were kept: these are all active."""
        return len(self.kept), self.stack.count()

    def report(self, t: int) -> dict[str, Any]:
        """Return the decision on task t beside what SD-LoRA tells."""
        return {"kept": bool(self.kept[t])} | super().report(t)
