"""Joint training: one pair on all tasks at once; the upper bound that continual methods approach.

All tasks' training data are shuffled together and learned once, after the last task would have come, with
as many optimiser steps as the tasks have one after another. So only the last row of the score matrix
exists, and forgetting is not defined. Trained: one pair and the whole head. Needs all old data, which is
why it is a bound and not a competitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from benchmark.lora.method import LowRankMethod
from benchmark.method import Needs


class Joint(LowRankMethod):
    """One pair, trained once on everything."""

    tuned: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Search on validation rows: learning rates 0.001, 0.003, 0.01, 0.03, 0.1 gave validation AP
        # 97.6, 98.8, 92.5, 77.0, 64.3.
        "digits/quick": {"learning_rate": 0.003},
        # Search on 100 validation rows a task: learning rates 0.001, 0.003
        # gave validation AP 69.8, 68.2.
        "standard-cl/quick": {"learning_rate": 0.001},
    }
    needs = Needs(old_data=True)
    bound = True

    def training_tasks(self, t: int) -> Sequence[int]:
        """Return all tasks at the last step and none before."""
        return range(self.task_count) if t == self.task_count - 1 else ()


METHOD = Joint
