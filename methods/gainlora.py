"""GainLoRA: a gate per task opens its adapter for its own kind of input (arXiv 2505.15424, NeurIPS 2025).

Idea: a task's adapter should not answer inputs of other tasks. Each adapter gets a small network that looks
at a row's pooled input embedding and says how much the adapter counts. A new gate is made so that it is zero
on the inputs of old tasks, and is trained so that it stays zero there. Official repository:
liangyanshuo/gainlora.

Trained per task: what the base trains (`base`: InfLoRA's up factor, or O-LoRA's adapter under its penalty),
the new gate and the head rows of the task's classes. Frozen: the backbone, all earlier adapters and gates.
Stored: T adapters and T gates, all active; memories of the gates' three inputs, and the base's, as auxiliary
bytes. Needs neither task id, old data nor old classes' statistics. Works on every kind of backbone.

Gate: two layers with SiLU, then the cosine z with a key, f(z) = |2 sigmoid(4 z) - 1|, so f(0) = 0. Start: the
layers are the last gate's, the key is the leading direction of the new features off the old ones' subspace.
It has the length sqrt(d / 3) that the official key has, which takes over that of d numbers uniform in [-1,
1]: a gate's value does not depend on it, but the angle by which a step of Adam turns the key does. Training:
what a step moves is kept off the old inputs of each layer. So on inputs in the remembered subspaces a new
gate is exactly zero before and after training.

Differences from the official code, which covers the InfLoRA base: it projects each step and then rescales the
rows, so that old outputs are not exactly kept, and it runs old branches without gradients, which cuts theirs
to the layer's input; here neither is done. Pooling leaves padding out. The same energy rises towards 1 over
the tasks of the stream, not over 15.

Published settings (T5-large): rank 4 (SuperNI) or 8 (Long), alpha 32, learning rate 3e-4, 100 or 10 epochs,
batch 32, gate width 100, energy 0.995 of the adapters' memories as of the gates' (all released scripts).

Defaults that differ from the released program: none of the method's own; with `base=o-lora`, which the
released trainer does not have, O-LoRA's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.data.batches import Rows
from benchmark.lora.inputs import in_order
from benchmark.lora.method import LowRankMethod
from benchmark.method import Context, ParameterGroup, Phase
from benchmark.state import auxiliary, learned
from methods.inflora import InfHyperparameters, InfLoRA
from methods.pieces.base_method import WithBase, make_base
from methods.pieces.input_weights import InputWeighted, RowWeights
from methods.pieces.subspace_memory import SubspaceMemory

LAYERS = ("hidden", "output", "key")
GATE = ("gate_width", "gate_energy", "gate_learning_rate")


class GainHyperparameters(InfHyperparameters):
    """The gates' settings beside InfLoRA's."""

    learning_rate: float = Field(3e-4, gt=0, le=10, description="of the adapter and the gate")
    energy: float = Field(
        0.995, gt=0, le=1, description="share of the inputs' energy to remember, first task"
    )
    gate_width: int = Field(100, ge=1, description="of a gate's hidden layer")
    gate_energy: float = Field(0.995, gt=0, le=1, description="share of the gates' inputs to remember")
    gate_learning_rate: float | None = Field(None, gt=0, le=10, description="none: that of the adapter")
    base: Literal["inflora", "o-lora"] = Field("inflora", description="how the adapters are learned")
    base_settings: dict[str, Any] = Field({}, description="the other base's own hyper-parameters, as JSON")


class GainLoRA(WithBase):
    """A gate per adapter of the base; see the module.

    Attributes:
        gates: each gate's hidden (h, d), output (d, h) and key (d,), by task; the last is the current one.
        gate_memories: of what enters the three layers.
    """

    Hyperparameters = GainHyperparameters
    keeps = learned("gates", of=dict) + auxiliary("gate_memories", of=SubspaceMemory)
    no_sum = InputWeighted.no_sum

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Make the base, without gates."""
        chosen = hyperparameters
        if chosen.base == "inflora":
            base: LowRankMethod = InfLoRA(context, chosen)
        else:
            base = make_base(chosen.base, context, chosen, chosen.base_settings, GATE)
        super().__init__(context, chosen, base)
        self.queries = RowWeights(self.task_model, self.stack, self.weights).queries
        self.gates: list[dict[str, nn.Parameter]] = []
        self.gate_memories: list[SubspaceMemory] = []
        self.start: dict[str, Tensor] = {}

    def begin_task(self, t: int, rows: Rows) -> None:
        """Let the base begin, then make a gate that is zero on the old inputs."""
        super().begin_task(t, rows)
        queries = self._all_queries(rows)
        last = self.gates[-1] if self.gates else self._first_layers(queries)
        gate = {name: nn.Parameter(last[name].detach().clone()) for name in LAYERS[:2]}
        features = layer_inputs(queries, gate)
        if not self.gate_memories:
            self.gate_memories = [SubspaceMemory.empty(x.new_zeros(x.shape[1], 0)) for x in features]
        moments = features[2].t() @ features[2] / len(queries)
        leading = torch.linalg.svd(self.gate_memories[2].free(moments))[0][:, 0]
        gate["key"] = nn.Parameter(leading * (len(leading) / 3) ** 0.5)
        self.gates.append(gate)
        self.start = {name: value.detach().clone() for name, value in gate.items()}

    def _first_layers(self, queries: Tensor) -> dict[str, Tensor]:
        width, size = self.hyperparameters.gate_width, queries.shape[1]
        shapes = {"hidden": (width, size), "output": (size, width)}
        return {
            name: initialisation.kaiming_uniform(queries, *shape, a=5**0.5) for name, shape in shapes.items()
        }

    @torch.no_grad()
    def _all_queries(self, rows: Rows) -> Tensor:
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        return torch.cat([self.queries(batch) for batch in given])

    def weights(self, query: Tensor) -> Tensor:
        """Return every gate's value, past ones' without a gradient; adapters without a gate count zero."""
        adapters = self.stack.count()
        with torch.no_grad():
            values = [gate_value(query, gate) for gate in self.gates[: len(self.stack.frozen_tasks)]]
        if len(self.gates) == adapters and self.stack.current_task is not None:
            values.append(gate_value(query, self.gates[-1]))
        values += [query.new_zeros(len(query))] * (adapters - len(values))
        return torch.stack(values, dim=1) if values else query.new_zeros(len(query), 0)

    def phases(self, t: int) -> Iterator[Phase]:
        """Yield the base's phases with the current gate, every step kept off the old inputs' subspaces."""
        rate = self.hyperparameters.gate_learning_rate or self.hyperparameters.learning_rate
        gate = ParameterGroup(list(self.gates[-1].values()), rate)
        for phase in self.base.phases(t):
            adapter, *head = phase.groups
            after_step = self.hold if t else phase.after_step
            yield replace(phase, groups=[adapter, gate, *head], after_step=after_step)

    @torch.no_grad()
    def hold(self) -> None:
        """Take back what the current gate has moved along old inputs."""
        for name, memory in zip(LAYERS, self.gate_memories, strict=True):
            value, start = self.gates[-1][name], self.start[name]
            moved = (value - start).reshape(-1, len(memory.basis))
            value.copy_(start + memory.free(moved.t()).t().reshape(value.shape))

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Let the base end, then remember what entered the gate's layers."""
        super().end_task(t, rows)
        energy = self.hyperparameters.gate_energy
        threshold = energy + (1 - energy) * t / self.task_count
        features = layer_inputs(self._all_queries(rows), self.gates[-1])
        for memory, x in zip(self.gate_memories, features, strict=True):
            memory.update(x.t() @ x / len(x), threshold, power=2, dual=False)

    def low_rank_sum(self) -> None:
        """Return None: every input has a sum of its own."""
        return None


def layer_inputs(query: Tensor, gate: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return what enters the hidden layer, the output layer and the product with the key, `(n, ...)` each."""
    hidden = functional.silu(query @ gate["hidden"].t())
    return query, hidden, functional.silu(hidden @ gate["output"].t())


def gate_value(query: Tensor, gate: Mapping[str, Tensor]) -> Tensor:
    """Return f(cos(features, key)), `(n,)`, with f(z) = |2 sigmoid(4 z) - 1|."""
    features = layer_inputs(query, gate)[2]
    cosine = functional.cosine_similarity(features, gate["key"][None], dim=1)
    return (2 * torch.sigmoid(4 * cosine) - 1).abs()


METHOD = GainLoRA
