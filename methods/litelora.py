"""LiteLoRA: a learned gate decides whether a task's adapter is kept (arXiv 2606.28117, CoLoRAI at ICML 2026).

Idea: adapters of different tasks overlap, so a new one is often not needed once the magnitudes of the kept
ones have been adjusted. Each task has a magnitude m and a gate's logit l, shared by all adapted layers:

    1. learn A, B, every m and the head in   W x + sum_kept m_k B_k A_k x / (|B_k| |A_k|) + m B A x
    2. freeze all but l; let step(l + Gumbel noise) scale the new adapter; loss + lambda * mean of the gates
    3. keep the adapter if l > 0, else drop it for good; the first one is not asked for and always kept

Trained per task: the adapter, all magnitudes and the head rows of the task's classes, then the logit alone.
Frozen: the backbone and kept adapters. Stored: these, their magnitudes, a logit and a decision a task. Needs
neither task id, old data nor statistics. Official repository: tanguy8001/LiteLoRA.

`variant=paper` divides by the norm of the product B_k A_k, as equation 1 of SD-LoRA says, the official code
by the product of both norms. Differences from that code: the norm keeps its epsilon of 1e-8 at evaluation;
dropped adapters are deleted, not masked; the unused orthogonality loss is left out; head rows of old classes
are frozen.

Another `base` than sd-lora and another `scope` than model are ours: a base learns as it does by itself, with
this method's rates, optimiser and weight decay, which `base_settings` overrides; `variant` and the settings
of magnitudes then mean nothing. An adapter is active if one of its gates keeps it. AdamW moves a logit by at
most its learning rate a step: from 0.5 no gate closes within ten steps at the published 0.05, and a task with
fewer selection steps keeps its adapter, whatever it is worth. More `selection_epochs` then leave the decision
to the loss.

Before each selection phase the report gets the adapter's worth: the mean cross-entropy without it less that
with it, on the task's training rows and on its validation rows where there are any. Given the steps, a gate
closes where lambda is more than the worth on training rows (for worths well below 1, where the loss is about
straight in the gate), so one run shows what every lambda would decide: a search has to start below the
smallest worth. The two passes take no random numbers from training. `selection_rows=held-out`, ours, learns
the gate on validation rows: an adapter fits the rows that it was trained on, and is worth less on others.

Defaults that differ from the released program: none for ImageNet-R; its other settings are used in the
protocols `litelora` of the other sets.

Published settings: 20 epochs, batch 128, rank 10 on query and value; learning rate 1e-2 (CIFAR-100: 8e-3), of
the magnitudes 8e-3; selection 1 epoch, batch 16 (CIFAR-100: 128), AdamW 0.05; lambda 0.02 ImageNet-R, 0.014
ImageNet-A, 0.035 CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.errors import UserError
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.space import Between, Space
from benchmark.state import stored
from methods.pieces.base_method import WithBase, make_base
from methods.pieces.gate_worth import measure_worth
from methods.pieces.gates import Gate, logit_numbers
from methods.pieces.magnitude_phase import MagnitudeHyperparameters, MagnitudeLoRA


class LiteHyperparameters(MagnitudeHyperparameters):
    """The gate's settings beside those of the magnitude phase."""

    sparsity: float = Field(0.02, ge=0, description="lambda, the weight of the sparsity penalty")
    initial_logit: float = Field(0.5, gt=0, description="of a gate; above zero is open")
    gate_learning_rate: float = Field(0.05, gt=0, le=10)
    gate_weight_decay: float = Field(2e-4, ge=0, le=1)
    selection_epochs: int = Field(1, ge=1)
    selection_batch_size: int = Field(16, ge=1)
    selection_rows: Literal["train", "held-out"] = Field(
        "train",
        description="rows that the gate is learned on: the task's training rows (the paper), or validation "
        "rows, in as many steps",
    )
    temperature: float = Field(1.0, gt=0, description="tau of the straight-through sigmoid")
    scope: Literal["model", "layer", "module"] = Field(
        "model",
        description="one gate an adapter (the paper), one a transformer block, or one an adapted layer",
    )
    base: Literal["sd-lora", "inc-lora", "o-lora", "inflora"] = Field(
        "sd-lora", description="the method whose adapters are gated"
    )
    base_settings: dict[str, Any] = Field({}, description="the other base's own hyper-parameters, as JSON")

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, given: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A run on training rows is the run that it was before the setting existed.
        return {name: x for name, x in given(self).items() if name != "selection_rows" or x != "train"}


GATE = LiteHyperparameters.model_fields.keys() - MagnitudeHyperparameters.model_fields.keys()


class LiteLoRA(WithBase):
    """A base method that learns adapters, and a gate that keeps or drops each; see the module.

    Attributes:
        gate: of the new adapter, and what it decided on all earlier ones.
        rows: the current task's, while it is learned.
        worth: of the current task's adapter, see `gate_worth`; by "selection", the rows that its gate is
            learned on, and "held_out", its validation rows, None without any. Empty for the first task.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = LiteHyperparameters
    keeps = stored("gate")
    notes = frozenset({"gate.logits", "gate.kept"})
    search: ClassVar[Space] = {"sparsity": Between(0.0005, 0.5), "gate_learning_rate": Between(0.01, 0.2)}

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Make the base and the gate.

        Raises:
            UserError: `base_settings` without another base, or with what is not the base's.
        """
        chosen = hyperparameters
        if chosen.base == "sd-lora":
            if chosen.base_settings:
                raise UserError(
                    "base_settings are for another base: add --set base=o-lora, inc-lora or inflora"
                )
            super().__init__(context, chosen, MagnitudeLoRA(context, chosen))
        else:
            super().__init__(
                context, chosen, make_base(chosen.base, context, chosen, chosen.base_settings, GATE)
            )
        numbers = logit_numbers(list(self.stack.layers), chosen.scope)
        self.gate = Gate(numbers, chosen.scope == "model", chosen.temperature, self.task_model.device)
        self.worth: dict[str, dict[str, float] | None] = {}

    def training_facts(self) -> list[Any]:
        """Return the base's facts: the gate's settings act in the selection phase alone."""
        own = self.base.training_facts()
        return own or [self.hyperparameters.base, self.base.hyperparameters.model_dump(mode="json")]

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter with open gates."""
        self.base.begin_task(t, rows)
        self.gate.reset(self.hyperparameters.initial_logit)
        self.rows, self.worth = rows, {}

    def phases(self, t: int) -> list[Phase]:
        """Return the base's phases and, after the first task, the selection phase."""
        phases = list(self.base.phases(t))
        if t > 0:
            chosen = self.hyperparameters
            group = ParameterGroup([self.gate.logit], chosen.gate_learning_rate, chosen.gate_weight_decay)
            epochs, size = chosen.selection_epochs, chosen.selection_batch_size
            selection = Phase(
                "selection",
                [group],
                self.selection_loss,
                epochs,
                size,
                before=lambda: self.weigh(t),
                decides=True,
            )
            if chosen.selection_rows == "held-out":
                selection = self.on_held_out(t, selection)
            phases.append(selection)
        return phases

    def on_held_out(self, t: int, selection: Phase) -> Phase:
        """Return the selection phase over the task's validation rows, in at least as many steps.

        Raises:
            UserError: the task has none.
        """
        task = self.task_model.tasks[t]
        if not task.validation:
            raise UserError(
                f"selection_rows=held-out: the task '{task.name}' has no validation rows; set validation "
                "above 0"
            )
        size = selection.batch_size
        steps = selection.epochs * ceil(len(self.rows) / size)
        epochs = ceil(steps / ceil(len(task.validation) / size))
        rows = self.task_model.encode(task, task.validation)
        return replace(selection, rows=rows, epochs=epochs)

    def weigh(self, t: int) -> None:
        """Note what the adapter of task t is worth before its gate is learned.

        The method does not use it: its passes are no part of what training costs.
        """
        task, loss = self.task_model.tasks[t], self.task_model.loss
        size, device = self.protocol.batch_size, self.task_model.device
        with self.task_model.backbone.passes.uncounted():
            self.worth = {
                "selection": measure_worth(loss, self.held, self.rows, size, device),
                "held_out": None,
            }
            if task.validation:
                rows = self.task_model.encode(task, task.validation)
                self.worth["held_out"] = measure_worth(loss, self.held, rows, size, device)

    @contextmanager
    def held(self, is_open: bool) -> Iterator[None]:
        """Within the context, hold every gate of the new adapter open or closed."""
        learned = self.gate.logit.detach().clone()
        self.gate.logit.data.fill_(1.0 if is_open else -1.0)
        try:
            with self.gated():
                yield
        finally:
            self.gate.logit.data.copy_(learned)

    def selection_loss(self, batch: Batch) -> Tensor:
        """Return the task loss under a noisy gate at each layer, plus lambda times the sparsity penalty."""
        self.gate.sample()
        penalty = self.gate.sparsity_penalty()
        with self.gated():
            loss = self.task_model.loss(batch) + self.hyperparameters.sparsity * penalty
        self.gate.noise = None
        return loss

    @contextmanager
    def gated(self) -> Iterator[None]:
        """Within the context, let the new adapter answer through its gates, on top of the base's scales."""
        scales_of_base = self.stack.learned_scales

        def scales() -> tuple[Tensor | None, Tensor]:
            frozen, current = scales_of_base() if scales_of_base else (None, None)
            gates = self.gate.open()
            return frozen, gates if current is None else current * gates

        self.stack.learned_scales = scales
        try:
            yield
        finally:
            self.stack.learned_scales = scales_of_base

    def end_task(self, t: int, rows: Rows) -> None:
        """Keep the adapter where its logits are above zero; the first one always, and everywhere."""
        # What a base measures must be of the model that goes on: without the adapter where it is closed.
        with self.gated():
            self.base.end_task(t, rows)
        del self.rows
        stays = self.gate.decide(always=t == 0)
        if not any(stays):
            self.base.drop_current()
        for open_here, (_, adapter) in zip(stays, self.stack.current_adapters(), strict=False):
            if not open_here:
                adapter.lora_A.data.zero_()
                adapter.lora_B.data.zero_()

    def adapter_counts(self) -> tuple[int, int]:
        """Return how many tasks have been learned, and how many adapters were kept: these are all active."""
        return len(self.gate.kept), self.stack.count()

    def report(self, t: int) -> dict[str, Any]:
        """Return gates and decision of task t beside what the base reports."""
        logits = self.gate.logits[t]
        found = {"gate_logit": logits.tolist(), "kept": bool(self.gate.kept[t]), "worth": self.worth}
        if logits.dim():
            share = (logits > 0)[self.gate.numbers].float().mean()
            found["kept_share"] = 1.0 if t == 0 else float(share)
        return found | self.base.report(t)


METHOD = LiteLoRA
