"""The base of every method that keeps low-rank pairs in the bank, and their shared hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field
from torch import Tensor

from benchmark.adapters import AdapterBank
from benchmark.data.batches import Rows
from benchmark.method import Accounting, Context, Hyperparameters, Method, ParameterGroup, Phase, part


class LowRankHyperparameters(Hyperparameters):
    """How the pair of a task is trained."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="of the current pair")
    head_learning_rate: float | None = Field(None, gt=0, le=10, description="of the head; none: the same")
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    weight_decay: float = Field(0.0, ge=0, le=1, description="on the current pair and the head")


class LowRankMethod(Method):
    """A pair per task, frozen and folded into the weights when the next task begins.

    Subclasses change what is added, how the past is scaled, or what the loss is. The pair of the task just
    learned stays apart until the next task begins, so that evaluation sees exactly what was trained.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = LowRankHyperparameters

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Wrap the backbone's target layers."""
        super().__init__(context, hyperparameters)
        protocol = self.protocol
        scale = 1.0 if protocol.alpha is None else protocol.alpha / protocol.rank
        module = self.objective.backbone.module
        self.bank = AdapterBank(
            module, protocol.targets, protocol.rank, scale, protocol.dropout, protocol.blocks
        )
        self.objective.before_forward(self.bank.refresh)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Freeze the last pair, fold the past, start a new pair."""
        self.bank.freeze_current()
        if self.bank.scaling is None and self.protocol.dropout == 0:
            self.bank.fold()
        self.bank.add(t, self.rank(t))

    def rank(self, t: int) -> int:
        """Return the rank of task t's pair."""
        return self.protocol.rank

    def drop_current(self) -> None:
        """Forget the pair just learned, with whatever the method keeps for it."""
        self.bank.discard_current()

    def phases(self, t: int) -> Iterable[Phase]:
        """Return one phase over the current pair and the head."""
        return [self.main_phase(t, self.groups())]

    def groups(self) -> list[ParameterGroup]:
        """Return the pair's and the head's parameter groups."""
        chosen = self.hyperparameters
        pair = ParameterGroup(self.bank.parameters(), chosen.learning_rate, chosen.weight_decay)
        return [pair, *self.head_groups()]

    def accounting(self) -> Accounting:
        """Count every pair held; all are summed into each prediction. What was merged needs no room."""
        held, adapters = self.bank.stored(), self.bank.count()
        resident = held - self.bank.merged_size()
        return Accounting(stored=held, resident=resident, adapters=adapters, active=adapters)

    def state(self) -> dict[str, Tensor]:
        """Return head and bank."""
        return super().state() | {f"bank.{name}": tensor for name, tensor in self.bank.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over head and bank."""
        super().restore(state)
        self.bank.restore(part(state, "bank."))

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]] | None:
        """Return the bank's sum."""
        return self.bank.sum()
