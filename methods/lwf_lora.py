"""LwF-LoRA: one adapter that keeps answering as before (Learning without Forgetting, arXiv 1606.09282).

Idea: before a task begins, the model's own answers to the new task's inputs say what it knew. Training keeps
them close, by a distillation loss beside the task's own, so that no old data is needed. Here one low-rank
adapter is trained on and on, and the teacher is that adapter as the last task left it. The original work is
of full fine-tuning and has no low-rank code; this is the form in which surveys use it.

Trained per task: the adapter and the head rows of the task's classes; of all classes where the protocol's
loss is over all of them. Frozen: the backbone. Stored: one adapter; the teacher, adapter and head as the last
task left them, exists only while a task is learned. Needs neither task id, old data nor statistics. Works on
every kind of backbone: the answers are the logits of old classes, and on text to text the distributions of
the next token along the new task's answers. A step costs one more forward pass.

Differences from the paper: no separate warm-up of the new head rows; under a loss over the current task's
classes old head rows do not move; temperature 2 and weight 1 are the paper's, the weight multiplies T^2 KL.

Defaults that differ from the released program: there is none with adapters; learning rate and optimiser are
this suite's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from benchmark.data.batches import Batch, Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context
from benchmark.models.task_model import ClassificationTaskModel
from benchmark.space import Between, Space
from methods.pieces.distillation import divergence, pick_answer_logits
from methods.seq_lora import SequentialLoRA


class LwFHyperparameters(LowRankHyperparameters):
    """The weight of old answers beside the adapter's settings."""

    distillation: float = Field(
        1.0, ge=0, description="lambda, the weight of the divergence from old answers"
    )
    temperature: float = Field(2.0, gt=0, le=100, description="T of both distributions")


class LwFLoRA(SequentialLoRA):
    """Sequential LoRA with a distillation loss.

    Attributes:
        teacher: the adapter's factors before this task; empty at the first.
        teacher_head: the task model's state, which is the head, before this task; empty at the first.
        old_classes: how many head columns earlier tasks had.
    """

    Hyperparameters = LwFHyperparameters
    search: ClassVar[Space] = {"distillation": Between(0.1, 10), "temperature": (1.0, 2.0, 4.0)}
    reference = False

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without a teacher."""
        super().__init__(context, hyperparameters)
        self.teacher: list[Tensor] = []
        self.teacher_head: dict[str, Tensor] = {}
        self.old_classes = 0

    def begin_task(self, t: int, rows: Rows) -> None:
        """Make adapter and head as they are the teacher."""
        super().begin_task(t, rows)
        task_model = self.task_model
        earlier = [column for task in task_model.tasks[:t] for column in task_model.task_columns(task)]
        self.old_classes = max(earlier, default=-1) + 1
        if t:
            self.teacher = self.stack.snapshot()
            if isinstance(task_model, ClassificationTaskModel):
                held = task_model.head.state().items()
                self.teacher_head = {name: tensor.clone() for name, tensor in held}

    def end_task(self, t: int, rows: Rows) -> None:
        """Forget the teacher."""
        self.teacher, self.teacher_head = [], {}

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus the weighted divergence from the teacher's answers."""
        loss, logits = self.task_model.outputs(batch)
        weight = self.hyperparameters.distillation
        if not self.teacher or not weight:
            return loss
        old, new = (self._pick_old_logits(x, batch) for x in (self._before(batch), logits))
        return loss + weight * divergence(old, new, self.hyperparameters.temperature)

    @torch.no_grad()
    def _before(self, batch: Batch) -> Tensor:
        """Return the logits that adapter and head gave before this task."""
        with self.stack.using(self.teacher):
            if not isinstance(self.task_model, ClassificationTaskModel):
                return self.task_model.outputs(batch)[1]
            features = self.task_model.backbone.features(batch.inputs)
        return functional_call(self.task_model.head, self.teacher_head, (features,))

    def _pick_old_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        if batch.targets is None:
            return logits[:, : self.old_classes]
        return pick_answer_logits(logits, batch, self.task_model.backbone.kind == "causal")


METHOD = LwFLoRA
