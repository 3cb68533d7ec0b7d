"""The reference rows do what their names say: one adapter for all, one per task, everything at once, none."""

from __future__ import annotations

import torch

from tests import tiny


def learned(key: str, count: int = 3):
    method = tiny.make_method(key, "vector", stream=tiny.tasks("vector", count))
    for t in range(count):
        tiny.learn(method, t)
    return method


def test_sequential_lora_goes_on_with_the_one_adapter_it_made():
    method = tiny.make_method("seq-lora", "vector", stream=tiny.tasks("vector", 3))
    tiny.learn(method, 0)
    first = [id(parameter) for parameter in method.stack.parameters()]
    before = [parameter.detach().clone() for parameter in method.stack.parameters()]
    tiny.learn(method, 1)
    assert [id(parameter) for parameter in method.stack.parameters()] == first
    assert not all(torch.equal(old, new) for old, new in zip(before, method.stack.parameters(), strict=True))
    assert method.stack.frozen_tasks == [] and method.accounting().active == 1


def test_incremental_lora_stacks_a_adapter_per_task():
    method = learned("inc-lora")
    assert method.stack.frozen_tasks == [0, 1] and method.stack.current_task == 2
    # 3 adapters of rank r on one layer of 48 -> 16: 3 r (48 + 16).
    assert method.accounting().stored == 3 * method.protocol.rank * (48 + 16)


def test_independent_lora_answers_with_the_named_adapter_alone():
    method = learned("independent")
    batch = tiny.rows(method, 0, "test").batch(range(8))
    before = method.predict(batch, 0)
    # The adapters of tasks 1 and 2 turn into noise: task 0 must not notice.
    for layer in method.stack.layers.values():
        torch.nn.init.normal_(layer.current.lora_A)
        torch.nn.init.normal_(layer.current.lora_B)
        layer.frozen.lora_A[method.stack.frozen_ranks[0] :].mul_(-2)
        layer.frozen.lora_B[:, method.stack.frozen_ranks[0] :].mul_(-2)
    assert method.predict(batch, 0) == before
    allowed = set(method.task_model.task_columns(method.task_model.tasks[0]))
    assert set(before) <= allowed


def test_joint_training_sees_every_task_once_and_only_at_the_end():
    method = tiny.make_method("joint", "vector", stream=tiny.tasks("vector", 3))
    assert [list(method.training_tasks(t)) for t in range(3)] == [[], [], [0, 1, 2]]


def test_a_frozen_backbone_has_no_adapters():
    method = learned("frozen")
    counted = method.accounting()
    assert (counted.stored, counted.resident, counted.active) == (0, 0, 0)


def test_the_linear_probe_trains_the_whole_head_on_every_task_and_nothing_else():
    method = tiny.make_method("linear-probe", "vector", stream=tiny.tasks("vector", 3))
    assert [list(method.training_tasks(t)) for t in range(3)] == [[], [], [0, 1, 2]]
    method.task_model.begin_task([0, 1, 2])
    method.begin_task(2, tiny.rows(method, 2))
    (phase,) = method.phases(2)
    trained = {parameter for group in phase.groups for parameter in group.parameters}
    assert trained == set(method.task_model.head.parameters())
    # Ten times the protocol's epochs: what a probe has not learned yet, headroom would claim for adapters.
    assert phase.epochs == 10 * method.protocol.epochs
