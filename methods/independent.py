"""Independent LoRA: an adapter and head rows per task, chosen by the task id at test; a ceiling.

Idea: every task is learned from the pretrained model as if it were alone, and an oracle names the task of
each test row. Nothing can be forgotten. Called PerTaskLoRA in surveys. The id selects the adapter and, since
it is known, also the classes that may be answered. Trained per task: its adapter and head rows. Stored: T
adapters, of which one takes part in a prediction. Needs the task id.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmark.data.batches import Batch
from benchmark.method import Needs
from methods.pieces.one_adapter import OneAdapterAtATime


class Independent(OneAdapterAtATime):
    """One adapter per task, only the named one switched on."""

    needs = Needs(task_id=True)
    settled = True
    reference = True

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Answer with the adapter of the given task."""
        with self.through(task):
            return super().predict(batch, task)


METHOD = Independent
