"""LiteLoRA: a learned gate decides whether a task's adapter is kept ("When One Adapter Speaks for Many").

Idea: adapters of different tasks overlap, so a new one is often not needed once the magnitudes of the
kept ones have been adjusted. Each task first learns pair, magnitudes and head as SD-LoRA does; then
everything is frozen but one gate logit, trained under Gumbel noise against a sparsity price lambda; a
logit that is not above zero at the end prunes the pair for good. arXiv 2606.28117, CoLoRAI workshop at
ICML 2026; official repository: tanguy8001/LiteLoRA.

The gate is a plug-in: `base` names the method whose pairs it decides on, `scope` how many gates a pair has:
`model` one, `layer` one a transformer block, `module` one an adapted linear layer. Each place decides for
itself; an adapter is active if any place keeps it, and the report tells the share of adapted layers that do.
The default, `base=sd-lora` with `scope=model`, is the paper's method; everything else about bases and scopes
is ours.

Trained per task: the new pair, the magnitudes of all kept pairs, the head rows of the task's classes;
then the logit alone. Frozen: the backbone and kept pairs. Stored: the kept pairs, their magnitudes, a
logit and a decision per task. Needs neither task id, old data nor statistics.

Official code (default, `variant=official`): an earlier pair is divided by the product of its factor
norms, the current one is not normalised; magnitudes start at 1 and are carried over; noise is one Gumbel
draw per adapted layer and step, on the current logit only; the price is averaged over layers; its
gradient is zero in layers whose noisy gate is closed. `variant=paper` divides by the norm of the product,
as equation 1 of SD-LoRA and a comment in the code say. Differences from the official code: the norm keeps
its epsilon of 1e-8 at evaluation; pruned pairs are dropped instead of masked; the unused orthogonality
loss is left out; head rows of old classes are frozen. On another base the first phases are that base's own,
with the learning rates, optimiser and weight decay of this method and otherwise the base's defaults;
`base_settings` overrides both. `variant` and the settings of magnitudes then have no effect. A pruned task
still enters the memory of a base that has one, as the model without its pair sees it.

Published settings: 20 epochs, batch 128, rank 10 on query and value; learning rate 1e-2 (CIFAR-100:
8e-3), of the magnitudes 8e-3; selection 1 epoch, batch 16 (CIFAR-100: 128), AdamW 0.05; lambda 0.02
ImageNet-R, 0.014 ImageNet-A, 0.035 CIFAR-100.

AdamW moves the logit by at most its learning rate a step, so from 0.5 no gate closes within ten steps at
the published 0.05: a task with fewer selection steps keeps its pair, whatever it is worth. More
`selection_epochs` then leave the decision to the loss.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from benchmark.errors import UserError
from benchmark.method import Context
from benchmark.space import Between, Space
from methods.pieces.composition import over
from methods.pieces.gates import Gated, GateHyperparameters
from methods.pieces.magnitude_phase import MagnitudeHyperparameters, MagnitudeLoRA


class LiteHyperparameters(GateHyperparameters, MagnitudeHyperparameters):
    """The gate's settings beside those of the magnitude phase."""

    base: Literal["sd-lora", "inc-lora", "o-lora", "inflora"] = Field(
        "sd-lora", description="the method whose pairs are gated"
    )
    base_settings: dict[str, Any] = Field({}, description="the other base's own hyper-parameters, as JSON")


class LiteLoRA(Gated, MagnitudeLoRA):
    """A gate on every new pair; see the module."""

    Hyperparameters: ClassVar[type[BaseModel]] = LiteHyperparameters
    search: ClassVar[Space] = {"sparsity": Between(0.005, 0.5), "gate_learning_rate": Between(0.01, 0.2)}

    def __new__(cls, context: Context, hyperparameters: Any) -> Any:
        """Return a gate over the base asked for; one over another base than SD-LoRA is a class of its own.

        Raises:
            UserError: `base_settings` holds what the base does not know or refuses, or a setting of the gate.
        """
        if hyperparameters.base == "sd-lora":
            return super().__new__(cls)
        settings = hyperparameters.base_settings
        # They would win over what the result says of the gate.
        for name in settings.keys() & GateHyperparameters.model_fields.keys():
            raise UserError(f"base_settings: {name} is the gate's own: write --set {name}=...")
        return over(hyperparameters.base, Gated, GateHyperparameters, context, hyperparameters, settings)

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Refuse settings for a base that is not used.

        Raises:
            UserError: `base_settings` without another base.
        """
        if hyperparameters.base_settings:
            raise UserError("base_settings are for another base: add --set base=o-lora, inc-lora or inflora")
        super().__init__(context, hyperparameters)

    def report(self, t: int) -> dict[str, Any]:
        """Return gate, magnitude and decision of task t, and the magnitudes of all kept pairs."""
        return super().report(t) | {"magnitude": self.last_magnitude}


METHOD = LiteLoRA
