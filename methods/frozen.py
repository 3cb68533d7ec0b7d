"""Frozen backbone: only the head is trained; the floor that every adapter has to beat.

Trained per task: the head rows of the task's classes. Frozen: the whole backbone. Stored: the head. On
text to text there is no head, so nothing is trained and the score is the pretrained model's own. Needs
neither task id, old data nor statistics.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Method, Phase


class Frozen(Method):
    """A linear probe on frozen features."""

    Hyperparameters: ClassVar[type[BaseModel]] = LowRankHyperparameters
    reference = True
    changes = "nothing"

    def begin_task(self, t: int, rows: Rows) -> None:
        """Freeze the backbone; it has no adapters."""
        self.task_model.backbone.module.requires_grad_(False)

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the head, or none where there is no head."""
        head = self.head_groups()
        return [self.main_phase(t, head, name="probe")] if head else []


METHOD = Frozen
