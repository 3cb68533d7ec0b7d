"""Control: LiteLoRA without its gate, keeping the adapters of tasks that are given, as given or shuffled.

Idea: what a gate decided, or what a stream's known answer says is needed, is given as `decisions`, a 1 or a 0
for each task. Each task is learned exactly as LiteLoRA's magnitude phase does and its adapter kept where the
decision is 1, with no gate and no selection phase. Three controls follow:

- a LiteLoRA run's own decisions: the same scores to the last bit, which proves that nothing but the decision
  acts;
- these decisions permuted over the tasks after the first (`shuffle`): the **shuffled gate**, which keeps as
  many adapters as the gate and knows nothing of the tasks;
- the tasks that the stream says need an adapter: the **oracle** of what the stream was made for; whether it
  scores best is measured.

A permutation of the decisions of one run keeps as many tasks as `keep-random`, with equal probabilities; it
is another sample. The first adapter is always kept, as LiteLoRA keeps it. Ours; no paper.

Trained, frozen and stored as in `litelora`, less the gates. Needs neither task id, old data nor statistics.
Works on every kind of backbone. Learning rates are LiteLoRA's.

Defaults that differ from the released program: there is none; what it shares with LiteLoRA has the defaults
of LiteLoRA's program.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field

from benchmark.errors import UserError
from benchmark.method import Context
from benchmark.running.checkpoint import seed_for
from methods.pieces.keeping import Planned
from methods.pieces.magnitude_phase import MagnitudeHyperparameters


class GivenHyperparameters(MagnitudeHyperparameters):
    """The decisions, beside the settings of LiteLoRA's first phase."""

    decisions: tuple[bool, ...] = Field((), description="1 to keep, 0 to drop, by task; none: all are kept")
    shuffle: int | None = Field(
        None,
        ge=0,
        description="number of a permutation of the decisions after the first; none: as given",
    )


class KeepGiven(Planned):
    """Keeps the adapters that the decisions say."""

    Hyperparameters: ClassVar[type[BaseModel]] = GivenHyperparameters

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Fix what will be kept; a permutation follows from its number and the run's seed.

        Raises:
            UserError: there is not one decision a task.
        """
        super().__init__(context, hyperparameters)
        decisions = list(hyperparameters.decisions) or [True] * self.task_count
        if len(decisions) != self.task_count:
            raise UserError(
                f"decisions holds {len(decisions)} values and the stream has {self.task_count} tasks; give "
                "a 1 or a 0 for each, such as decisions=1,0,1"
            )
        later = decisions[1:]
        if hyperparameters.shuffle is not None:
            # The generator was seeded for this run before the method was made; nothing is sampled from it.
            own = torch.Generator().manual_seed(
                seed_for(torch.initial_seed(), "shuffle", hyperparameters.shuffle)
            )
            later = [later[place] for place in torch.randperm(len(later), generator=own).tolist()]
        self.plan(t for t, keep in enumerate(later, 1) if keep)


METHOD = KeepGiven
