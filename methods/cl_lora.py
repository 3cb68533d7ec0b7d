"""CL-LoRA: one shared adapter in the first blocks, one per task in the others (arXiv 2505.24816, CVPR 2025).

Idea: early blocks hold what tasks have in common, late ones what tells them apart. The first half of the
blocks has one adapter for all tasks, whose down factor is random, orthogonal and fixed, and which is held by
distillation; the other half has a new adapter per task with a learned weight per layer. Every class is
scored through its own task's adapters. Official repository: JiangpengHe/CL-LoRA.

Trained per task: the shared up factors, the new adapter, its weights and the head rows of the task's classes.
Frozen: the backbone, the shared down factors, all earlier adapters and weights. Stored: the shared adapter, T
adapters and their weights, all active; of every class the mean feature, as auxiliary bytes. Needs no task id
and no old data, but these means: statistics of old classes. A prediction takes T passes. Works where classes
are answered; a backbone of one block has nothing to share, so distillation falls away there. Text to text has
no class means.

From the second task on a batch takes two steps. The first distils: the first half of the blocks alone, with
the shared adapter as the last task left it as the teacher, divergence at temperature 2 with weight 5 and
without the factor T^2; its gradient at each row of an up factor is weighted by the old row's norm over the
mean norm. The second is cross-entropy over the task's classes plus 1e-4 times the mean |cosine| between the
new weights and those of earlier tasks. A prediction compares features with class means by their cosine.

Follows the official code; the paper scales the distilled gradient by another formula, which is not offered.
Its classifier, which serves training alone, is kept: the cosine of features and head rows, without bias,
times a learned scale that restarts at 1 with every task. So is that this classifier learns from both sides of
the distillation: at large learning rates its scale grows to make both confident, which does not hold the
shared adapter. Differences: the second step's gradient is taken after the first step, where the code takes it
before; weights exist for adapted layers alone; a class that several tasks hold is scored by the best of its
means.

Published settings (shipped configurations): SGD with a cosine schedule on query and value; ImageNet-R 0.05,
20 epochs, rank 10, batch 32, weight decay 5e-4; ImageNet-A 0.05, 25 epochs, rank 10, batch 32, weight decay
5e-3; CIFAR-100 0.03, 30 epochs, rank 8, batch 64, weight decay 1e-4; VTAB 0.03, 45 epochs, rank 10, batch 32,
weight decay 1e-4. The protocols `cllora` of the first three use them.

Defaults that differ from the released program: none for ImageNet-R.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.data.batches import Batch, Rows
from benchmark.lora.layer import exact
from benchmark.lora.method import LowRankHyperparameters, LowRankMethod
from benchmark.lora.stack import AdapterStack
from benchmark.method import Context, Needs, ParameterGroup, Phase
from benchmark.models.answers import Answer
from benchmark.models.task_model import ClassificationTaskModel
from benchmark.state import auxiliary, learned
from methods.pieces.early_exit import first_blocks


class DualHyperparameters(LowRankHyperparameters):
    """What holds the shared adapter, beside how adapters are trained."""

    learning_rate: float = Field(0.05, gt=0, le=10, description="of adapters and weights")
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on whatever is trained")
    shared_blocks: float = Field(
        0.5, ge=0, lt=1, description="share of the blocks that have the shared adapter"
    )
    distillation: float = Field(5.0, ge=0, description="weight of the old shared adapter's answers")
    temperature: float = Field(2.0, gt=0, le=100, description="of both distributions")
    orthogonality: float = Field(1e-4, ge=0, description="weight of the cosine with earlier tasks' weights")


class CLLoRA(LowRankMethod):
    """A shared adapter before the stack of the tasks; see the module.

    Attributes:
        stack: the tasks' adapters, in the later blocks.
        shared: the shared adapter, in the first blocks; None where there are none.
        weights: of each task's adapter, one per adapted layer, `(M,)`; all but the last frozen.
        prototypes: by task, the mean feature of its classes, `(classes, width)`.
        teacher: the shared adapter's factors before this task; empty where nothing is distilled.
        classifier_scale: of the cosines with head rows while a task is learned.
        chosen: the task whose adapter answers.
    """

    Hyperparameters = DualHyperparameters
    keeps = learned("shared", "weights") + auxiliary("prototypes")
    needs = Needs(stored_statistics=True)
    own_classifier = True
    schedule = "cosine-by-epoch"  # as in the official code
    task_id_only_masks = True
    no_sum = "the classes of each task have a sum of their own"
    kinds = ("vector", "image", "encoder")

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Divide the blocks, and start the shared adapter."""
        super().__init__(context, hyperparameters)
        self.stack.learned_scales = self._scale_chosen
        self.shared: AdapterStack | None = None
        if self.shared_blocks:
            self.shared = self.make_stack(self.shared_blocks)
            self.shared.add(0)
            start_orthogonal(self.shared)
        self.weights: list[nn.Parameter] = []
        self.prototypes: list[Tensor] = []
        self.teacher: list[Tensor] = []
        self.classifier_scale = nn.Parameter(torch.ones((), device=self.task_model.device))
        self.chosen: int | None = None
        self.distilling = False

    def adapted_blocks(self, chosen: Sequence[int]) -> Collection[int]:
        """Return the blocks after the shared ones."""
        count = int(len(chosen) * self.hyperparameters.shared_blocks)
        self.shared_blocks, own = chosen[:count], chosen[count:]
        # All blocks up to the last shared one, adapted or not: so far the teacher and its student are run.
        self.shared_count = 1 + self.shared_blocks[-1] if count else 0
        return own

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter and its weights; the shared adapter as it is becomes the teacher."""
        super().begin_task(t, rows)
        stack = self.stack
        start_orthogonal(stack)
        fresh = initialisation.uniform(self.classifier_scale.detach(), len(stack.layers), low=0.5, high=1.5)
        self.weights.append(nn.Parameter(fresh))
        self.classifier_scale = nn.Parameter(fresh.new_ones(()))
        self.chosen = t
        # No earlier adapter takes part in training: none may cost time.
        stack.leave_out_frozen()
        distils = self.shared is not None and stack.frozen_tasks and self.hyperparameters.distillation
        self.teacher = self.shared.snapshot() if self.shared is not None and distils else []

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Forget the teacher; keep the mean feature of every class, seen through the task's adapter."""
        self.teacher = []
        starts = range(0, len(rows), self.protocol.batch_size)
        pieces = [rows.batch(range(s, min(s + self.protocol.batch_size, len(rows)))) for s in starts]
        features = torch.cat([self.features(piece.to(self.task_model.device), t) for piece in pieces])
        labels = torch.cat([piece.labels for piece in pieces if piece.labels is not None]).to(features.device)
        self.prototypes.append(class_means(features, labels, self.columns(t)))

    def columns(self, task: int) -> list[int]:
        """Return the head columns of a task's classes."""
        return self.task_model.task_columns(self.task_model.tasks[task])

    def phases(self, t: int) -> list[Phase]:
        """Return the phase; with a teacher, each batch is distilled on before it is learned from."""
        changes: dict[str, Any] = {}
        if self.teacher:
            changes = {
                "loss": self.distil,
                "further_losses": (self.loss,),
                "after_backward": self.reassign,
            }
        return [self.main_phase(t, self.groups(), **changes)]

    def groups(self) -> list[ParameterGroup]:
        """Add the weights, the classifier's scale and the shared up factors, not their down factors."""
        adapter, *head = super().groups()
        added = [replace(adapter, parameters=[self.weights[-1], self.classifier_scale])]
        if self.shared is not None:
            added.append(replace(adapter, parameters=self.shared.lora_b()))
        return [adapter, *added, *head]

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus the weighted likeness of the new weights to earlier ones."""
        self.distilling = False
        assert isinstance(self.task_model, ClassificationTaskModel) and batch.labels is not None
        logits = self.logits(self.task_model.backbone.features(batch.inputs))
        loss = self.task_model.cross_entropy(logits, batch.labels)
        return loss + self.hyperparameters.orthogonality * self.likeness() if self.weights[1:] else loss

    def logits(self, features: Tensor) -> Tensor:
        """Return the scaled cosines of features with the head's rows, `(n, classes seen)`."""
        assert isinstance(self.task_model, ClassificationTaskModel)
        rows = functional.normalize(torch.cat(list(self.task_model.head.weights)), dim=1)
        return self.classifier_scale * functional.linear(functional.normalize(features, dim=1), rows)

    def likeness(self) -> Tensor:
        """Return the mean |cosine| of the new weights with each earlier task's."""
        earlier = torch.stack([value.detach() for value in self.weights[:-1]])
        return functional.cosine_similarity(earlier, self.weights[-1][None], dim=1).abs().mean()

    def distil(self, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy of the shared blocks' answers with those of the teacher."""
        self.distilling = True
        assert self.shared is not None and isinstance(self.task_model, ClassificationTaskModel)
        task_model, temperature = self.task_model, self.hyperparameters.temperature
        with first_blocks(task_model.backbone.module, self.shared.layers, self.shared_count):
            now = task_model.backbone.features(batch.inputs)
            with torch.no_grad(), self.shared.using(self.teacher):
                before = task_model.backbone.features(batch.inputs)
        # As in the official code the classifier learns from both sides.
        student, teacher = (self.logits(x)[:, task_model.current] / temperature for x in (now, before))
        return self.hyperparameters.distillation * functional.cross_entropy(student, teacher.softmax(1))

    def reassign(self) -> None:
        """Weight the distilled gradient at each row of an up factor by how much the old row was used."""
        if not self.distilling or self.shared is None:
            return
        for lora_b, old in zip(self.shared.lora_b(), self.teacher[1::2], strict=True):
            assert lora_b.grad is not None
            lora_b.grad.mul_(row_shares(old)[:, None])

    def _scale_chosen(self) -> tuple[Tensor | None, Tensor | None]:
        own = [w * (task == self.chosen) for task, w in zip(self.stack.tasks(), self.weights, strict=True)]
        past = own[: len(self.stack.frozen_tasks)]
        scales = torch.stack(past, dim=1).detach() if past else None
        return scales, None if self.stack.current_task is None else own[-1]

    def features(self, batch: Batch, task: int) -> Tensor:
        """Return the features of a batch through the shared adapter and one task's, `(n, width)`."""
        # What `begin_task` left out holds for the adapter under training alone.
        self.stack.unmerge()
        before, self.chosen = self.chosen, task
        found = exact(self.task_model.backbone.features(batch.inputs))
        self.chosen = before
        return found

    def scores(self, batch: Batch) -> Tensor:
        """Return cosines with class means, `(n, classes of the stream)`; -inf for classes not yet seen."""
        shape, device = (len(batch), len(self.task_model.columns)), self.task_model.device
        found = torch.full(shape, float("-inf"), device=device)
        # A task under training has no means yet.
        for task, means in zip(self.stack.tasks(), self.prototypes, strict=False):
            features = functional.normalize(self.features(batch, task), dim=1)
            cosines = features @ functional.normalize(means, dim=1).t()
            columns = self.columns(task)
            found[:, columns] = torch.maximum(found[:, columns], cosines.to(found))
        return found

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Return the class of the highest cosine, among the given task's where one is given."""
        scores = self.scores(batch)
        predictions = self.task_model.choose(scores, task)
        # Every task's classes are compared in a feature of their own: there is no one feature of a row.
        self.task_model.note(Answer(predictions, None, scores))
        return predictions

    def passes(self) -> float:
        """Return one for each adapter."""
        return float(self.stack.count())

    def after_restore(self) -> None:
        """Let the last task's adapter answer."""
        self.chosen = self.stack.current_task

    def report(self, t: int) -> dict[str, Any]:
        """Return the weights of the task's adapter, by adapted layer."""
        return {"weights": dict(zip(self.stack.layers, self.weights[-1].tolist(), strict=True))}

    def low_rank_sum(self) -> None:
        """Return None: every task's classes have a sum of their own."""
        return None


@torch.no_grad()
def start_orthogonal(stack: AdapterStack) -> None:
    """Give the current adapter's down factors orthonormal rows, the Q of uniform numbers as in the code."""
    for lora_a in stack.lora_a():
        drawn = initialisation.uniform(exact(lora_a), lora_a.shape[1], lora_a.shape[0])
        lora_a.copy_(torch.linalg.qr(drawn)[0].t())


def row_shares(factor: Tensor) -> Tensor:
    """Return the norm of each row over the mean norm; zeros of a factor that is zero."""
    norms = factor.norm(dim=1)
    return norms / norms.mean().clamp(min=torch.finfo(norms.dtype).tiny)


def class_means(features: Tensor, labels: Tensor, columns: Sequence[int]) -> Tensor:
    """Return the mean feature of each class, `(classes, width)`; zeros for one without a row."""
    member = (labels[None] == torch.tensor(columns, device=labels.device)[:, None]).to(features)
    return member @ features / member.sum(1, keepdim=True).clamp(min=1)


METHOD = CLLoRA
