"""Sequential LoRA: one pair for all tasks, trained on and on; what forgetting looks like without a defence.

Idea: one low-rank pair per adapted layer is made once and every task continues to train it. Optimiser
state is fresh for each task. Folklore; rows called SeqLoRA in the O-LoRA and InfLoRA papers, some of
which re-initialise the pair instead (not this method). Trained per task: the pair and the head rows of
the task's classes. Stored: one pair. Needs neither task id, old data nor statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from benchmark.data.batches import Rows
from benchmark.lora.method import LowRankMethod


class SequentialLoRA(LowRankMethod):
    """One pair, never frozen."""

    tuned: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Search on validation rows: learning rates 0.001, 0.003, 0.01, 0.03, 0.1 gave validation AP
        # 56.1, 63.1, 62.6, 24.2, 11.9.
        "digits/quick": {"learning_rate": 0.003},
        # Search on 100 validation rows a task: learning rates 0.001, 0.003, 0.01
        # gave validation AP 34.5, 38.5, 6.5.
        "standard-cl/quick": {"learning_rate": 0.003},
        # As published, for LLaMA-2-7B: the official code's scripts/train_lora.sh.
        "trace/trace": {"learning_rate": 0.0001},
    }
    bound = True

    def begin_task(self, t: int, rows: Rows) -> None:
        """Make the pair at the first task; go on with it at later ones."""
        if self.stack.current_task is None:
            self.stack.add(t, self.rank(t))


METHOD = SequentialLoRA
