"""What a method trains at a time: which parameters, on which loss, for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from benchmark.protocol import Schedule

if TYPE_CHECKING:
    from benchmark.data.batches import Batch, Rows


@dataclass
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay."""

    parameters: list[nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0


@dataclass
class Phase:
    """One training segment inside a task.

    Attributes:
        groups: exactly the parameters that change; everything else is frozen while the phase runs.
        milestones: shares of the phase's epochs after which the learning rate is multiplied by `factor`.
        schedule: what the learning rate follows besides, see `benchmark.running.training.rate_factor`.
        loss: from a batch to a scalar.
        clip: largest norm of a step's gradient, None for no clipping.
        before: called before the phase's random numbers are seeded and its first step is taken.
        further_losses: each takes a step of its own on every batch, after that of `loss`.
        after_backward: called between a step's gradients and the optimiser, as for a projection.
        after_step: called when the optimiser has moved the parameters.
        decides: its steps decide which adapters stay; a protocol may ask for more of them than its epochs
            take, see `Protocol.selection_steps`.
        rows: what it is trained on, where that is not what the task's other phases are.
        main: its epochs are the protocol's; which of them counts is chosen by the protocol's `selection`.
    """

    name: str
    groups: list[ParameterGroup]
    loss: Callable[[Batch], Tensor]
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    momentum: float = 0.0
    milestones: tuple[float, ...] = ()
    factor: float = 1.0
    schedule: Schedule = "constant"
    clip: float | None = None
    before: Callable[[], None] | None = None
    further_losses: tuple[Callable[[Batch], Tensor], ...] = ()
    after_backward: Callable[[], None] | None = None
    after_step: Callable[[], None] | None = None
    decides: bool = False
    rows: Rows | None = None
    main: bool = False

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all groups."""
        return [parameter for group in self.groups for parameter in group.parameters]
