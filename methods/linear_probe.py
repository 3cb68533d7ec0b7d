"""Joint linear probe: the head trained on frozen features of all tasks at once; what needs no adapter.

All tasks' training data are learned together, as joint training learns them, but nothing is adapted. What
this row reaches a board cannot credit to adapters: the distance from it to `joint` is the headroom that they
have. Needs all old data, which is why it is a reference and not a competitor. A causal language model is read
the same way, by a head on its last token's feature over the labels of all tasks: its zero-shot score (the row
`frozen`) says what it knows of the labels' words, and less of what its features hold.

A probe that has not converged makes the headroom look larger than it is: the head takes `longer` times
the protocol's epochs, on stored features, for which the backbone is not run again.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Needs, Phase
from methods.frozen import Frozen


class ProbeHyperparameters(LowRankHyperparameters):
    """How long the head is trained, beside how."""

    longer: int = Field(10, ge=1, le=1000, description="times the protocol's epochs that the head is trained")


class LinearProbe(Frozen):
    """Frozen features, one head, everything at once."""

    Hyperparameters = ProbeHyperparameters
    needs = Needs(rehearsal=True)
    kinds: ClassVar[tuple[str, ...]] = ("vector", "image", "encoder", "causal")
    probes = True

    def training_tasks(self, t: int) -> Sequence[int]:
        """Return all tasks at the last step and none before."""
        return range(self.task_count) if t == self.task_count - 1 else ()

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the head, longer than the protocol's."""
        epochs = self.hyperparameters.longer * self.epochs(t)
        return [self.main_phase(t, self.head_groups(), name="probe", epochs=epochs)]


METHOD = LinearProbe
