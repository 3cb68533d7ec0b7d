"""MoCL-P: MoCL that drops new adapters of little weight (arXiv 2406.18708, RepL4NLP 2024).

Idea: where old adapters serve a new task well, its own adapter adds little and need not be kept. A task is
learned as in MoCL, with the new adapter weighted beside the old ones by how well their keys match the input;
the new adapter's mean weight over the task's rows then decides whether it stays. No code was found (the
repository of MoCL, boschresearch/MoCL-NAACL-2024, promises it).

Trained per task: the new adapter, its key and the head rows of the task's classes. Frozen: the backbone, all
earlier adapters and keys. Stored: the K <= T adapters that were kept and their keys, all active, weighted per
input. Needs neither task id, old data nor old classes' statistics; each task is read once after training.
Works on every kind of backbone.

Differences: of the paper its abstract could be read, which speaks of adaptive pruning without the rule; that
the matching weight is compared with a fixed threshold is this suite's reading, and the threshold's default
its choice. The paper's task representations are kept as MoCL's keys. The first adapter is always kept, and
head rows stay as they were trained with the adapter. What else differs is said of MoCL.

Defaults that differ from the released program: there is none; the threshold is this suite's.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from benchmark.data.batches import Rows
from benchmark.lora.inputs import read_in_order
from methods.mocl import MatchingHyperparameters, MoCL


class PruningHyperparameters(MatchingHyperparameters):
    """What a new adapter has to reach, beside MoCL's settings."""

    threshold: float = Field(0.3, ge=0, le=1, description="mean weight below which a new adapter is dropped")


class PrunedMoCL(MoCL):
    """MoCL whose new adapters have to earn their place; see the module.

    Attributes:
        weight: mean weight of the last new adapter on its task's rows.
    """

    Hyperparameters = PruningHyperparameters
    spares = True
    weight = 1.0

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Measure the new adapter's weight and drop the adapter if that is too small."""
        super().end_task(t, rows)
        total = 0.0
        for batch in read_in_order(rows, self.protocol.batch_size, self.task_model.device):
            total += float(self.weights(self.queries(batch))[:, -1].sum())
        self.weight = total / len(rows)
        if self.stack.frozen_tasks and self.weight < self.hyperparameters.threshold:
            self.drop_current()

    def report(self, t: int) -> dict[str, Any]:
        """Return the new adapter's weight and whether it was kept."""
        return {"weight": self.weight, "kept": self.stack.current_task is not None}


METHOD = PrunedMoCL
