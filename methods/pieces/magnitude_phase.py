"""SD-LoRA as LiteLoRA trains it: adapter and magnitudes, with a stepped learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from benchmark.data.batches import Rows
from benchmark.method import Phase
from methods.sd_lora import SDHyperparameters, SDLoRA


class MagnitudeHyperparameters(SDHyperparameters):
    """Settings of LiteLoRA's first phase."""

    learning_rate: float = Field(1e-2, gt=0, le=10, description="of the adapter and the head")
    optimizer: Literal["sgd", "adam", "adamw"] | None = Field("sgd", description="of the magnitude phase")
    magnitude_learning_rate: float = Field(8e-3, gt=0, le=10)
    magnitude_weight_decay: float = Field(2e-4, ge=0, le=1)


class MagnitudeLoRA(SDLoRA):
    """SD-LoRA whose magnitudes are carried over and whose current adapter is not normalised.

    Attributes:
        last_magnitude: the current adapter's, noted before the adapter may be dropped.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = MagnitudeHyperparameters
    carries_over = True
    # In either variant: the norm of a new adapter starts at zero.
    normalises_current = False
    variant_magnitude: Mapping[str, float] = {"official": 1.0, "paper": 1.0}
    last_magnitude = 1.0

    def training_facts(self) -> list[Any]:
        """Return the settings of the phase; what a subclass decides by changes nothing of it."""
        names = set(MagnitudeHyperparameters.model_fields)
        return ["magnitude", self.hyperparameters.model_dump(mode="json", include=names)]

    def phases(self, t: int) -> list[Phase]:
        """Return the magnitude phase."""
        adapter, magnitudes, *head = self.groups()
        if t == 0:
            # The first adapter keeps magnitude 1: with nothing to weigh it against, B alone sets its size.
            return [self.main_phase(t, [adapter, *head])]
        chosen = self.hyperparameters
        magnitudes = replace(
            magnitudes,
            learning_rate=chosen.magnitude_learning_rate,
            weight_decay=chosen.magnitude_weight_decay,
        )
        steps = {"milestones": (0.6, 0.8), "factor": 0.5}
        return [self.main_phase(t, [adapter, magnitudes, *head], name="magnitude", **steps)]

    def end_task(self, t: int, rows: Rows) -> None:
        """Note the magnitude."""
        self.last_magnitude = float(self.magnitudes.detach()[-1])

    def report(self, t: int) -> dict[str, Any]:
        """Return the magnitude that task t's adapter was learned with beside SD-LoRA's report."""
        return super().report(t) | {"magnitude": self.last_magnitude}
