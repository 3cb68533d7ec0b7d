"""InfLoRA: frozen down factors in the free directions of a layer's inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.data.batches import VectorRows
from benchmark.lora.inputs import in_order, observe_inputs, second_moments
from benchmark.lora.targets import block_of
from benchmark.models import small_models
from benchmark.running.training import train
from methods.inflora import free_directions
from methods.pieces.subspace_memory import SubspaceMemory
from tests import tiny

KINDS = ["vector", "image", "encoder", "seq2seq", "causal"]


def inflora(kind: str = "encoder", **chosen: Any) -> Any:
    return tiny.make_method("inflora", kind, torch.float64, **chosen)


def moments(method: Any, rows: Any, size: int) -> dict[str, Tensor]:
    return second_moments(method.loss, method.stack, in_order(rows, size, method.task_model.device))


def inputs(method: Any, t: int) -> dict[str, Tensor]:
    """Return every input row `(n, d)` of each layer on a task's training rows, nothing left out."""
    seen: dict[str, list[Tensor]] = {}

    def see(name: str, x: Tensor) -> None:
        seen.setdefault(name, []).append(x.reshape(-1, x.shape[-1]))

    with observe_inputs(method.stack, see), torch.no_grad():
        method.task_model.loss(tiny.whole(tiny.rows(method, t)))
    return {name: torch.cat(rows) for name, rows in seen.items()}


# --- sanity list 1, 5: the down factor and the moments


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_new_down_factor_are_orthogonal_and_as_long_as_usual(kind: str) -> None:
    method = inflora(kind)
    tiny.begin(method, 0)
    for layer in method.stack.layers.values():
        assert torch.allclose(
            layer.current.lora_A @ layer.current.lora_A.t(), torch.eye(2).double() / 3, atol=1e-10
        )


def test_layers_with_one_input_get_one_down_factor() -> None:
    method = inflora("encoder")
    tiny.begin(method, 0)
    downs = {name: layer.current.lora_A for name, layer in method.stack.layers.items()}
    adapters = [(name, name.replace("query", "value")) for name in downs if "query" in name]
    assert len(adapters) == 2
    assert all(torch.equal(downs[query], downs[value]) for query, value in adapters)


def test_training_moves_only_the_up_factor() -> None:
    method = inflora("encoder", learning_rate=0.01)
    _, [phase] = tiny.begin(method, 0)
    before = {name: layer.current.lora_A.clone() for name, layer in method.stack.layers.items()}
    tiny.learn(method, 0)
    # `learn` began the task anew from the same seed: the same factors, and trained ones beside them.
    for name, layer in method.stack.layers.items():
        assert torch.equal(layer.current.lora_A, before[name]) and layer.current.lora_B.abs().sum() > 0
    # 2 blocks x (query, value) up factors, then weight and bias of the head.
    assert [len(group.parameters) for group in phase.groups] == [4, 2]


@pytest.mark.parametrize("size", [1, 5, 100])
def test_moments_are_the_mean_over_rows_whatever_the_batch(size: int) -> None:
    method = inflora("vector")
    rows, _ = tiny.begin(method, 0)
    (found,) = moments(method, rows, size).values()
    x = next(iter(inputs(method, 0).values()))
    assert torch.allclose(found, x.t() @ x / len(x), atol=1e-10)
    assert torch.allclose(found, found.t())
    assert torch.isclose(found.trace(), x.square().sum(1).mean())
    assert torch.linalg.eigvalsh(found).min() > -1e-10


def test_padded_tokens_do_not_count() -> None:
    method = inflora("encoder")
    rows, _ = tiny.begin(method, 0)
    alone = moments(method, rows, 1)
    together = moments(method, rows, len(rows))
    first = next(iter(alone))
    mask = tiny.whole(rows).inputs["attention_mask"]
    assert not mask.all(), "the rows must differ in length"
    assert torch.allclose(alone[first], together[first], atol=1e-10)


# --- 2, 3, 12: what is new does not reach the old


@pytest.mark.parametrize("dual", [True, False])
def test_new_rows_are_orthogonal_to_the_memory_in_both_modes(
    dual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = inflora("encoder", energy=1 - 1e-9 if dual else 0.5)
    monkeypatch.setattr(method, "dual", dual)
    for t in range(2):
        tiny.learn(method, t)
    tiny.begin(method, 2)
    modes = {memory.retains for memory in method.memories.values()}
    assert modes == ({True} if dual else {False})
    for name, layer in method.stack.layers.items():
        rows, memory = layer.current.lora_A.t(), method.memories[name]
        assert (rows - memory.free(rows)).abs().max() < 1e-8


def test_rows_past_the_rank_of_the_projected_moments_are_zero() -> None:
    # The moments have rank 3, of which one direction is remembered: two are left for an adapter of four rows.
    moments = torch.diag(torch.tensor([3, 2, 1, 0, 0, 0], dtype=torch.float64))
    memory = SubspaceMemory(torch.eye(6, dtype=torch.float64)[:, :1])
    rows = free_directions(memory, moments, 4)
    lengths = rows.norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([3**-0.5, 3**-0.5, 0, 0]).double())
    assert rows[:, 0].abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_that_are_all_remembered_leave_nothing_to_train(dtype: torch.dtype) -> None:
    # Of the free part of such moments only rounding is left, whose directions lie inside the memory.
    directions = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0].to(dtype)
    memory = SubspaceMemory(torch.linalg.qr(directions[:, :5])[0])
    moments = directions[:, :3] @ directions[:, :3].t()
    assert free_directions(memory, moments, 4).abs().max() == 0


def test_rows_stay_off_a_large_memory_in_single_precision() -> None:
    # The free part is 3e-4 of the moments, so its singular vectors alone lie about 1e-4 inside the memory.
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(256, 256, generator=generator))[0]
    moments = directions @ torch.diag(10.0 ** torch.linspace(0, -5, 256)) @ directions.t()
    memory = SubspaceMemory(directions[:, :180].contiguous())
    bare = torch.linalg.svd(memory.free(moments))[0][:, :10].t() / 3**0.5
    rows = free_directions(memory, moments, 10)
    bare_inside, inside = ((x @ memory.basis).abs().max().item() for x in (bare, rows))
    assert inside < 1e-6 < bare_inside
    assert torch.allclose(rows @ rows.t(), torch.eye(10) / 3, atol=1e-5)


def test_tasks_of_orthogonal_inputs_do_not_disturb_each_other_unless_the_rows_are_random() -> None:
    changes = {}
    for chosen in ("free", "random"):
        method = inflora("vector", learning_rate=0.1, energy=1.0)
        spaces = torch.eye(48, dtype=torch.float64).split(6)
        # Task t's inputs lie in six axes of their own. A first task leaves out the direction that crosses the
        # threshold, so its last axis is given to the memory by hand.
        task_model = method.task_model
        given = [cut(tiny.rows(method, t), spaces[t]) for t in range(2)]
        task_model.begin_task([0])
        method.begin_task(0, given[0])
        run(method, 0, given[0])
        (memory,), (layer,) = method.memories.values(), method.stack.layers.values()
        memory.basis = spaces[0].t().clone()
        before = task_model.logits(tiny.whole(given[0])).detach()
        task_model.begin_task([1])
        method.begin_task(1, given[1])
        if chosen == "random":
            layer.current.lora_A.data.copy_(
                torch.randn(layer.current.lora_A.shape, generator=torch.Generator().manual_seed(0))
            )
        run(method, 1, given[1])
        assert layer.current.lora_B.abs().max() > 1e-3
        after = task_model.logits(tiny.whole(given[0])).detach()[:, : before.shape[1]]
        changes[chosen] = (after - before).abs().max().item()
    assert changes["free"] < 1e-10 < 1e-3 < changes["random"]


def cut(rows: Any, axes: Tensor) -> VectorRows:
    """Return vector rows with nothing outside some axes `(k, d)`."""
    batch = tiny.whole(rows)
    assert batch.labels is not None
    return VectorRows(batch.inputs["x"].double() @ axes.t() @ axes, batch.labels)


def run(method: Any, t: int, rows: VectorRows) -> None:
    """Train a task that has begun."""
    for phase in method.phases(t):
        train(method, phase, rows, (0, t, phase.name), lambda share: None)


def test_update_is_confined_to_the_rows_of_the_down_factor() -> None:
    method = inflora("encoder", learning_rate=0.1)
    tiny.learn(method, 0)
    for layer in method.stack.layers.values():
        change = layer.current.lora_B.detach() @ layer.current.lora_A.detach()
        # Rows of A have length 1 / sqrt(3), so the projector on them is 3 A^T A.
        assert torch.allclose(
            change @ (3 * layer.current.lora_A.t() @ layer.current.lora_A), change, atol=1e-12
        )
        assert change.abs().max() > 0


def test_old_inputs_in_the_memory_get_the_same_output_after_a_new_task() -> None:
    method = inflora("vector", learning_rate=0.1)
    tiny.learn(method, 0)
    (layer,) = method.stack.layers.values()
    (memory,) = method.memories.values()
    used = torch.eye(48).double() - memory.free(torch.eye(48).double())
    old = next(iter(inputs(method, 0).values())) @ used
    tiny.learn(method, 1)
    change = old @ layer.current.lora_A.t() @ layer.current.lora_B.t()
    moved = next(iter(inputs(method, 1).values())) @ layer.current.lora_A.t() @ layer.current.lora_B.t()
    assert change.abs().max() < 1e-8 < 1e-3 < moved.abs().max()


# --- 4, 8, 9, 10


def test_first_task_starts_from_the_pretrained_features() -> None:
    method = tiny.make_method("inflora", "image")
    rows, _ = tiny.begin(method, 0)
    inputs = tiny.whole(rows).inputs
    with torch.no_grad():
        plain = tiny.backbone("image").features(inputs)
        assert torch.equal(method.task_model.backbone.features(inputs), plain)


def test_trained_numbers_are_the_up_factors_and_the_new_head_rows() -> None:
    method = inflora("encoder")
    tiny.learn(method, 0)
    rows, [phase] = tiny.begin(method, 1)
    adapter, head = (sum(p.numel() for p in group.parameters) for group in phase.groups)
    # 2 blocks x (query, value) x 32 outputs x rank 2; 2 classes x (32 weights and a bias).
    assert (adapter, head) == (4 * 32 * 2, 2 * 33)
    batch = tiny.whole(rows)
    method.task_model.head.zero_grad()
    before = method.loss(batch)
    before.backward()
    old = {name: p for name, p in method.task_model.head.named_parameters() if name.endswith(".0")}
    assert len(old) == 2 and all(parameter.grad is None for parameter in old.values())
    method.task_model.head.biases[0].data += 50.0
    assert torch.equal(method.loss(batch), before)


def test_new_task_starts_from_the_old_function() -> None:
    method = inflora("encoder", learning_rate=0.01)
    tiny.learn(method, 0)
    before = tiny.logits(method, 0)
    tiny.begin(method, 1)
    assert (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max() < 1e-10


def test_threshold_rises_from_the_first_energy_towards_the_last() -> None:
    method = inflora("vector", energy=0.7, last_energy=1.0)
    asked = []
    for memory in method.memories.values():
        memory.update = lambda moments, threshold, **kind: asked.append(threshold)
    for t in range(3):
        method.end_task(t, tiny.begin(method, t)[0])
    # 0.7 + 0.3 t / 3
    assert asked == pytest.approx([0.7, 0.8, 0.9])


def test_memory_and_free_share_are_reported() -> None:
    method = inflora("vector", energy=0.9)
    tiny.learn(method, 0)
    (memory,) = method.memories.values()
    size = memory.basis.shape[1]
    assert method.report(0) == {"free_directions": 1 - size / 48}
    # 8 bytes a number in float64, and the mode's integer.
    assert method.accounting().auxiliary_bytes == 48 * size * 8 + 8


# --- InfLoRA-b5


def test_b5_adapts_the_first_five_blocks_and_leaves_the_others_as_they_were() -> None:
    assert [block_of(name) for name in ("a.0.q", "a.layer.11.self.v", "projection")] == [0, 11, 0]
    method: Any = tiny.make_method("inflora-b5", "encoder", torch.float64)
    assert len(method.stack.layers) == 4, "a model of two blocks is adapted throughout"
    assert list(method.adapted_blocks(range(12))) == [0, 1, 2, 3, 4]


def test_b5_leaves_blocks_past_the_fifth_untouched_through_training(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tiny model has two blocks; with a limit of one its second block counts as past the limit.
    monkeypatch.setattr("methods.inflora_b5.BLOCKS", 1)
    method: Any = tiny.make_method("inflora-b5", "encoder", torch.float64)
    every: Any = tiny.make_method("inflora", "encoder", torch.float64)
    late = [name for name in every.stack.layers if block_of(name) == 1]
    assert len(late) == 2 and not set(late) & set(method.stack.layers)
    assert list(method.memories) == list(method.stack.layers) == list(method.stack.sum())
    for t in range(2):
        tiny.learn(method, t)
    plain = tiny.backbone("encoder", torch.float64).module
    for name in late:
        layer = method.task_model.backbone.module.get_submodule(name)
        assert type(layer) is torch.nn.Linear
        assert torch.equal(layer.weight, plain.get_submodule(name).weight)


def test_b5_memory_is_never_changed_for_its_complement() -> None:
    method: Any = tiny.make_method("inflora-b5", "encoder", torch.float64, energy=1 - 1e-12)
    for t in range(3):
        tiny.learn(method, t)
    memories = method.memories.values()
    assert all(not memory.retains and memory.basis.shape[1] > small_models.HIDDEN / 2 for memory in memories)
