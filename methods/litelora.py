"""LiteLoRA: a learned gate decides whether a task's adapter is kept ("When One Adapter Speaks for Many").

Idea: adapters of different tasks overlap, so a new one is often not needed once the magnitudes of the
kept ones have been adjusted. Each task first learns pair, magnitudes and head as SD-LoRA does; then
everything is frozen but one gate logit, trained under Gumbel noise against a sparsity price lambda; a
logit that is not above zero at the end prunes the pair for good. arXiv 2606.28117, CoLoRAI workshop at
ICML 2026; official repository: tanguy8001/LiteLoRA.

Trained per task: the new pair, the magnitudes of all kept pairs, the head rows of the task's classes;
then the logit alone. Frozen: the backbone and kept pairs. Stored: the kept pairs, their magnitudes, a
logit and a decision per task. Needs neither task id, old data nor statistics.

Official code (default, `variant=official`): an earlier pair is divided by the product of its factor
norms, the current one is not normalised; magnitudes start at 1 and are carried over; noise is one Gumbel
draw per adapted layer and step, on the current logit only; the price is averaged over layers; its
gradient is zero in layers whose noisy gate is closed. `variant=paper` divides by the norm of the product,
as equation 1 of SD-LoRA and a comment in the code say. Differences from the official code: the norm keeps
its epsilon of 1e-8 at evaluation; pruned pairs are dropped instead of masked; the unused orthogonality
loss is left out; head rows of old classes are frozen.

Published settings: 20 epochs, batch 128, rank 10 on query and value; learning rate 1e-2 (CIFAR-100:
8e-3), of the magnitudes 8e-3; selection 1 epoch, batch 16 (CIFAR-100: 128), AdamW 0.05; lambda 0.02
ImageNet-R, 0.014 ImageNet-A, 0.035 CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.batches import Batch, Rows
from benchmark.method import Accounting, Context, ParameterGroup, Phase
from methods.sd_lora import SDHyperparameters, SDLoRA


class LiteHyperparameters(SDHyperparameters):
    """The gate's settings beside SD-LoRA's."""

    learning_rate: float = Field(1e-2, gt=0, le=10, description="of the pair and the head")
    optimizer: Literal["sgd", "adam", "adamw"] | None = Field("sgd", description="of the magnitude phase")
    magnitude_learning_rate: float = Field(8e-3, gt=0, le=10)
    magnitude_weight_decay: float = Field(2e-4, ge=0, le=1)
    sparsity: float = Field(0.02, ge=0, description="lambda, the price of keeping an adapter")
    initial_logit: float = Field(0.5, gt=0, description="of a gate; above zero is open")
    gate_learning_rate: float = Field(0.05, gt=0, le=10)
    gate_weight_decay: float = Field(2e-4, ge=0, le=1)
    selection_epochs: int = Field(1, ge=1)
    selection_batch_size: int = Field(16, ge=1)
    temperature: float = Field(1.0, gt=0, description="tau of the straight-through sigmoid")


class LiteLoRA(SDLoRA):
    """SD-LoRA with a gate on every new pair.

    Attributes:
        logits: one gate logit per task learned; frozen once its task is over.
        kept: the decision per task, 1 or 0.
    """

    Hyperparameters = LiteHyperparameters
    carries_over = True
    # In either variant: the norm of a new pair starts at zero.
    normalises_current = False
    tuned: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # benchmark/tuning.py: learning rates 0.001, 0.003, 0.01, 0.03, 0.1 gave validation AP
        # 62.0, 68.7, 70.7, 65.9, 55.2.
        "digits/quick": {"learning_rate": 0.01},
        # benchmark/tuning.py with 100 validation rows a task: learning rates 0.001, 0.003, 0.01, 0.03, 0.1
        # gave validation AP 5.2, 7.5, 37.0, 42.8, 48.5.
        "standard-cl/quick": {"learning_rate": 0.1},
        # The optimiser of the decoder's own card. benchmark/tuning.py with 8 validation rows a task: learning
        # rates 0.001, 0.003, 0.01 gave validation AP 9.1, 6.5, 5.1; larger ones were not tried. A task has 10
        # selection steps an epoch, which can just carry a logit from 0.5 to 0, hence two.
        "superni/quick": {"learning_rate": 0.001, "optimizer": "adam", "selection_epochs": 2},
        # exps/litelora_c100.json, for the stream that stands in for Split CIFAR-100.
        "tiny-imagenet/litelora": {
            "learning_rate": 8e-3,
            "sparsity": 0.035,
            "selection_batch_size": 128,
        },
        # Set by hand: the right answer is known. The price was raised (0.1, 0.2, 0.4) until seeds 0-4 all
        # kept one adapter at overlap 1; at 0.1 and 0.2 seed 4 kept two.
        "toy/quick": {
            "learning_rate": 0.03,
            "magnitude_learning_rate": 0.1,
            "sparsity": 0.4,
            "selection_epochs": 3,
        },
    }
    variant_magnitude: Mapping[str, float] = {"official": 1.0, "paper": 1.0}

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without gates."""
        super().__init__(context, hyperparameters)
        self.logits = torch.zeros(0)
        self.kept = torch.zeros(0, dtype=torch.int64)
        self.logit = nn.Parameter(torch.zeros(()))
        self.noise: Tensor | None = None
        self.last_magnitude = 1.0

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new pair with an open gate."""
        super().begin_task(t, rows)
        start = torch.tensor(self.hyperparameters.initial_logit, device=self.objective.device)
        self.logit = nn.Parameter(start)

    def phases(self, t: int) -> list[Phase]:
        """Return the magnitude phase and, after the first task, the selection phase."""
        pair, magnitudes, *head = self.groups()
        if t == 0:
            # The first pair keeps magnitude 1: with nothing to weigh it against, B alone sets its size.
            return [self.main_phase(t, [pair, *head])]
        chosen = self.hyperparameters
        magnitudes = replace(
            magnitudes,
            learning_rate=chosen.magnitude_learning_rate,
            weight_decay=chosen.magnitude_weight_decay,
        )
        steps = {"milestones": (0.6, 0.8), "factor": 0.5}
        gate = ParameterGroup([self.logit], chosen.gate_learning_rate, chosen.gate_weight_decay)
        return [
            self.main_phase(t, [pair, magnitudes, *head], name="magnitude", **steps),
            Phase(
                "selection",
                [gate],
                self.selection_loss,
                chosen.selection_epochs,
                chosen.selection_batch_size,
            ),
        ]

    def selection_loss(self, batch: Batch) -> Tensor:
        """Return the task loss under one noisy gate per layer, plus lambda times the mean open gate."""
        uniform = torch.rand(len(self.bank.layers), device=self.objective.device)
        self.noise = -torch.log(-torch.log(uniform + 1e-20) + 1e-20)
        # The absolute value has slope zero at zero: a closed gate pays nothing and gets no gradient from it.
        price = self.gates().abs().mean()
        loss = self.objective.loss(batch) + self.hyperparameters.sparsity * price
        self.noise = None
        return loss

    def gates(self) -> Tensor:
        """Return the current pair's gate at each layer, `(M,)`: 0 or 1 forward, a sigmoid backward."""
        logit = self.logit.expand(len(self.bank.layers))
        noisy = logit if self.noise is None else logit + self.noise
        soft = torch.sigmoid(noisy / self.hyperparameters.temperature)
        # Not soft > 1/2: a sigmoid rounds to 1/2 at logits that `end_task` finds above zero.
        hard = (noisy > 0).to(soft.dtype)
        # Written so that the forward value is exactly 0 or 1: hard - soft + soft would leave rounding.
        return hard + (soft - soft.detach())

    def scales(self) -> tuple[Tensor, Tensor | None]:
        """Gate the current pair; past pairs are the kept ones, whose gates are open."""
        past, current = super().scales()
        return past, None if current is None else current * self.gates()

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the pair if its logit is above zero; the first one always."""
        keep = t == 0 or float(self.logit.detach()) > 0
        self.last_magnitude = float(self.magnitudes.detach()[-1])
        self.logits = torch.cat([self.logits, self.logit.detach().cpu().reshape(1)])
        self.kept = torch.cat([self.kept, torch.tensor([int(keep)])])
        if not keep:
            self.bank.discard_current()
            self.magnitudes = nn.Parameter(self.magnitudes.detach()[:-1].clone())

    def accounting(self) -> Accounting:
        """Count gates and decisions with the pairs; only kept pairs are held, and all of them are active."""
        counted = super().accounting()
        more = len(self.logits) + len(self.kept)
        return replace(
            counted,
            stored=counted.stored + more,
            resident=counted.resident + more,
            adapters=len(self.kept),
        )

    def report(self, t: int) -> dict[str, Any]:
        """Return gate, magnitude and decision of task t, and the magnitudes of all kept pairs."""
        gate = {
            "gate_logit": float(self.logits[t]),
            "magnitude": self.last_magnitude,
            "kept": bool(self.kept[t]),
        }
        return gate | super().report(t)

    def state(self) -> dict[str, Tensor]:
        """Return SD-LoRA's state, logits and decisions."""
        return super().state() | {"logits": self.logits, "kept": self.kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over SD-LoRA's state, logits and decisions."""
        super().restore(state)
        self.logits, self.kept = state["logits"], state["kept"]
        self.logit = nn.Parameter(self.logits[-1].clone().to(self.objective.device))


METHOD = LiteLoRA
