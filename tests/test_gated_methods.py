"""Methods that weight their adapters per input: GainLoRA, MoCL and SAPT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.registry import METHODS
from benchmark.running.training import train
from benchmark.running.tuned_values import find_tuned_values
from methods.gainlora import gate_value, layer_inputs
from methods.pieces.penalties import overlap
from methods.pieces.queries import pool_embeddings
from methods.pieces.subspace_memory import SubspaceMemory
from tests import tiny
from tests.tiny import learned

CASES = [("gainlora", {}), ("gainlora", {"base": "o-lora"}), ("mocl", {}), ("sapt", {"rehearsed": 3})]
every = pytest.mark.parametrize(("key", "chosen"), CASES, ids=["gain-inflora", "gain-o-lora", "mocl", "sapt"])


def queries(method: Any, t: int, split: str = "train") -> Tensor:
    with torch.no_grad():
        return method.queries(tiny.whole(tiny.rows(method, t, split)))


# --- the query


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
def test_query_is_the_mean_embedding_of_real_prompt_tokens(kind: str) -> None:
    method = tiny.make_method("mocl", kind, torch.float64)
    rows = tiny.rows(method, 0)
    table = method.task_model.backbone.module.get_input_embeddings().weight  # type: ignore[operator]
    prompts = rows.rows.prompts  # type: ignore[attr-defined]
    expected = torch.stack([table[torch.tensor(ids)].mean(0) for ids in prompts])
    for training in (False, True):
        found = pool_embeddings(method.task_model.backbone, tiny.whole(rows, training))
        assert torch.allclose(found, expected)


# --- what all of them owe


@every
def test_weights_of_rows_reach_every_layer(key: str, chosen: dict[str, Any]) -> None:
    method = learned(key, 2, "vector", **chosen)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    with torch.no_grad():
        answered = method.predict(batch, None)
        (layer,) = method.stack.layers.values()
        weights = method.weights(method.queries(batch))
        x = batch.inputs["x"]
        adapters = [method.stack.frozen_adapter(layer, 0), (layer.current.lora_A, layer.current.lora_B)]
        parts = [w[:, None] * (x @ d.t() @ u.t()) for w, (d, u) in zip(weights.t(), adapters, strict=True)]
        features = x @ layer.base.weight.t() + sum(parts)
        if layer.base.bias is not None:
            features = features + layer.base.bias
        expected = method.task_model.head(features)
    assert torch.allclose(method.task_model.logits(batch), expected)
    assert answered == expected.argmax(1).tolist()
    assert weights.std(0).max() > 1e-6, "rows must differ in their weights"


@every
def test_no_export_where_every_input_has_its_own_sum(key: str, chosen: dict[str, Any]) -> None:
    assert learned(key, 1, "vector", **chosen).low_rank_sum() is None


# --- GainLoRA


def test_gate_by_hand() -> None:
    # One hidden unit: silu(1 x 2) = 2 sigmoid(2) = 1.7616; the output layer copies it to the first place,
    # where silu keeps it positive; the key at 60 degrees gives z = 1/2 and f = 2 sigmoid(2) - 1 = 0.7616.
    gate = {
        "hidden": torch.tensor([[2.0, 0.0]]).double(),
        "output": torch.tensor([[1.0], [0.0]]).double(),
        "key": torch.tensor([0.5, 3**0.5 / 2]).double(),
    }
    query = torch.tensor([[1.0, 5.0]]).double()
    assert layer_inputs(query, gate)[1].item() == pytest.approx(1.76159, abs=1e-5)
    assert gate_value(query, gate).item() == pytest.approx(0.76159, abs=1e-5)
    gate["key"] = torch.tensor([0.0, 1.0]).double()
    assert gate_value(query, gate).item() == 0


@pytest.mark.parametrize("base", ["inflora", "o-lora"])
def test_new_gate_is_zero_on_old_inputs_before_and_after_training(base: str) -> None:
    # Every direction of the old inputs is remembered, however little energy it has.
    method = learned("gainlora", 1, base=base)
    seen = layer_inputs(queries(method, 0), method.gates[-1])
    method.gate_memories = [SubspaceMemory(torch.linalg.qr(x.detach().t())[0]) for x in seen]
    tiny.begin(method, 1)
    start = {name: value.clone() for name, value in method.gates[1].items()}
    old = queries(method, 0)
    assert gate_value(old, method.gates[1]).abs().max() < 1e-10
    assert gate_value(queries(method, 1), method.gates[1]).max() > 1e-2
    for name in start:
        method.gates[1][name].data += 0.1 * torch.randn_like(start[name])
    method.hold()
    assert gate_value(old, method.gates[1]).abs().max() < 1e-10
    moved = [(method.gates[1][name] - start[name]).abs().max().item() for name in ("hidden", "output")]
    assert min(moved) > 1e-3


def test_gate_starts_from_the_last_one_s_layers() -> None:
    method = learned("gainlora", 1)
    last = {name: value.clone() for name, value in method.gates[0].items()}
    tiny.begin(method, 1)
    assert all(torch.equal(method.gates[1][name], last[name]) for name in ("hidden", "output"))
    assert torch.equal(method.gates[0]["key"], last["key"]), "earlier gates are frozen"
    # The official key keeps the length of 32 numbers uniform in [-1, 1], of mean square 1 / 3: sqrt(32 / 3).
    assert method.gates[1]["key"].norm().item() == pytest.approx(3.2660, abs=1e-4)


def test_gainlora_remembers_as_much_as_the_released_scripts() -> None:
    # --threshold 0.995 and --transthreshold 0.995 in every script, of both orders of both streams.
    settings = METHODS.load("gainlora").Hyperparameters()
    assert (settings.energy, settings.gate_energy) == (0.995, 0.995)
    for stream in ("superni", "long-sequence"):
        assert find_tuned_values("gainlora", stream, "gainlora")["energy"] == 0.995
        assert find_tuned_values("inflora", stream, "gainlora")["energy"] == 0.995


def test_base_o_lora_keeps_its_penalty() -> None:
    method = learned("gainlora", 1, base="o-lora", base_settings={"orthogonal": 2.0})
    rows, _ = tiny.begin(method, 1)
    tiny.randomise(method.stack)
    batch = tiny.whole(rows)
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + 2 * overlap(method.stack, 1))


# --- MoCL


def test_mocl_weights_are_a_sharp_softmax_of_cosines() -> None:
    method = learned("mocl", 2)
    query = queries(method, 0)
    keys = torch.stack([method.past_keys[0], method.key])
    cosines = functional.cosine_similarity(query[:, None], keys[None], dim=2)
    weights = method.weights(query)
    assert torch.allclose(weights, (8 * cosines).softmax(1))


def test_key_starts_between_zero_and_one() -> None:
    method = learned("mocl", 0)
    tiny.begin(method, 0)
    assert ((method.key >= 0) & (method.key <= 1)).all() and method.key.std() > 0.1


def test_matching_draws_the_key_to_its_task_and_leaves_old_keys_alone() -> None:
    method = learned("mocl", 1, matching=100.0)
    old = method.key.detach().clone()
    rows, [phase] = tiny.begin(method, 1)
    started = method.matches(queries(method, 1))[:, -1].mean().item()
    train(method, phase, rows, (0,), lambda share: None)
    assert torch.equal(method.past_keys[0], old)
    assert method.matches(queries(method, 1))[:, -1].mean().item() > started


# --- SAPT


def test_attention_sums_to_one_and_starts_undivided() -> None:
    method = learned("sapt", 1)
    assert torch.equal(method.weights(queries(method, 0)), torch.ones(12, 1).double())
    tiny.learn(method, 1)
    assert torch.allclose(method.weights(queries(method, 0)).sum(1), torch.ones(12).double())


def test_attention_by_hand() -> None:
    # Down takes the first number, 1; up makes it (2, 0, -1), whose silu is (1.7616, 0, -0.2689), with mean
    # 0.4976 and deviation 0.9005: normalised (1.4037, -0.5525, -0.8512). Gain (1, 2, 1) and bias (0, 0, 1)
    # make it (1.4037, -1.1050, 0.1488). The keys take its first and last number over sqrt 3: 0.8104, 0.0859.
    # With the silu between the layers instead they would be 0.7715 and -0.0399.
    method = learned("sapt", 1)
    layers = [[[1.0, 0.0, 0.0]], [[2.0], [0.0], [-1.0]], [1.0, 2.0, 1.0], [0.0, 0.0, 1.0]]
    method.network = [nn.Parameter(torch.tensor(values).double()) for values in layers]
    method.keys = [nn.Parameter(torch.tensor(key).double()) for key in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])]
    expected = torch.tensor([[0.8104, 0.0859]]).double().softmax(1)
    assert torch.allclose(method.weights(torch.tensor([[1.0, 5.0, 7.0]]).double()), expected, atol=1e-4)


def test_divergence_by_hand() -> None:
    method = learned("sapt", 2, rehearsed=4)
    tiny.begin(method, 2)
    now = torch.cat([method.weights(stored) for stored in method.inputs])
    assert now.shape == (8, 3)
    expected = 0.0
    for number, then in enumerate(method.attentions):
        for row in now[4 * number : 4 * number + 4]:
            # A mean over the four inputs of a task, and a sum over the two tasks.
            expected += sum(p * (p / q).log() for p, q in zip(then, row, strict=False)) / 4
    assert torch.isclose(method.divergence(), torch.as_tensor(expected))


def test_holding_keeps_old_attention_closer() -> None:
    moved = []
    for holding in (0.0, 20.0):
        method = learned("sapt", 2, rehearsed=12, holding=holding, settings={"epochs": 6})
        stored, then = method.inputs[0], method.attentions[0]
        tiny.learn(method, 2)
        moved.append((method.weights(stored)[:, 0].mean() - then[0]).abs().item())
    assert moved[1] < moved[0]


def test_nothing_is_stored_without_rehearsal() -> None:
    method = learned("sapt", 2, rehearsed=0)
    assert method.accounting().auxiliary_bytes == 0 and not method.inputs
