"""ER-LoRA: one adapter that is trained on new rows and on stored old ones (experience replay).

Idea: a small buffer keeps rows of earlier tasks; every batch of a new task is joined by a few of them, and
the loss is over all classes seen so far. The oldest defence against forgetting, and the one that methods
without old data are measured against. Folklore; the reservoir is algorithm R of Vitter, 1985, the balanced
buffer that of GDumb (Prabhu et al., ECCV 2020).

Trained per task: the one adapter, going on, and all head rows. Frozen: the backbone. Stored: one adapter; the
buffer counts as auxiliary bytes; its rows and bytes are reported. Needs old data. Works on every kind of
backbone. A step costs as many more rows as are rehearsed.

Choices that the literature leaves open: a batch of b new rows is joined by `rehearsed` rows, by default b /
2; the loss is the mean over all of them; images are stored as eight-bit pixels and augmented anew whenever
they are sampled; where rows have no class, as in text to text, the balance is over tasks.

Settings in use: 2,000 rows for CIFAR-100, 20 a class for ImageNet-R.

Defaults that differ from the released program: there is none; the buffer's size, learning rate and optimiser
are this suite's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Batch, Rows, join
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, Needs
from benchmark.space import Space
from benchmark.state import auxiliary
from methods.pieces.rehearsal_buffer import PixelFormat, Policy, RehearsalBuffer
from methods.seq_lora import SequentialLoRA


class RehearsalHyperparameters(LowRankHyperparameters):
    """The buffer's settings beside the adapter's."""

    buffer: Policy = Field("reservoir", description="how stored rows are chosen")
    buffer_size: int = Field(100, ge=1, description="rows kept of all earlier tasks together")
    rehearsed: int | None = Field(None, ge=1, description="stored rows in a step; none: half of a batch")


class RehearsalLoRA(SequentialLoRA):
    """Sequential LoRA with a buffer."""

    Hyperparameters = RehearsalHyperparameters
    keeps = auxiliary("buffer")
    # Not the size of the buffer: more old rows are better and cost more, which no search should hide.
    search: ClassVar[Space] = {"buffer": ("reservoir", "class-balanced"), "rehearsed": (4, 8, 16)}
    needs = Needs(rehearsal=True)
    reference = False
    whole_batches = True

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start with an empty buffer."""
        super().__init__(context, hyperparameters)
        self.buffer = RehearsalBuffer(
            hyperparameters.buffer_size, hyperparameters.buffer, PixelFormat.of(self.task_model)
        )

    def begin_task(self, t: int, rows: Rows) -> None:
        """Open the head rows of all classes seen, and go on with the adapter."""
        self.task_model.begin_task(range(t + 1))
        super().begin_task(t, rows)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss over the batch and the rows sampled from the buffer."""
        if len(self.buffer):
            count = self.hyperparameters.rehearsed or max(1, self.protocol.batch_size // 2)
            batch = join([batch, self.buffer.draw(count).to(self.task_model.device)])
        return super().loss(batch)

    def end_task(self, t: int, rows: Rows) -> None:
        """Let the buffer take in the task's rows."""
        self.buffer.add(rows, t)

    def report(self, t: int) -> dict[str, Any]:
        """Return how many rows the buffer holds, of how many there were, and in how many bytes."""
        held = self.buffer
        return {"stored_rows": len(held), "of_rows": held.seen, "buffer_bytes": held.bytes()}


METHOD = RehearsalLoRA
