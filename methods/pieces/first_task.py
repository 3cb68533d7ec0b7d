"""The base of methods that adapt the backbone on the first task alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Phase
from benchmark.protocol import Schedule
from methods.pieces.one_adapter import OneAdapterAtATime


class FirstTaskHyperparameters(LowRankHyperparameters):
    """How the one adapter is trained."""

    learning_rate: float = Field(0.01, gt=0, le=10, description="of the adapter, on the first task")
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on the adapter and the head")


class FirstTaskAdapted(OneAdapterAtATime):
    """One adapter, trained with the head on the first task, then frozen; later tasks train nothing."""

    Hyperparameters: ClassVar[type[BaseModel]] = FirstTaskHyperparameters
    schedule: ClassVar[Schedule | None] = "cosine-by-epoch"  # as in the official code

    def begin_task(self, t: int, rows: Rows) -> None:
        """Make the adapter at the first task."""
        if t == 0:
            super().begin_task(t, rows)

    def phases(self, t: int) -> Iterable[Phase]:
        """Return one phase at the first task, none at later ones."""
        return super().phases(t) if t == 0 else []
