"""LiteLoRA's gate over other methods, and with more gates than one an adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from methods.litelora import LiteLoRA
from methods.pieces.gates import logit_numbers
from methods.pieces.penalties import overlap
from tests import tiny

BASES = ["inc-lora", "o-lora", "inflora"]


def lite(kind: str = "encoder", dtype: torch.dtype = torch.float32, **chosen: Any) -> Any:
    return tiny.make_method("litelora", kind, dtype, **{"learning_rate": 0.01} | chosen)


def learned(method: Any, count: int) -> Any:
    for t in range(count):
        tiny.learn(method, t)
    return method


@pytest.mark.parametrize("base", BASES)
def test_open_gates_leave_the_base_as_it_is(base: str) -> None:
    # A price of zero and a logit far above the noise: every gate is open at every step and stays open.
    gated = lite(base=base, sparsity=0.0, initial_logit=50.0, optimizer="adam")
    plain = tiny.make_method(base, "encoder", learning_rate=0.01, optimizer="adam")
    for method in (gated, plain):
        learned(method, 3)
    assert isinstance(gated, LiteLoRA) and gated.gate.kept.tolist() == [1, 1, 1]
    ours, theirs = gated.stack.state(), plain.stack.state()  # type: ignore[attr-defined]
    assert tiny.same(ours, theirs)


@pytest.mark.parametrize("base", BASES)
def test_closed_gates_prune_every_adapter_but_the_first(base: str) -> None:
    method = learned(lite(base=base, sparsity=1000.0, gate_learning_rate=1.0), 3)
    assert method.gate.kept.tolist() == [1, 0, 0] and method.stack.count() == 1
    counted = method.accounting()
    assert (counted.adapters, counted.active) == (3, 1)


def test_a_pruned_task_still_enters_the_base_s_memory() -> None:
    method = learned(lite(base="inflora", sparsity=1000.0, gate_learning_rate=1.0), 1)
    before = method.report(0)["free_directions"]
    tiny.learn(method, 1)
    assert method.gate.kept.tolist() == [1, 0] and method.report(1)["free_directions"] < before


def test_a_memory_holds_what_the_model_without_the_pruned_adapter_sees() -> None:
    def second_task(prune: bool) -> Any:
        """Return a method after task 1, whose adapter is either pruned or was never anything but zero."""
        method = lite(base="inflora", dtype=torch.float64)
        tiny.learn(method, 0)
        rows, _ = tiny.begin(method, 1)
        method.gate.logit.data.fill_(-1.0)
        if prune:
            tiny.randomise(method.stack)
        method.end_task(1, rows)
        return method

    pruned, never = second_task(True), second_task(False)
    memories = {name for name in never.state() if name.startswith("memories.")}
    assert memories and pruned.gate.kept.tolist() == [1, 0]
    assert all(torch.equal(pruned.state()[name], never.state()[name]) for name in memories)


def test_selection_moves_the_gate_alone_on_another_base() -> None:
    method = learned(lite(base="o-lora"), 1)
    _, phases = tiny.begin(method, 1)
    assert [phase.name for phase in phases] == ["adapt", "selection"]
    assert [group.parameters for group in phases[1].groups] == [[method.gate.logit]]


def test_base_settings_reach_the_base() -> None:
    method = lite("encoder", torch.float64, base="o-lora", base_settings={"orthogonal": 2.0})
    tiny.begin(method, 0)
    tiny.randomise(method.stack, 0)
    rows, _ = tiny.begin(method, 1)
    tiny.randomise(method.stack, 1)
    batch = tiny.whole(rows)
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + 2 * overlap(method.stack, 1))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"base": "o-lora", "base_settings": {"orthogonl": 1}}, r"orthogonl.*bench list --method o-lora"),
        ({"base": "o-lora", "base_settings": {"orthogonal": -1}}, r"orthogonal: .*greater"),
        ({"base": "o-lora", "base_settings": {"sparsity": 1}}, "--set sparsity="),
        ({"base_settings": {"orthogonal": 1}}, "base_settings are for another base"),
    ],
)
def test_wrong_base_settings_get_one_line(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        lite(**chosen)
    assert "\n" not in str(caught.value)


# --- scope


def test_places_of_gates() -> None:
    layers = ["encoder.block.0.q", "encoder.block.0.v", "encoder.block.1.q", "decoder.block.0.q"]
    assert logit_numbers(layers, "model") == [0, 0, 0, 0]
    assert logit_numbers(layers, "layer") == [0, 0, 1, 2]
    assert logit_numbers(layers, "module") == [0, 1, 2, 3]


@pytest.mark.parametrize(("scope", "gates"), [("layer", 2), ("module", 4)])
@pytest.mark.parametrize("base", ["sd-lora", "o-lora"])
def test_a_adapter_is_zero_where_its_gates_are_closed(scope: str, gates: int, base: str) -> None:
    method = lite(scope=scope, base=base)
    tiny.learn(method, 0)
    rows, _ = tiny.begin(method, 1)
    assert method.gate.logit.shape == (gates,)
    tiny.randomise(method.stack)
    method.gate.logit.data[0] = -1.0
    method.end_task(1, rows)
    closed = [bool((layer.current.lora_B == 0).all()) for layer in method.stack.layers.values()]
    # Two blocks of query and value: the first block has both layers, the first module one.
    assert closed == ([True, True, False, False] if scope == "layer" else [True, False, False, False])
    assert method.gate.kept.tolist() == [1, 1] and method.accounting().active == 2
    assert method.report(1)["kept_share"] == (0.5 if scope == "layer" else 0.75)
    tiny.learn(method, 2)
    assert all(torch.isfinite(x).all() for x in method.state().values() if x.is_floating_point())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scope", ["model", "layer", "module"])
@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("base", ["sd-lora", *BASES])
def test_every_base_and_scope_learns_and_counts(base: str, kind: str, scope: str, dtype: torch.dtype) -> None:
    settings = {"epochs": 1, "batch_size": 64}
    method = lite(kind, dtype, stream=tiny.tasks(kind, 2), settings=settings, base=base, scope=scope)
    learned(method, 2)
    state = method.state()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    books = (
        "head.",
        "memories.",
        "stack.frozen_tasks",
        "stack.frozen_ranks",
        "stack.current_task",
        "stack.merged_rank",
    )
    stored = [value.numel() for name, value in state.items() if not name.startswith(books)]
    assert method.accounting().stored == sum(stored)


@pytest.mark.parametrize("base", ["sd-lora", *BASES])
def test_exported_sum_holds_the_open_places_alone(base: str) -> None:
    method = lite(dtype=torch.float64, scope="module", base=base)
    tiny.learn(method, 0)
    rows, _ = tiny.begin(method, 1)
    tiny.randomise(method.stack)
    method.gate.logit.data[1:3] = -1.0
    method.end_task(1, rows)
    plain = tiny.backbone("encoder", torch.float64)
    for name, (down, up) in method.low_rank_sum().items():
        plain.module.get_submodule(name).weight.data += up @ down
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    with torch.no_grad():
        expected = method.task_model.head(plain.features(batch.inputs))
    assert (tiny.logits(method, 0) - expected).abs().max() < 1e-5


def test_a_adapter_without_an_open_gate_is_dropped() -> None:
    method = lite(scope="module")
    tiny.learn(method, 0)
    rows, _ = tiny.begin(method, 1)
    method.gate.logit.data.fill_(-1.0)
    method.end_task(1, rows)
    assert method.gate.kept.tolist() == [1, 0] and method.stack.count() == 1 == len(method.base.magnitudes)
