"""The base of every method that keeps low-rank adapters in the stack, and their shared hyper-parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.lora.stack import AdapterStack
from benchmark.lora.targets import block_of, find_targets
from benchmark.method import Context, Hyperparameters, Method, ParameterGroup, Phase
from benchmark.state import Kept, learned


class LowRankHyperparameters(Hyperparameters):
    """How the adapter of a task is trained."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="of the current adapter")
    head_learning_rate: float | None = Field(None, gt=0, le=10, description="of the head; none: the same")
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    weight_decay: float = Field(0.0, ge=0, le=1, description="on the current adapter and the head")


class LowRankMethod(Method):
    """One LoRA adapter per task. When the next task starts, the previous adapter is frozen.

    Frozen adapters are merged into a copy of the weights where their scales are fixed. Subclasses change what
    is added, how earlier adapters are scaled, or what the loss is. The adapter of the task just learned stays
    apart until the next task begins, so that evaluation sees exactly what was trained.

    Attributes:
        stack: the adapters of all tasks.
        constant_scales: True where learned scales are the same for every row while predicting; then all
            adapters are merged into one weight a layer before a task is scored.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = LowRankHyperparameters
    constant_scales: ClassVar[bool] = False
    keeps: ClassVar[tuple[Kept, ...]] = learned("stack")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Wrap the backbone's target layers."""
        super().__init__(context, hyperparameters)
        module, protocol = self.task_model.backbone.module, self.protocol
        names = find_targets(module, protocol.targets, protocol.blocks)
        self.stack = self.make_stack(self.adapted_blocks(sorted({block_of(name) for name in names})))

    def adapted_blocks(self, chosen: Sequence[int]) -> Collection[int]:
        """Return which of the blocks that the protocol chose are adapted; asked before there is a stack."""
        return chosen

    def make_stack(self, blocks: Collection[int]) -> AdapterStack:
        """Return a stack over the targets in some blocks, with the protocol's rank, alpha and dropout."""
        protocol = self.protocol
        scaling = 1.0 if protocol.alpha is None else protocol.alpha / protocol.rank
        module = self.task_model.backbone.module
        return AdapterStack(
            *(module, protocol.targets, protocol.rank, scaling, protocol.dropout, blocks, protocol.blocks)
        )

    def begin_task(self, t: int, rows: Rows) -> None:
        """Freeze the last adapter, merge the frozen ones where that is exact, start a new adapter."""
        self.stack.freeze_current()
        if self.stack.learned_scales is None and self.protocol.dropout == 0:
            self.stack.merge_frozen()
        self.stack.add(t, self.rank(t))

    def rank(self, t: int) -> int:
        """Return the rank of task t's adapter."""
        return self.protocol.rank

    def drop_current(self) -> None:
        """Forget the adapter just learned, with whatever the method keeps for it."""
        self.stack.discard_current()

    def phases(self, t: int) -> Iterable[Phase]:
        """Return one phase over the current adapter and the head."""
        return [self.main_phase(t, self.groups())]

    def groups(self) -> list[ParameterGroup]:
        """Return the adapter's and the head's parameter groups."""
        chosen = self.hyperparameters
        adapter = ParameterGroup(self.stack.parameters(), chosen.learning_rate, chosen.weight_decay)
        return [adapter, *self.head_groups()]

    def predicting(self) -> AbstractContextManager[None]:
        """Return the context of scoring: where that is right, at the cost of the plain model."""
        if self.constant_scales and self.stack.learned_scales is not None:
            return self.stack.merged_for_prediction()
        return super().predicting()

    def adapter_counts(self) -> tuple[int, int]:
        """Return the number of adapters twice: all of them are summed into each prediction."""
        return self.stack.count(), self.stack.count()

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]] | None:
        """Return the stack's sum."""
        return self.stack.sum()
