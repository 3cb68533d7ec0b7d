"""A method that has a base method: the base learns the adapters, what is put around it is said here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.errors import UserError, first_of
from benchmark.lora.method import LowRankMethod
from benchmark.lora.stack import AdapterStack
from benchmark.method import Context, Method, Phase
from benchmark.registry import METHODS
from benchmark.state import Kept

SHARED = ("learning_rate", "head_learning_rate", "optimizer", "weight_decay")


class WithBase(Method):
    """Leaves everything to its base; subclasses add to it.

    Attributes:
        base: keeps an adapter per task.
    """

    keeps: ClassVar[tuple[Kept, ...]] = (Kept("base", flat=True),)
    # Of every base: none predicts in a way of its own.
    task_id_only_masks: ClassVar[bool] = True

    def __init__(self, context: Context, hyperparameters: Any, base: LowRankMethod) -> None:
        """Take a base that was made with the same context."""
        super().__init__(context, hyperparameters)
        self.base = base

    @property
    def stack(self) -> AdapterStack:
        """The base's adapters."""
        return self.base.stack

    def begin_task(self, t: int, rows: Rows) -> None:
        """Let the base begin."""
        self.base.begin_task(t, rows)

    def phases(self, t: int) -> Iterable[Phase]:
        """Return the base's phases."""
        return self.base.phases(t)

    def end_task(self, t: int, rows: Rows) -> None:
        """Let the base end."""
        self.base.end_task(t, rows)

    def loss(self, batch: Batch) -> Tensor:
        """Return the base's loss."""
        return self.base.loss(batch)

    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return the base's answers."""
        return self.base.predict(batch, task)

    def predicting(self) -> AbstractContextManager[None]:
        """Return the base's context of scoring."""
        return self.base.predicting()

    def adapter_counts(self) -> tuple[int, int]:
        """Return the base's counts."""
        return self.base.adapter_counts()

    def report(self, t: int) -> dict[str, Any]:
        """Return the base's report on task t."""
        return self.base.report(t)

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]] | None:
        """Return the base's sum."""
        return self.base.low_rank_sum()


def make_base(
    key: str, context: Context, chosen: BaseModel, settings: Mapping[str, Any], own: Collection[str] = ()
) -> LowRankMethod:
    """Return the method registered as `key`, with the rates and the optimiser of the method around it.

    Args:
        chosen: hyper-parameters of the method around it.
        settings: further hyper-parameters of the base, which win; its defaults hold for what is not given.
        own: hyper-parameters that belong to the method around the base.

    Raises:
        UserError: `settings` holds one of `own`, or what the base does not know or refuses.
    """
    for name in sorted(settings.keys() & set(own)):
        raise UserError(f"base_settings: {name} is the gate's own: write --set {name}=...")
    method = METHODS.load(key)
    shared = chosen.model_dump(include=set(SHARED), exclude_none=True)
    try:
        hyperparameters = method.Hyperparameters(**shared | dict(settings))
    except ValidationError as error:
        raise UserError(f"base_settings: {first_of(error, '')} (see: bench list --method {key})") from None
    made: LowRankMethod = method(context, hyperparameters)
    return made
