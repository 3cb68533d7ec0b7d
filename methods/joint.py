"""Joint training: one adapter on all tasks at once; the ceiling that continual methods approach.

All tasks' training data are shuffled together and learned once, after the last task would have come, with
as many optimiser steps as the tasks have one after another. So only the last row of the score matrix
exists, and forgetting is not defined. Trained: one adapter and the whole head. Needs all old data, which is
why it is a reference and not a competitor.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.lora.method import LowRankMethod
from benchmark.method import Needs


class Joint(LowRankMethod):
    """One adapter, trained once on everything."""

    needs = Needs(rehearsal=True)
    reference = True

    def training_tasks(self, t: int) -> Sequence[int]:
        """Return all tasks at the last step and none before."""
        return range(self.task_count) if t == self.task_count - 1 else ()


METHOD = Joint
