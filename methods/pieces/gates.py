"""A learned gate over any method that keeps a pair per task: LiteLoRA's selection phase as a mixin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from benchmark import initialisation
from benchmark.data.batches import Batch, Rows
from benchmark.lora.method import LowRankMethod
from benchmark.lora.targets import block_of
from benchmark.method import Accounting, Context, ParameterGroup, Phase


class GateHyperparameters(BaseModel):
    """The gate's settings, whatever it stands on."""

    sparsity: float = Field(0.02, ge=0, description="lambda, the price of keeping an adapter")
    initial_logit: float = Field(0.5, gt=0, description="of a gate; above zero is open")
    gate_learning_rate: float = Field(0.05, gt=0, le=10)
    gate_weight_decay: float = Field(2e-4, ge=0, le=1)
    selection_epochs: int = Field(1, ge=1)
    selection_batch_size: int = Field(16, ge=1)
    temperature: float = Field(1.0, gt=0, description="tau of the straight-through sigmoid")
    scope: Literal["model", "layer", "module"] = Field(
        "model", description="one gate a pair (the paper), one a transformer block, or one an adapted layer"
    )


class Gated(LowRankMethod):
    """Put before a method that keeps a pair per task: after its phases, a gate decides on the new pair.

    With scope `layer` or `module` a pair is kept where its gates are open and set to zero elsewhere; these
    zeros still count as stored. It is dropped where none is open.

    Attributes:
        logits: the gate logits of each task learned, `(t,)` or `(t, gates)`; frozen once its task is over.
        kept: the decision per task, 1 or 0.
    """

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without gates, in front of the base's own scales."""
        super().__init__(context, hyperparameters)
        self.places = gate_places(list(self.stack.layers), hyperparameters.scope)
        shape = () if hyperparameters.scope == "model" else (max(self.places) + 1,)
        self.logit = nn.Parameter(torch.zeros(shape))
        self.logits = torch.zeros(0, *shape)
        self.kept = torch.zeros(0, dtype=torch.int64)
        self.noise: Tensor | None = None
        # Fixed scales of a base stay fixed while its own phases run, so that the past stays folded.
        self.base_scales = self.stack.learned_scales
        if self.base_scales is not None:
            self.stack.learned_scales = self.gated_scales

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new pair with open gates."""
        super().begin_task(t, rows)
        start = torch.full(self.logits.shape[1:], self.hyperparameters.initial_logit)
        self.logit = nn.Parameter(start.to(self.objective.device))

    def phases(self, t: int) -> list[Phase]:
        """Return the base's phases and, after the first task, the selection phase."""
        phases = list(super().phases(t))
        if t == 0:
            return phases
        chosen = self.hyperparameters
        gate = ParameterGroup([self.logit], chosen.gate_learning_rate, chosen.gate_weight_decay)
        selection = Phase(
            "selection", [gate], self.selection_loss, chosen.selection_epochs, chosen.selection_batch_size
        )
        return [*phases, selection]

    def selection_loss(self, batch: Batch) -> Tensor:
        """Return the task loss under one noisy gate per layer, plus lambda times the mean open gate."""
        uniform = initialisation.uniform(self.logit.detach().float(), len(self.stack.layers))
        self.noise = -torch.log(-torch.log(uniform + 1e-20) + 1e-20)
        # The absolute value has slope zero at zero: a closed gate pays nothing and gets no gradient from it.
        price = self.gates().abs().mean()
        with self._gating():
            loss = self.objective.loss(batch) + self.hyperparameters.sparsity * price
        self.noise = None
        return loss

    @contextmanager
    def _gating(self) -> Iterator[None]:
        """Within the context, let the current pair answer through its gates on any base."""
        own, self.stack.learned_scales = self.stack.learned_scales, self.gated_scales
        try:
            yield
        finally:
            self.stack.learned_scales = own

    def gates(self) -> Tensor:
        """Return the current pair's gate at each layer, `(M,)`: 0 or 1 forward, a sigmoid backward."""
        logit = self.logit.expand(len(self.places)) if self.logit.dim() == 0 else self.logit[self.places]
        noisy = logit if self.noise is None else logit + self.noise
        soft = torch.sigmoid(noisy / self.hyperparameters.temperature)
        # Not soft > 1/2: a sigmoid rounds to 1/2 at logits that `end_task` finds above zero.
        hard = (noisy > 0).to(soft.dtype)
        # Written so that the forward value is exactly 0 or 1: hard - soft + soft would leave rounding.
        return hard + (soft - soft.detach())

    def gated_scales(self) -> tuple[Tensor | None, Tensor | None]:
        """Gate the current pair; past pairs are the kept ones, whose gates are open."""
        past, current = self.base_scales() if self.base_scales else (None, None)
        if self.stack.current_task is None:
            return past, None
        return past, self.gates() if current is None else current * self.gates()

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the pair where its logits are above zero; the first one always, and everywhere."""
        open_gates = torch.ones_like(self.logit) if t == 0 else (self.logit.detach() > 0).float()
        self.logits = torch.cat([self.logits, self.logit.detach().cpu()[None]])
        # What a base measures here must be of the model that goes on: without the pair where it is closed.
        with self._gating():
            super().end_task(t, rows)
        keep = bool(open_gates.any())
        self.kept = torch.cat([self.kept, torch.tensor([int(keep)])])
        if not keep:
            self.drop_current()
        elif not bool(open_gates.all()):
            self._close(open_gates[self.places].tolist())

    def _close(self, open_gates: list[float]) -> None:
        for layer, is_open in zip(self.stack.layers.values(), open_gates, strict=True):
            if not is_open:
                assert layer.current is not None
                layer.current.lora_A.data.zero_()
                layer.current.lora_B.data.zero_()

    def accounting(self) -> Accounting:
        """Count gates and decisions with the pairs; only kept pairs are held, and all of them are active."""
        counted = super().accounting()
        more = self.logits.numel() + len(self.kept)
        return replace(
            counted,
            stored=counted.stored + more,
            resident=counted.resident + more,
            adapters=len(self.kept),
        )

    def report(self, t: int) -> dict[str, Any]:
        """Return gates and decision of task t beside what the base tells."""
        told = {"gate_logit": self.logits[t].tolist(), "kept": bool(self.kept[t])}
        if self.logits.dim() > 1:
            share = (self.logits[t] > 0)[self.places].float().mean()
            told["kept_share"] = 1.0 if t == 0 else float(share)
        return told | super().report(t)

    def state(self) -> dict[str, Tensor]:
        """Return the base's state, logits and decisions."""
        return super().state() | {"logits": self.logits, "kept": self.kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the base's state, logits and decisions."""
        super().restore(state)
        self.logits, self.kept = state["logits"], state["kept"]
        self.logit = nn.Parameter(self.logits[-1].clone().to(self.objective.device))


def gate_places(layers: list[str], scope: str) -> list[int]:
    """Return, for each layer, the number of the gate that it obeys.

    A seq2seq model's encoder and decoder have blocks of their own.
    """
    if scope == "module":
        return list(range(len(layers)))
    if scope == "model":
        return [0] * len(layers)
    blocks = [(name.split(".")[0], block_of(name)) for name in layers]
    numbers = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    return [numbers[block] for block in blocks]
