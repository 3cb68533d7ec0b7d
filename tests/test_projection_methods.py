"""Methods that keep steps off old inputs: GPM-LoRA and KeepLoRA."""

from __future__ import annotations

import pytest
import torch

from benchmark.lora.inputs import in_order
from methods.keep_lora import leading_directions
from methods.pieces import fisher
from methods.pieces.subspace_memory import SubspaceMemory, free_rows
from tests import tiny
from tests.tiny import learned

# --- GPM-LoRA


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_remembered_inputs_keep_their_output_whatever_the_optimiser(optimizer: str) -> None:
    method = learned("gpm-lora", 1, "vector", optimizer=optimizer, learning_rate=0.1, energy=0.9)
    (layer,) = method.stack.layers.values()
    inputs, middle = method.memories
    old_down, old_up = layer.current.lora_A.detach().clone(), layer.current.lora_B.detach().clone()
    tiny.learn(method, 1)
    # The memories grew at the end of task 1; what task 0 had remembered is in front.
    used = method.memories[0].basis[:, :1]
    assert (used.t() @ (layer.current.lora_A - old_down).t()).abs().max() < 1e-10
    assert (layer.current.lora_A - old_down).abs().max() > 1e-4
    first = method.memories[1].basis[:, :1]
    assert (first.t() @ (layer.current.lora_B - old_up).t()).abs().max() < 1e-10
    assert inputs is method.memories[0] and middle is method.memories[1]


def test_middle_memory_is_of_what_the_down_factor_gives() -> None:
    method = learned("gpm-lora", 0, "vector", energy=1 - 1e-9)
    rows, _ = tiny.begin(method, 0)
    tiny.randomise(method.stack)
    (layer,) = method.stack.layers.values()
    layer.current.lora_A.data[1] = 0
    method.end_task(0, rows)
    # A x has one direction that is not zero: the first.
    assert torch.allclose(method.memories[1].basis.abs(), torch.tensor([[1.0], [0.0]]).double())


def test_bases_grow_and_stay_orthonormal() -> None:
    method = learned("gpm-lora", 0)
    shares = []
    for t in range(3):
        tiny.learn(method, t)
        shares.append(method.report(t)["free_inputs"])
    assert shares == sorted(shares, reverse=True)
    for memory in method.memories:
        eye = torch.eye(memory.basis.shape[1]).double()
        assert torch.allclose(memory.basis.t() @ memory.basis, eye, atol=1e-8)


def test_a_full_memory_stops_the_adapter() -> None:
    method = learned("gpm-lora", 1)
    method.memories = [SubspaceMemory(torch.eye(len(m.basis)).double()) for m in method.memories]
    before = method.stack.snapshot()
    tiny.learn(method, 1)
    after = method.stack.snapshot()
    assert all((a - b).abs().max() < 1e-12 for a, b in zip(after, before, strict=True))


# --- KeepLoRA


def test_mean_gradient_is_that_of_autograd() -> None:
    method = learned("keep-lora", 0, "vector")
    rows, _ = tiny.begin(method, 0)
    given = in_order(rows, 5, method.task_model.device)
    (found,) = fisher.mean_gradient(method.task_model.loss, method.stack, given).values()
    (layer,) = method.stack.layers.values()
    weight = layer.base.weight.detach().clone().requires_grad_(True)
    layer.answer_with(weight)
    (expected,) = torch.autograd.grad(method.task_model.loss(tiny.whole(rows)), [weight])
    assert expected.abs().max() > 0 and torch.allclose(found, expected)


def test_leading_directions_by_hand() -> None:
    # Energies 9, 4, 1 of 14: 0.64, 0.93, 1. Half is held by one direction, 0.7 by two, nothing by none.
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0]).double())
    assert [leading_directions(matrix, share).shape[1] for share in (0.0, 0.5, 0.7, 1.0)] == [0, 1, 2, 3]


def test_down_factor_is_orthonormal_and_off_weight_and_old_inputs() -> None:
    method = learned("keep-lora", 1, weight_energy=0.3, feature_energy=0.5)
    tiny.begin(method, 1)
    for name, layer in method.stack.layers.items():
        memory = method.memories[name]
        assert torch.allclose(
            layer.current.lora_A @ layer.current.lora_A.t(), torch.eye(2).double(), atol=1e-8
        )
        assert (layer.current.lora_A @ memory.basis).abs().max() < 1e-8
        weight = leading_directions(layer.base.weight.t(), 0.3)
        assert (layer.current.lora_A @ weight).abs().max() < 1e-8


def test_rows_that_the_gradient_does_not_choose_are_zero() -> None:
    # With two classes the gradient of one layer under the head has rank 1: (p - y) of one is the other's
    # negative.
    method = learned("keep-lora", 0, "vector")
    tiny.begin(method, 0)
    (layer,) = method.stack.layers.values()
    assert torch.allclose(layer.current.lora_A.norm(dim=1), torch.tensor([1.0, 0.0]).double())
    (memory,) = method.memories.values()
    assert (layer.current.lora_A @ memory.basis).abs().max() < 1e-10


def test_nothing_is_free_in_a_full_memory() -> None:
    full = SubspaceMemory(torch.eye(5).double())
    assert not free_rows(full, torch.randn(5, 4).double(), 2).any()


def test_merging_keeps_the_function_and_the_size() -> None:
    method = learned("keep-lora", 1)
    before = tiny.logits(method, 0)
    stored = method.accounting().stored
    tiny.begin(method, 1)
    assert (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max() < 1e-10
    method.end_task(1, tiny.rows(method, 1))
    assert method.accounting().stored == stored == 4 * 32 * 32
    assert method.accounting().resident == 0
