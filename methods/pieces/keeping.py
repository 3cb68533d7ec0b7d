"""Controls for LiteLoRA's gate: pairs learned as it learns them, kept by a rule that looks at nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.method import Accounting, Context
from methods.pieces.magnitude_phase import MagnitudeHyperparameters, MagnitudeLoRA


class KeepingHyperparameters(MagnitudeHyperparameters):
    """How many pairs are kept, beside the settings of LiteLoRA's first phase."""

    keep: int = Field(1, ge=1, description="pairs kept in all, such as a LiteLoRA run kept")


class Keeping(MagnitudeLoRA):
    """LiteLoRA's magnitude phase for every task; the pairs of the tasks in `wanted` are kept.

    The first pair is always kept, as LiteLoRA keeps it.

    Attributes:
        wanted: the tasks whose pairs are kept, fixed before the first.
        kept: the decision per task learned, 1 or 0.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = KeepingHyperparameters

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Fix what will be kept.

        Raises:
            UserError: more pairs are to be kept than there are tasks.
        """
        super().__init__(context, hyperparameters)
        keep = hyperparameters.keep
        if keep > self.task_count:
            raise UserError(f"keep={keep}: the stream has {self.task_count} tasks, so at most as many pairs")
        self.wanted = {0, *self.choose(keep - 1)}
        self.kept = torch.zeros(0, dtype=torch.int64)

    def choose(self, count: int) -> list[int]:
        """Return `count` tasks among those after the first."""
        raise NotImplementedError

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the pair or drop it, by the rule."""
        super().end_task(t, rows)
        self.kept = torch.cat([self.kept, torch.tensor([int(t in self.wanted)])])
        if t not in self.wanted:
            self.drop_current()

    def accounting(self) -> Accounting:
        """Count plan and decisions with the pairs; only kept pairs are held, and all of them are active."""
        counted, more = super().accounting(), len(self.wanted) + len(self.kept)
        return replace(
            counted,
            stored=counted.stored + more,
            resident=counted.resident + more,
            adapters=len(self.kept),
        )

    def report(self, t: int) -> dict[str, Any]:
        """Return the decision on task t beside what SD-LoRA tells."""
        return {"kept": bool(self.kept[t])} | super().report(t)

    def state(self) -> dict[str, Tensor]:
        """Return SD-LoRA's state, the plan and the decisions."""
        return super().state() | {"wanted": torch.tensor(sorted(self.wanted)), "kept": self.kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over SD-LoRA's state, the plan and the decisions."""
        super().restore(state)
        self.wanted = set(state["wanted"].tolist())
        self.kept = state["kept"]
