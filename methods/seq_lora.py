"""Sequential LoRA: one adapter for all tasks, trained on and on: forgetting without a defence.

Idea: one low-rank adapter per adapted layer is made once and every task continues to train it. Optimiser
state is fresh for each task. Folklore; rows called SeqLoRA in the O-LoRA and InfLoRA papers, some of
which re-initialise the adapter instead (not this method). Trained per task: the adapter and the head rows of
the task's classes. Stored: one adapter. Needs neither task id, old data nor statistics.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankMethod


class SequentialLoRA(LowRankMethod):
    """One adapter, never frozen."""

    reference = True

    def begin_task(self, t: int, rows: Rows) -> None:
        """Make the adapter at the first task; go on with it at later ones."""
        if self.stack.current_task is None:
            self.stack.add(t, self.rank(t))


METHOD = SequentialLoRA
