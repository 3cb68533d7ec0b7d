"""Independent LoRA: a pair and head rows per task, chosen by the task id at test; an upper bound.

Idea: every task is learned from the pretrained model as if it were alone, and an oracle names the task of
each test row. Nothing can be forgotten. Called PerTaskLoRA in surveys. The id selects the pair and, since
it is known, also the classes that may be answered. Trained per task: its pair and head rows. Stored: T
pairs, of which one takes part in a prediction. Needs the task id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from benchmark.data.batches import Batch
from benchmark.method import Accounting, Needs
from methods.pieces.one_pair import OnePairAtATime


class Independent(OnePairAtATime):
    """One pair per task, only the named one switched on."""

    tuned: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Search on validation rows: learning rates 0.001, 0.003, 0.01, 0.03, 0.1 gave validation AP
        # 99.6, 99.6, 100.0, 96.4, 90.5.
        "digits/quick": {"learning_rate": 0.01},
        # Search on 100 validation rows a task: learning rates 0.001, 0.003, 0.01
        # gave validation AP 67.8, 72.0, 70.5.
        "standard-cl/quick": {"learning_rate": 0.003},
    }
    needs = Needs(task_id=True)
    settled = True
    bound = True

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Answer with the pair of the given task."""
        with self.through(task):
            return super().predict(batch, task)

    def accounting(self) -> Accounting:
        """Count all pairs as stored, resident and active: each answers for its own task."""
        held, adapters = self.stack.stored(), self.stack.count()
        return Accounting(stored=held, resident=held, adapters=adapters, active=adapters)


METHOD = Independent
