"""SD-LoRA: learned magnitudes over frozen, normalised directions (arXiv 2501.13198, ICLR 2025).

Idea: the update of task t is a new low-rank direction; all earlier directions are frozen and normalised,
and one magnitude per task, shared by every adapted layer, is learned again for each new task. Earlier
directions are thereby reused instead of overwritten. Official repository: WuYichen-97/SD-Lora-CL.

Trained per task: the new adapter, one magnitude per task so far, the head rows of the task's classes.
Frozen: the backbone and all earlier adapters. Stored: T adapters and T magnitudes, all active. Needs neither
task id, old data nor statistics.

Official code and paper differ; `variant` chooses:

| | official (default) | paper |
|---|---|---|
| norm of an earlier direction | product of factor norms: length at most 1 | norm of the product: length 1 |
| the current direction | not normalised | normalised |
| magnitudes | start at 0.8 | start at 1 |
| at a new task | all restart, so the function jumps | carried over, so it is continuous |
| optimiser | SGD, momentum 0.9 | Adam |

Other differences from the official code: an epsilon of 1e-8 in the norm, where the code gives NaN after a
task of zero steps; head rows of old classes are frozen, which is what its loss over current classes
amounts to; no cap of 20 tasks. The orthogonality term that the code computes and multiplies by zero is
left out. The paper's current direction has no length at its start (B = 0): its scale is then 5e7, which
Adam's steps do not see.

Published settings (learning rate, epochs, batch): ImageNet-R 1e-2, 20, 128; CIFAR-100 8e-3, 20, 128
(shipped configurations, SGD); paper: Adam 8e-3, 30 or 20 epochs. Rank 10 on query and value.

Defaults that differ from the released program: none for CIFAR-100; the other sets' rates are used in their
protocols `sdlora`. The configurations' weight decay, their schedules by name and "adam" are read by no line
of the program, which builds SGD without decay and divides the rate at milestones alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.method import Context, ParameterGroup
from benchmark.state import learned

EPSILON = 1e-8


class SDHyperparameters(LowRankHyperparameters):
    """SD-LoRA's own settings beside the adapter's."""

    variant: Literal["official", "paper"] = Field("official", description="the authors' code, or their text")
    learning_rate: float = Field(8e-3, gt=0, le=10, description="of adapter, magnitudes and head")
    optimizer: Literal["sgd", "adam", "adamw"] | None = Field(  # type: ignore[assignment]
        None, description="none: the variant's"
    )
    initial_magnitude: float | None = Field(None, gt=0, le=100, description="none: the variant's")


class SDLoRA(LowRankMethod):
    """Magnitudes over directions; see the module for what `variant` changes.

    Attributes:
        magnitudes: one per adapter held, past adapters in stacking order, the current one last.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = SDHyperparameters
    constant_scales = True
    keeps = learned("magnitudes")
    carries_over = property(lambda self: self.hyperparameters.variant == "paper")
    normalises_current = property(lambda self: self.hyperparameters.variant == "paper")
    variant_magnitude: Mapping[str, float] = {"official": 0.8, "paper": 1.0}

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Let the magnitudes scale the stack."""
        super().__init__(context, hyperparameters)
        self.stack.learned_scales = self.scales
        self.magnitudes = nn.Parameter(torch.zeros(0, device=self.task_model.device))
        self.norms = torch.zeros(0)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Freeze the last direction and start a new one; restart or carry over the magnitudes."""
        super().begin_task(t, rows)
        chosen = self.hyperparameters
        start = chosen.initial_magnitude or self.variant_magnitude[chosen.variant]
        old, fresh = self.magnitudes.detach(), self.magnitudes.new_full((1,), start)
        kept = old if self.carries_over else torch.full_like(old, start)
        self.magnitudes = nn.Parameter(torch.cat([kept, fresh]))
        self._measure_past()

    def _measure_past(self) -> None:
        official = self.hyperparameters.variant == "official"
        norms = self.stack.factor_norms() if official else self.stack.product_norms()
        self.norms = norms + EPSILON

    def groups(self) -> list[ParameterGroup]:
        """Add the magnitudes, at the adapter's learning rate."""
        magnitudes = ParameterGroup([self.magnitudes], self.hyperparameters.learning_rate)
        adapter, *head = super().groups()
        return [adapter, magnitudes, *head]

    def main_phase(self, t: int, groups: list[ParameterGroup], **changes: Any) -> Any:
        """Use the variant's optimiser where none was asked for."""
        phase = super().main_phase(t, groups, **changes)
        if phase.optimizer is None:
            sgd = self.hyperparameters.variant == "official"
            phase = replace(phase, optimizer="sgd" if sgd else "adam", momentum=0.9 if sgd else 0.0)
        return phase

    def scales(self) -> tuple[Tensor, Tensor | None]:
        """Return the scales of past adapters `(M, frozen)` and of the current adapter `(M,)`."""
        past = self.magnitudes[: len(self.stack.frozen_tasks)] / self.norms
        if self.stack.current_task is None:
            return past, None
        current = self.magnitudes[-1].expand(len(self.stack.layers))
        if self.normalises_current:
            current = current / (self._current_norms() + EPSILON)
        return past, current

    def _current_norms(self) -> Tensor:
        """Return |B A|_F of the current adapter at each layer, `(M,)`, with a zero gradient at zero."""
        squares = []
        for a, b in zip(self.stack.lora_a(), self.stack.lora_b(), strict=True):
            squares.append(((a @ a.t()) * (b.t() @ b)).sum())
        return torch.stack(squares).clamp(min=EPSILON**2).sqrt()

    def drop_current(self) -> None:
        """Forget the current adapter and its magnitude."""
        super().drop_current()
        self.magnitudes = nn.Parameter(self.magnitudes.detach()[:-1].clone())

    def report(self, t: int) -> dict[str, Any]:
        """Return the magnitude of every adapter held, by the task that made it."""
        return {"magnitudes": dict(zip(map(str, self.stack.tasks()), self.magnitudes.tolist(), strict=True))}

    def after_restore(self) -> None:
        """Measure the frozen directions again."""
        self._measure_past()


METHOD = SDLoRA
