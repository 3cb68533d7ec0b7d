"""Matched-budget controls beside LiteLoRA: what they keep, and that they differ in nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.running.tuned_values import all_tuned_values
from tests import tiny

RULES = ["keep-first", "keep-last", "keep-random"]


def control(key: str, keep: int, tasks: int = 4, seed: int = 0, **chosen: Any) -> Any:
    stream = tiny.tasks("vector", tasks)
    return tiny.make_method(key, "vector", stream=stream, seed=seed, keep=keep, **chosen)


@pytest.mark.parametrize(
    ("key", "keep", "kept"),
    [
        ("keep-first", 1, [1, 0, 0, 0]),
        ("keep-first", 3, [1, 1, 1, 0]),
        ("keep-last", 1, [1, 0, 0, 0]),
        ("keep-last", 3, [1, 0, 1, 1]),
        ("keep-last", 4, [1, 1, 1, 1]),
    ],
)
def test_what_is_kept(key: str, keep: int, kept: list[int]) -> None:
    method = control(key, keep)
    for t in range(4):
        tiny.learn(method, t)
    assert method.kept.tolist() == kept
    assert method.stack.tasks() == [t for t in range(4) if kept[t]]
    assert method.accounting().active == keep == len(method.magnitudes)


def test_random_tasks_are_drawn_by_the_seed_and_hold_the_first() -> None:
    drawn = [control("keep-random", 3, tasks=6, seed=seed).wanted.tolist() for seed in range(20)]
    assert all(0 in wanted and len(wanted) == 3 and max(wanted) < 6 for wanted in drawn)
    assert len({tuple(sorted(wanted)) for wanted in drawn}) > 5
    assert drawn[3] == control("keep-random", 3, tasks=6, seed=3).wanted.tolist()


def test_random_plan_outlives_the_process() -> None:
    told = control("keep-random", 3, tasks=6, seed=1)
    tiny.learn(told, 0)
    other = next(
        made
        for seed in range(20)
        if not torch.equal((made := control("keep-random", 3, 6, seed)).wanted, told.wanted)
    )
    other.restore({name: value.clone() for name, value in told.state().items()})
    assert torch.equal(other.wanted, told.wanted)
    for t in range(1, 6):
        tiny.learn(told, t)
        tiny.learn(other, t)
    assert tiny.same(other.state(), told.state())


@pytest.mark.parametrize("key", RULES)
def test_plan_and_decisions_are_counted(key: str) -> None:
    method = control(key, 2)
    for t in range(4):
        tiny.learn(method, t)
    # Two pairs of rank 2 on a layer of 48 x 16, two magnitudes, a plan of two tasks, four decisions.
    assert method.accounting().stored == 2 * 2 * (48 + 16) + 2 + 2 + 4


@pytest.mark.parametrize("key", [*RULES, "seq-lora-wide"])
def test_a_stream_of_one_task(key: str) -> None:
    method = tiny.make_method(key, "vector", stream=tiny.tasks("vector", 1))
    tiny.learn(method, 0)
    assert method.accounting().active == 1


@pytest.mark.parametrize("key", RULES)
def test_no_more_pairs_than_tasks(key: str) -> None:
    with pytest.raises(UserError, match="4 tasks") as caught:
        control(key, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", RULES)
def test_keeping_everything_is_litelora_whose_gates_stay_open(key: str) -> None:
    kept = control(key, 3, tasks=3, learning_rate=0.01)
    lite = tiny.make_method("litelora", "vector", learning_rate=0.01, sparsity=0.0, initial_logit=50.0)
    for t in range(3):
        tiny.learn(kept, t)
        tiny.learn(lite, t)
    assert tiny.same(kept.stack.state(), lite.stack.state())  # type: ignore[attr-defined]
    assert torch.equal(kept.magnitudes, lite.base.magnitudes)  # type: ignore[attr-defined]


def test_controls_are_tuned_as_litelora_is() -> None:
    gate = {"sparsity", "selection_epochs", "selection_batch_size"}
    lite = {place: chosen.values for place, chosen in all_tuned_values("litelora").items()}
    # The paper's own budgets on the large image sets are the gate's alone.
    published = {f"{stream}/litelora" for stream in ("cifar100", "cub200", "imagenet-a", "imagenet-r")}
    for key in RULES:
        control = {place: chosen.values for place, chosen in all_tuned_values(key).items()}
        assert control.keys() == lite.keys() - published
        for place, values in control.items():
            assert {name: value for name, value in lite[place].items() if name not in gate} == values


# --- one large pair


def test_wide_pair_has_the_rank_of_several() -> None:
    method: Any = tiny.make_method("seq-lora-wide", "vector", multiple=3)
    tiny.learn(method, 0)
    (layer,) = method.stack.layers.values()
    assert layer.current.lora_A.shape == (6, 48) and method.stack.count() == 1
    tiny.learn(method, 1)
    assert method.stack.count() == 1 and method.accounting().stored == 6 * (48 + 16)


def test_wide_pair_larger_than_a_layer_gets_one_line() -> None:
    method = tiny.make_method("seq-lora-wide", "vector", multiple=9)
    with pytest.raises(UserError, match=r"rank 18 exceeds the layer .* of 48 x 16") as caught:
        tiny.begin(method, 0)
    assert "\n" not in str(caught.value)
