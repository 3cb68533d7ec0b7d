"""Control: sequential LoRA with one adapter as large as several, for methods that keep several.

Idea: a method that keeps k adapters of rank r has k r directions. This control spends them on one adapter,
trained on and on, so that a gain of many small adapters over one large one can be told from a gain of more
parameters. Ours; no paper.

Trained per task: the adapter and the head rows of the task's classes. Stored: one adapter of rank `multiple`
r. Needs neither task id, old data nor statistics. Works on every kind of backbone. Learning rates are
sequential LoRA's.

Defaults that differ from the released program: there is none; the multiple is this suite's.
"""

from __future__ import annotations

from pydantic import Field

from benchmark.lora.method import LowRankHyperparameters
from methods.seq_lora import SequentialLoRA


class WideHyperparameters(LowRankHyperparameters):
    """The adapter's size beside its settings."""

    multiple: int = Field(2, ge=1, description="k: the adapter has k times the protocol's rank")


class WideSequentialLoRA(SequentialLoRA):
    """One adapter of several times the rank."""

    Hyperparameters = WideHyperparameters
    reference = False

    def rank(self, t: int) -> int:
        """Return k times the protocol's rank."""
        return self.hyperparameters.multiple * self.protocol.rank


METHOD = WideSequentialLoRA
