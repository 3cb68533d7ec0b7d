"""Matched-budget controls beside LiteLoRA: what they keep, and that they differ in nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.registry import METHODS
from benchmark.running.training import evaluate, train
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
    rule = control("keep-random", 3, tasks=6, seed=1)
    tiny.learn(rule, 0)
    other = next(
        made
        for seed in range(20)
        if not torch.equal((made := control("keep-random", 3, 6, seed)).wanted, rule.wanted)
    )
    other.restore({name: value.clone() for name, value in rule.state().items()})
    assert torch.equal(other.wanted, rule.wanted)
    for t in range(1, 6):
        tiny.learn(rule, t)
        tiny.learn(other, t)
    assert tiny.same(other.state(), rule.state())


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


def budget_tuned(key: str) -> dict[str, dict[str, object]]:
    """Return a method's values by place, without `standard`, where every row has a search of its own."""
    found = all_tuned_values(key).items()
    return {place: chosen.values for place, chosen in found if not place.endswith("/standard")}


def test_controls_are_tuned_as_litelora_is() -> None:
    gate = {"sparsity", "selection_epochs", "selection_batch_size"}
    lite = budget_tuned("litelora")
    # The paper's own budgets on the large image sets are the gate's alone.
    published = {f"{stream}/litelora" for stream in ("cifar100", "cub200", "imagenet-a", "imagenet-r")}
    for key in [*RULES, "keep-given", "keep-greedy"]:
        control = budget_tuned(key)
        assert control.keys() == lite.keys() - published
        for place, values in control.items():
            assert {name: value for name, value in lite[place].items() if name not in gate} == values


# --- decisions that are given


def given(tasks: int = 4, seed: int = 0, **chosen: Any) -> Any:
    return tiny.make_method("keep-given", "vector", stream=tiny.tasks("vector", tasks), seed=seed, **chosen)


def test_given_decisions_are_taken_and_the_first_adapter_is_kept_whatever_they_say() -> None:
    assert given(decisions=[0, 0, 1, 0]).wanted.tolist() == [0, 2]
    assert given().wanted.tolist() == [0, 1, 2, 3], "none given: all are kept"


def test_shuffled_decisions_keep_as_many_and_differ_by_number_and_by_seed() -> None:
    decisions = [1, 1, 0, 0, 1, 0, 0, 0, 0, 1]
    drawn = {
        (seed, number): tuple(given(10, seed, decisions=decisions, shuffle=number).wanted.tolist())
        for seed in range(5)
        for number in range(4)
    }
    assert all(len(wanted) == 4 and wanted[0] == 0 for wanted in drawn.values())
    # Of the 84 ways to keep three of nine, twenty draws give many.
    assert len(set(drawn.values())) > 10
    assert drawn[2, 1] == tuple(given(10, 2, decisions=decisions, shuffle=1).wanted.tolist())


def test_every_permutation_is_as_likely() -> None:
    counts = [0, 0, 0]
    for number in range(300):
        counts[given(decisions=[1, 1, 0, 0], shuffle=number).wanted.tolist()[1] - 1] += 1
    # One of three places; 300 draws deviate by sqrt(300 x 1/3 x 2/3) = 8.2.
    assert all(abs(count - 100) < 33 for count in counts)


def test_shuffling_takes_no_random_numbers_from_training() -> None:
    plain, shuffled = given(decisions=[1] * 4), given(decisions=[1] * 4, shuffle=3)
    for t in range(2):
        tiny.learn(plain, t)
        tiny.learn(shuffled, t)
    assert tiny.same(plain.state(), shuffled.state())


def test_decisions_of_another_number_of_tasks_get_one_line() -> None:
    with pytest.raises(UserError, match="decisions holds 3 values and the stream has 4 tasks") as caught:
        given(decisions=[1, 0, 1])
    assert "\n" not in str(caught.value)


def test_a_gates_own_decisions_give_its_scores_to_the_last_bit() -> None:
    settings = {"epochs": 5}
    lite: Any = tiny.make_method(
        "litelora", "vector", stream=tiny.tasks("vector", 4), settings=settings, sparsity=0.01,
        learning_rate=0.05, selection_epochs=20,
    )  # fmt: skip
    for t in range(4):
        tiny.learn(lite, t)
    decisions = lite.gate.kept.tolist()
    assert 0 < sum(decisions[1:]) < 3, "the gate must keep some and drop some"
    same: Any = tiny.make_method(
        "keep-given", "vector", stream=tiny.tasks("vector", 4), settings=settings, decisions=decisions,
        learning_rate=0.05,
    )  # fmt: skip
    for t in range(4):
        tiny.learn(same, t)
    assert tiny.same(same.stack.state(), lite.stack.state()) and torch.equal(
        same.magnitudes, lite.base.magnitudes
    )


# --- decisions by rows of all tasks seen


def greedy(scores: dict[bool, float], **chosen: Any) -> Any:
    """Return a method that has these mean scores with the new adapter (True) and without it."""
    method: Any = tiny.make_method("keep-greedy", "vector", **chosen)

    def mean_score(t: int) -> float:
        return scores[any(bool(adapter.lora_B.any()) for _, adapter in method.stack.current_adapters())]

    method.mean_score = mean_score
    return method


@pytest.mark.parametrize(
    ("with_it", "least_gain", "kept"), [(0.8, 0.0, 1), (0.75, 0.0, 0), (0.8, 0.1, 0), (0.7, 0.0, 0)]
)
def test_greedy_keeps_what_gains_more_than_asked(with_it: float, least_gain: float, kept: int) -> None:
    method = greedy({True: with_it, False: 0.75}, least_gain=least_gain)
    for t in range(2):
        tiny.learn(method, t)
    assert method.kept.tolist() == [1, kept] and method.stack.count() == 1 + kept
    assert method.report(1)["gain"] == pytest.approx(with_it - 0.75) and "gain" not in method.report(0)


def test_greedy_scores_every_task_seen_on_rows_held_out_where_there_are_any() -> None:
    stream = tiny.tasks("vector", 2)
    stream[1] = replace(stream[1], validation=stream[1].test)
    method: Any = tiny.make_method("keep-greedy", "vector", stream=stream)
    for t in range(2):
        tiny.learn(method, t)
    shares = [
        evaluate(method, i, tiny.rows(method, i, split), getattr(stream[i], split))
        for i, split in ((0, "train"), (1, "validation"))
    ]
    assert method.mean_score(1) == pytest.approx(sum(shares) / 2)
    assert method.needs.rehearsal


# --- a gate on held-out rows


def test_a_gate_on_held_out_rows_sees_these_alone_in_as_many_steps() -> None:
    stream = [replace(task, validation=task.test.take([0, 1, 6])) for task in tiny.tasks("vector")]
    method: Any = tiny.make_method("litelora", "vector", stream=stream, selection_rows="held-out")
    tiny.learn(method, 0)
    _, (_, selection) = tiny.begin(method, 1)
    # 12 training rows in batches of 16: one step; 3 validation rows: one step an epoch.
    assert len(selection.rows) == 3 and selection.epochs == 1
    method.hyperparameters = method.hyperparameters.model_copy(update={"selection_batch_size": 2})
    _, selection = method.phases(1)
    # 12 rows in twos: 6 steps; 3 rows in twos: 2 steps an epoch, so 3 epochs.
    assert selection.epochs == 3
    seen: list[int] = []
    original = method.selection_loss

    def watched(batch: Any) -> Any:
        seen.append(len(batch))
        return original(batch)

    selection.loss = watched
    train(method, selection, selection.rows, (0, 1, "selection"), lambda share: None)
    assert sum(seen) == 9


def test_without_held_out_rows_such_a_gate_gets_one_line() -> None:
    method: Any = tiny.make_method("litelora", "vector", selection_rows="held-out")
    tiny.learn(method, 0)
    with pytest.raises(UserError, match="has no validation rows; set validation above 0") as caught:
        tiny.begin(method, 1)
    assert "\n" not in str(caught.value)


def test_a_gate_on_training_rows_has_the_settings_that_it_had_before() -> None:
    settings = METHODS.load("litelora").Hyperparameters
    assert "selection_rows" not in settings().model_dump()
    assert settings(selection_rows="held-out").model_dump()["selection_rows"] == "held-out"


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
