"""The method contract: what a continual method says about each task, and nothing about how it is run.

A method is a policy over a frozen backbone. For task t the learner calls `begin_task`, trains each of
`phases`, then calls `end_task`; `predict` answers at test time. What it declares in `keeps` is saved after
every task, counted, and must be enough to continue with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final
from typing import Protocol as Interface

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmark import state
from benchmark.phase import ParameterGroup, Phase
from benchmark.protocol import Protocol, Schedule
from benchmark.space import Space
from benchmark.state import Kept, Sizes

if TYPE_CHECKING:
    from peft import PeftConfig

    from benchmark.data.batches import Batch, Rows
    from benchmark.models.task_model import TaskModel

# Whoever writes a method finds here all that the contract speaks of.
__all__ = [
    "Accounting",
    "Classifier",
    "Context",
    "Hyperparameters",
    "Method",
    "Needs",
    "ParameterGroup",
    "Phase",
    "Space",
]


class Hyperparameters(BaseModel):
    """Base of every method's hyper-parameters: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


TRAINING: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "head_learning_rate": None,
    "optimizer": "adam",
    "weight_decay": 0.0,
}
"""How a phase trains where a method's hyper-parameters do not say: as `LowRankHyperparameters` does."""


@dataclass(frozen=True)
class Needs:
    """What a method asks for beyond the current task's training data; unlike is never ranked with unlike.

    Attributes:
        test_batch: its answer for a row depends on the rows scored with it. Batches hold one task each, so
            this tells it something of the task.
    """

    task_id: bool = False
    rehearsal: bool = False
    stored_statistics: bool = False
    test_batch: bool = False


@dataclass(frozen=True)
class Accounting:
    """Numbers a method holds after a task; see `benchmark.results.Parameters` for the words.

    Attributes:
        adapters: what is learned as one piece and could be taken away as one: an adapter over all layers, a
            prompt, a component. Weights that are changed themselves are none.
        active: those whose removal can change a prediction of some row, whichever the row picks. What was
            merged into one change is one.
    """

    stored: int
    resident: int
    adapters: int
    active: int
    auxiliary_bytes: int = 0
    passes_per_prediction: float = 1.0


@dataclass
class Context:
    """What a method is built on."""

    task_model: TaskModel
    protocol: Protocol
    task_count: int


class Classifier(Interface):
    """Answers in place of the task model's head, by what it takes in of each task once it is learned."""

    def begin_task(self) -> None:
        """Let the head answer, which alone knows the new classes, until the task is learned."""

    def end_task(self, rows: Rows) -> None:
        """Take in the task's rows, as they are at test time."""

    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return one prediction per row; `task`, where it is given, masks the other tasks' classes alone."""


class Method:
    """Base of every method. A file under `methods/` defines one and names it `METHOD`.

    Class attributes:
        Hyperparameters: pydantic model; its fields are the method's `--set` keys.
        search: values that `bench tune` may try, by hyper-parameter, beside the usual learning rates.
        needs: what is asked for beyond the current task's data.
        keeps: what outlives a task beside the head, see `benchmark.state`; a subclass adds to it.
        reference: True for reference rows, floors and ceilings.
        kinds: the kinds of backbone that the method's mathematics allows.
        no_sum: why `low_rank_sum` returns None, for the message of `export`.
        changes_backbone: True where it trains the backbone's own weights; its state then holds them.
        own_classifier: True where it answers without the task model's head, which then only trains: by a
            `Classifier`, or by a `predict` of its own.
        changes: what of the model it changes: blocks of it, its input or what the lower blocks are given as
            well, or nothing below the head. What lies below the first change is computed once for each row.
        settled: True where, given the task id, it answers ever after as when that was learned: such a score
            is taken over.
        probes: True where a head over the last token's feature answers for a causal model, as for models that
            classify, in place of the text that it writes.
        spares: True where it may end a task without an adapter for it, which then counts as one saved.
        task_id_only_masks: True where it overrides `predict` and a row's features and class scores do not
            depend on the task id given, which only masks classes: one pass then serves all three readings.
        schedule: what the learning rate follows whatever the protocol says; None: the protocol's.
        whole_batches: True where its loss on a batch is not the mean over the batch's rows, as where it takes
            old rows for each batch: gradient accumulation is then refused.
        checkpoints: False where what it puts into the blocks for a pass is gone when one is computed again:
            gradient checkpointing is then refused.
        reads_weights: True where it, or a library that it uses, computes with the numbers of the pretrained
            weights: quantization, which leaves none, and several GPUs are then refused.
        notes: tensors of its state, by name, that no training and no answer depends on, as what it decided.
        tried: True where another library decides what works: `bench list --check` then tries every kind.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = Hyperparameters
    search: ClassVar[Space] = {}
    needs: ClassVar[Needs] = Needs()
    keeps: ClassVar[tuple[Kept, ...]] = ()
    reference: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("vector", "image", "encoder", "seq2seq", "causal")
    changes_backbone: ClassVar[bool] = False
    no_sum: ClassVar[str] = "it learned no low-rank update"
    own_classifier: ClassVar[bool] = False
    settled: ClassVar[bool] = False
    probes: ClassVar[bool] = False
    spares: ClassVar[bool] = False
    changes: ClassVar[Literal["blocks", "input", "nothing"]] = "blocks"
    task_id_only_masks: ClassVar[bool] = False
    schedule: ClassVar[Schedule | None] = None
    whole_batches: ClassVar[bool] = False
    checkpoints: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = False
    notes: ClassVar[frozenset[str]] = frozenset()
    tried: ClassVar[bool] = False

    classifier: Classifier | None = None
    """What answers in place of the head; set by `__init__`, called by the task loop around each task."""

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Keep the context; subclasses attach their adapters here."""
        self.task_model = context.task_model
        self.protocol = context.protocol
        self.task_count = context.task_count
        self.hyperparameters = hyperparameters

    def training_facts(self) -> list[Any] | None:
        """Return what its training and answers depend on beside its state and the protocol, as JSON values.

        Methods that return equal facts and have equal states, less `notes`, learn the next task alike up to a
        phase that decides, and a study trains that once. None: nothing is shared.
        """
        return None

    def training_tasks(self, t: int) -> Sequence[int]:
        """Return the tasks whose training data is seen at step t; an empty answer skips the step."""
        return (t,)

    def begin_task(self, t: int, rows: Rows) -> None:
        """Prepare task t: add adapters, look at `rows`, its encoded training data."""

    def phases(self, t: int) -> Iterable[Phase]:
        """Return the training segments of task t, in order.

        Each is run before the next is asked for, so that a generator can decide by what it has learned.
        """
        raise TypeError(f"{type(self).__name__} does not say how a task is trained")

    def end_task(self, t: int, rows: Rows) -> None:
        """Freeze, merge, prune or measure once the phases are over."""

    def epochs(self, t: int) -> int:
        """Return the protocol's epochs for task t."""
        name, exceptions = self.task_model.tasks[t].name, self.protocol.epochs_by_task
        # A task that returns is learned as it was at first, see `benchmark.data.repeats`.
        return exceptions.get(name, exceptions.get(name.partition(", visit ")[0], self.protocol.epochs))

    def head_groups(self) -> list[ParameterGroup]:
        """Return the head's parameter group; none where there is no head.

        Reads `head_learning_rate`, `learning_rate` and `weight_decay` of the hyper-parameters; what they do
        not have is as in `TRAINING`.
        """
        head = self.task_model.head_parameters()
        if not head:
            return []
        rate = self._setting("head_learning_rate") or self._setting("learning_rate")
        return [ParameterGroup(head, rate, self._setting("weight_decay"))]

    def _setting(self, name: str) -> Any:
        return getattr(self.hyperparameters, name, TRAINING[name])

    def main_phase(self, t: int, groups: list[ParameterGroup], **changes: Any) -> Phase:
        """Return the phase that runs for the protocol's epochs, with the given fields changed.

        Reads `optimizer` of the hyper-parameters; where they have none it is that of `TRAINING`.
        """
        optimizer = self._setting("optimizer")
        settings: dict[str, Any] = {
            "name": "adapt",
            "groups": groups,
            "loss": self.loss,
            "epochs": self.epochs(t),
            "batch_size": self.protocol.batch_size,
            "optimizer": optimizer,
            "momentum": 0.9 if optimizer == "sgd" else 0.0,
            "clip": self.protocol.gradient_clip,
            "main": True,
        }
        # A method with rates of its own course keeps it.
        if self.schedule is not None:
            settings["schedule"] = self.schedule
        elif not changes.keys() & {"schedule", "milestones"}:
            settings["schedule"] = self.protocol.schedule
            settings["milestones"] = self.protocol.milestones
            settings["factor"] = self.protocol.milestone_factor
        return Phase(**settings | changes)

    def loss(self, batch: Batch) -> Tensor:
        """Return the task model's loss; the default loss of a phase."""
        return self.task_model.loss(batch)

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return one prediction per row.

        The scorer withholds `task` (None) unless the method declares `needs.task_id` or the protocol is
        task-incremental.
        """
        return (self.classifier or self.task_model).predict(batch, task)

    def predicting(self) -> AbstractContextManager[None]:
        """Return the context in which a whole task is scored: nothing is trained within it."""
        return nullcontext()

    def adapter_counts(self) -> tuple[int, int]:
        """Return how many adapters have been learned, and how many of them are active; see `Accounting`."""
        return 0, 0

    def passes(self) -> float:
        """Return how many passes through the backbone a prediction takes."""
        return 1.0

    @final
    def accounting(self) -> Accounting:
        """Return the counts after the task just learned, which follow from what is declared in `keeps`."""
        sizes = state.sizes(self)
        return Accounting(
            sizes.stored, sizes.in_memory, *self.adapter_counts(), sizes.auxiliary_bytes, self.passes()
        )

    def report(self, t: int) -> dict[str, Any]:
        """Return what the method reports on task t beyond its scores; JSON values only."""
        return {}

    @final
    def state(self) -> dict[str, Tensor]:
        """Return every tensor that must outlive the process: the head, and what `keeps` declares."""
        head = {f"head.{name}": tensor for name, tensor in self.task_model.state().items()}
        return head | state.collect_saved(self)

    @final
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned in another process."""
        self.task_model.restore(state.part(tensors, "head."))
        state.restore(self, tensors, self.task_model.device)
        self.after_restore()

    def after_restore(self) -> None:
        """Work out again what follows from what was restored."""

    @final
    def sizes(self) -> Sizes:
        """Return how much is kept, for a method that has this one as its base."""
        return state.sizes(self)

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]] | None:
        """Return `{module: (down (R, d_in), up (d_out, R))}` whose products are added to the weights.

        None where the result is no such sum; `export` then says so.
        """
        return None

    def peft_checkpoint(self) -> tuple[PeftConfig, dict[str, Tensor]] | None:
        """Return peft's own configuration and tensors, for a method whose adapter is a tuner of peft.

        None for every other; `export` then writes `low_rank_sum` as a LoRA.
        """
        return None
