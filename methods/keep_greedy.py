"""Control: LiteLoRA without its gate, keeping an adapter where rows of all tasks seen say that it helps.

Idea: LiteLoRA's gate sees the new task alone. This control learns each task exactly as LiteLoRA's magnitude
phase does, then scores validation rows of every task seen so far with the new adapter and without it, and
keeps it only if the mean over tasks is better by more than `least_gain`. It keeps rows of old tasks and so is
listed with methods that rehearse: it shows what a decision could be worth that knows of forgetting. Ours; no
paper.

Where a task has no validation rows its training rows are scored. Classes compete as the protocol's head says;
the task id is given only where the protocol gives it.

Trained, frozen and stored as in `litelora`, less the gates. Needs old data, which it scores and never trains
on. Works on every kind of backbone. Two more passes over the held-out rows of all tasks seen, a task.
Learning rates are LiteLoRA's.

Defaults that differ from the released program: there is none; what it shares with LiteLoRA has the defaults
of LiteLoRA's program.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field

from benchmark.method import Needs
from benchmark.running.training import evaluate
from methods.pieces.keeping import Deciding
from methods.pieces.magnitude_phase import MagnitudeHyperparameters


class GreedyHyperparameters(MagnitudeHyperparameters):
    """When an adapter is kept, beside the settings of LiteLoRA's first phase."""

    least_gain: float = Field(
        0.0, ge=0, le=1, description="of the mean score over tasks seen that an adapter must exceed, 0 to 1"
    )


class KeepGreedy(Deciding):
    """Keeps an adapter that raises the mean score of the tasks seen.

    Attributes:
        gain: of the last adapter asked about, in 0..1.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = GreedyHyperparameters
    needs = Needs(rehearsal=True)
    gain = 0.0

    def decide(self, t: int) -> bool:
        """Return whether the mean score with the adapter exceeds that without it by more than asked."""
        without = [torch.zeros_like(matrix) for matrix in self.stack.snapshot()]
        scored = self.mean_score(t)
        with self.stack.using(without):
            self.gain = scored - self.mean_score(t)
        return self.gain > self.hyperparameters.least_gain

    def mean_score(self, t: int) -> float:
        """Return the mean over tasks 0 to t of the score on their held-out rows."""
        scores = []
        for i, task in enumerate(self.task_model.tasks[: t + 1]):
            examples = task.validation or task.train
            scores.append(evaluate(self, i, self.task_model.encode(task, examples), examples))
        return sum(scores) / len(scores)

    def report(self, t: int) -> dict[str, Any]:
        """Return what the adapter gained beside the decision."""
        return super().report(t) | ({"gain": round(self.gain, 6)} if t else {})


METHOD = KeepGreedy
