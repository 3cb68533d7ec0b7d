"""Sample probe: trains the head alone, at a rate of its own; a method from outside the suite."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from benchmark.data.batches import Rows
from benchmark.method import Hyperparameters, Method, ParameterGroup, Phase


class ProbeSettings(Hyperparameters):
    """How the head is trained."""

    rate: float = Field(0.1, gt=0, le=10, description="learning rate of the head")


class Probe(Method):
    """A linear probe that remembers how many rows each task had."""

    Hyperparameters = ProbeSettings

    def begin_task(self, t: int, rows: Rows) -> None:
        """Freeze the backbone."""
        self.task_model.backbone.module.requires_grad_(False)
        self.rows = len(rows)

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the head."""
        group = ParameterGroup(self.task_model.head_parameters(), self.hyperparameters.rate)
        return [Phase("probe", [group], self.loss, self.protocol.epochs, self.protocol.batch_size)]

    def report(self, t: int) -> dict[str, Any]:
        """Tell how many rows were seen."""
        return {"rows": self.rows}


METHOD = Probe
