"""What every method owes, whoever wrote it: one suite over the registry, on every kind of backbone.

A method that is added to the registry is tested here without a line being written for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from benchmark.analysis.leave_one_out import mask_adapter
from benchmark.method import Method, Phase
from benchmark.registry import METHODS
from benchmark.running.checkpoint import pack
from benchmark.running.training import evaluate, make_optimizer, train
from tests import tiny
from tests.story import ROWS, SHORT, TASKS, answers, everything, fresh, story

everywhere = tiny.everywhere()
# What one kind shows as well as all: on vectors, which are the quickest, where a method takes them.
on_one_kind = pytest.mark.parametrize(
    ("key", "kind"), [pytest.param(key, METHODS.load(key).kinds[0], id=key) for key in METHODS.names()]
)


# --- what may not change


@everywhere
def test_frozen_weights_are_bit_identical_after_every_task(key: str, kind: str) -> None:
    if METHODS.load(key).changes_backbone:
        pytest.skip("this method says that it trains the backbone's weights")
    first, *later = story(key, kind).weights
    assert all(tiny.same(weights, first) for weights in later)
    original = tiny.bytes_of(tiny.backbone(kind).module)
    assert tiny.same(first, original)


@everywhere
def test_frozen_past_is_bit_identical_after_a_later_task(key: str, kind: str) -> None:
    """What a method calls past keeps its leading rows and columns: later adapters are put behind them."""
    states = story(key, kind).states
    for before, after in pairwise(states):
        for name, value in before.items():
            if name.endswith(".frozen.lora_A"):
                assert torch.equal(after[name][: len(value)], value), name
            if name.endswith(".frozen.lora_B"):
                assert torch.equal(after[name][:, : value.shape[1]], value), name


@everywhere
def test_a_phase_changes_its_own_parameters_and_nothing_else(key: str, kind: str) -> None:
    method = fresh(key, kind)
    trained = 0

    def train_phase(method: Method, phase: Phase, *rest: Any) -> int:
        nonlocal trained
        own = [parameter for group in phase.groups for parameter in group.parameters]
        assert len({id(parameter) for parameter in own}) == len(own), "a parameter is listed twice"
        in_optimizer = {id(p) for group in make_optimizer(phase).param_groups for p in group["params"]}
        assert in_optimizer == {id(parameter) for parameter in own}
        before = everything(method)
        values = [[p.detach().clone() for p in group.parameters] for group in phase.groups]
        steps = train(method, phase, *rest)
        for group, old in zip(phase.groups, values, strict=True):
            adapters = zip(group.parameters, old, strict=True)
            assert any(not torch.equal(p, value) for p, value in adapters), (
                f"{phase.name}: a group stood still"
            )
        after = everything(method)
        assert after.keys() == before.keys()
        for name, value in after.items():
            if not torch.equal(before[name], value):
                is_own = any(p.shape == value.shape and torch.equal(p, value) for p in own)
                assert is_own, f"{phase.name} changed {name}"
        trained += 1
        return steps

    for t in range(TASKS):
        tiny.learn(method, t, train_phase=train_phase)
    text = kind in ("seq2seq", "causal")
    by_statistics = method.needs.stored_statistics and method.accounting().stored == 0
    untrained = by_statistics or (text and not method.state().keys() - {"head.seen"})
    assert trained > 0 or untrained, "nothing was ever trained"


@pytest.mark.parametrize("key", METHODS.names())
def test_a_default_run_moves_what_it_claims_to_train(key: str) -> None:
    """Beside the head: with its own defaults a method changes the features of the rows that it learns.

    Every registered method moves them by at least 0.25 % of their length in ten epochs of three steps; a
    penalty that holds the update at zero leaves 0.01 %.
    """
    kinds = [kind for kind in ("image", "encoder", "vector") if kind in METHODS.load(key).kinds]
    if not kinds:
        pytest.skip("this method takes no backbone with features")
    moved = movement(key, kinds[0])
    assert moved is None or moved > 1e-3, f"features moved by {moved:.1e} of their length"


def test_a_penalty_that_holds_the_update_at_zero_does_not_pass_for_training() -> None:
    # N-LoRA's dense form at the lambda of its r x r form.
    held = movement("n-lora", "image", variant="paper", sparsity=0.4)
    assert held is not None and held < 1e-3


def movement(key: str, kind: str, **hyperparameters: Any) -> float | None:
    """Return how far the first task learned moves its rows' features, over their length.

    None where the head alone is trained, or nothing.
    """
    settings = {"epochs": 10}
    method = tiny.make_method(key, kind, stream=tiny.tasks(kind, 2), settings=settings, **hyperparameters)
    t = next(t for t in range(2) if method.training_tasks(t))
    rows, phases = tiny.begin(method, t)
    head = {id(parameter) for parameter in method.task_model.head_parameters()}
    before: Tensor | None = None
    for phase in phases:
        trained = {id(parameter) for group in phase.groups for parameter in group.parameters}
        if before is None and trained - head:
            before = first_features(method, rows)
        train(method, phase, rows, (0, t, phase.name), lambda share: None)
    if before is None:
        return None
    return float((first_features(method, rows) - before).norm() / before.norm())


@torch.no_grad()
def first_features(method: Method, rows: Any) -> Tensor:
    """Return the features that the method's own loss asks for first, `(n, width)`."""
    backbone, seen = method.task_model.backbone, []
    features = backbone.features

    def watched(inputs: dict[str, Tensor]) -> Tensor:
        seen.append(features(inputs))
        return seen[-1]

    with patch.object(backbone, "features", watched):
        method.loss(tiny.whole(rows, training=True))
    return seen[0].clone()


# --- what is counted


@everywhere
def test_counts_are_those_of_the_state(key: str, kind: str) -> None:
    """All of the state is head, the stack's bookkeeping, counted as stored, or counted as auxiliary."""
    method = story(key, kind).method
    counted = method.accounting()
    books = ("stack.frozen_tasks", "stack.frozen_ranks", "stack.current_task", "stack.merged_rank")
    held = {n: x for n, x in method.state().items() if not n.startswith("head.") and n not in books}
    if counted.auxiliary_bytes == 0:
        assert counted.stored == sum(value.numel() for value in held.values())
    else:
        numbers = sum(value.numel() for value in held.values())
        total = sum(value.numel() * value.element_size() for value in held.values())
        assert counted.stored <= numbers
        # Whatever is not stored is auxiliary; a stored number has 4 or 8 bytes.
        assert total - 8 * counted.stored <= counted.auxiliary_bytes <= total - 4 * counted.stored
    assert 0 <= counted.active <= counted.adapters
    assert method.task_model.head_size() == sum(
        value.numel()
        for name, value in method.state().items()
        if name.startswith(("head.weights", "head.biases"))
    )


@on_one_kind
def test_as_many_adapters_are_active_as_change_an_answer_when_removed(key: str, kind: str) -> None:
    """Only where every adapter is one of the stack that can be left out: not for what was merged."""
    method = fresh(key, kind)
    for t in range(TASKS):
        tiny.learn(method, t)
    stack, counted = getattr(method, "stack", None), method.accounting()
    if stack is None or not stack.layers or stack.count() != counted.active or type(method).own_classifier:
        pytest.skip("its adapters are no adapters of one stack, or were merged")
    stack.unmerge()
    full = features_of_all(method)
    changed = []
    for place in range(counted.active):
        with mask_adapter(stack, place):
            changed.append(
                any(not torch.equal(a, b) for a, b in zip(features_of_all(method), full, strict=True))
            )
    assert sum(changed) == counted.active, changed


def features_of_all(method: Method) -> list[Tensor]:
    """Return what answers are made from, of every task's test rows, as the method sets the model for them."""
    found: list[Tensor] = []
    original = method.task_model.predict

    def seen(batch: Any, task: int | None = None) -> list[Any]:
        found.append(method.task_model.outputs(batch)[1].detach().clone())
        return original(batch, task)

    method.task_model.predict = seen  # type: ignore[method-assign]
    try:
        for t in range(TASKS):
            answers(method, t)
    finally:
        del method.task_model.predict
    return found


@everywhere
def test_backbone_is_counted_without_what_a_method_adds(key: str, kind: str) -> None:
    backbone = story(key, kind).method.task_model.backbone
    frozen = sum(value.numel() for value in tiny.bytes_of(backbone.module).values())
    assert backbone.size == frozen == tiny.backbone(kind).size


# --- what is written and read again


@everywhere
def test_restored_method_answers_the_same(key: str, kind: str) -> None:
    finished = story(key, kind)
    again = fresh(key, kind)
    again.restore(finished.method.state())
    assert pack(again.state()) == pack(finished.method.state())
    for t in (0, TASKS - 1):
        assert answers(again, t) == answers(finished.method, t)


@everywhere
def test_stopped_and_continued_gives_the_same_bytes(key: str, kind: str) -> None:
    finished = story(key, kind)
    again = fresh(key, kind, seed=5)
    again.restore(finished.states[TASKS - 2])
    tiny.learn(again, TASKS - 1)
    assert pack(again.state()) == pack(finished.states[-1])


@pytest.mark.parametrize(
    ("key", "chosen"),
    [
        ("ewc-lora", {"space": "factors"}),
        ("ewc-lora", {"variant": "official"}),
        ("gainlora", {"base": "o-lora"}),
        *[("litelora", {"base": base}) for base in ("inc-lora", "o-lora", "inflora")],
        ("sapt", {"rehearsed": 3}),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part.values())),
)
def test_stopped_and_continued_with_other_settings_gives_the_same_bytes(
    key: str, chosen: dict[str, Any]
) -> None:
    """With these a method keeps other things between tasks than with its defaults."""
    method, again = (fresh(key, "encoder", seed, **chosen) for seed in (0, 5))
    for t in range(TASKS - 1):
        tiny.learn(method, t)
    again.restore({name: value.clone() for name, value in method.state().items()})
    for either in (method, again):
        tiny.learn(either, TASKS - 1)
    assert pack(again.state()) == pack(method.state())


@on_one_kind
def test_same_seed_gives_the_same_bytes_and_another_seed_others(key: str, kind: str) -> None:
    def bytes_after(seed: int) -> bytes:
        method = fresh(key, kind, seed)
        for t in range(TASKS):
            tiny.learn(method, t, seed)
        return pack(method.state())

    assert bytes_after(1) == bytes_after(1)
    assert bytes_after(1) != bytes_after(2)


# --- what is asked of it


@everywhere
def test_answers_do_not_depend_on_batches_or_order(key: str, kind: str) -> None:
    method = story(key, kind).method
    rows = list(range(len(tiny.rows(method, 0, "test"))))
    at_once = answers(method, 0, rows)
    if method.needs.test_batch:
        assert answers(method, 0, rows[::-1]) == at_once, "declared: the batch counts, but not its order"
        return
    assert answers(method, 0, rows[::-1], size=3) == at_once
    assert answers(method, 0, rows[:3], size=1) == {row: at_once[row] for row in rows[:3]}


@on_one_kind
@pytest.mark.parametrize("head", ["class-incremental", "domain-incremental", "task-incremental"])
def test_task_is_withheld_unless_declared(
    key: str, kind: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = tiny.make_method(key, kind, settings={"head": head, **SHORT})
    for t in range(TASKS):
        tiny.learn(method, t)
    visible: list[int | None] = []
    original = method.predict

    def watched(batch: Any, task: int | None) -> list[Any]:
        visible.append(task)
        return original(batch, task)

    monkeypatch.setattr(method, "predict", watched)
    share = evaluate(method, 1, tiny.rows(method, 1, "test"), method.task_model.tasks[1].test)
    assert 0 <= share <= 1
    given = head == "task-incremental" or type(method).needs.task_id
    assert set(visible) == {1 if given else None}


@on_one_kind
def test_rows_of_other_tasks_are_not_seen_unless_declared(key: str, kind: str) -> None:
    method = fresh(key, kind)
    others = {task for t in range(TASKS) for task in method.training_tasks(t) if task != t}
    assert not others or method.needs.rehearsal


@on_one_kind
@pytest.mark.parametrize(
    ("count", "classes", "rows"),
    [(1, 2, 4), (2, 1, 4), (2, 2, 1), (1, 1, 1)],
    ids=["one task", "one class", "one row of a class", "one of each"],
)
def test_smallest_streams_are_learned(key: str, kind: str, count: int, classes: int, rows: int) -> None:
    kind = "image" if "image" in METHODS.load(key).kinds else kind
    stream = tiny.tasks(kind, count, classes, rows)
    method = tiny.make_method(key, kind, stream=stream, settings=SHORT)
    for t in range(count):
        tiny.learn(method, t)
    assert set(answers(method, count - 1).values()) <= set(range(count * classes))
    floating = [value for value in method.state().values() if value.is_floating_point()]
    assert all(torch.isfinite(value).all() for value in floating)


# --- what is exported


@everywhere
def test_exported_sum_put_into_plain_weights_gives_the_same_answers(key: str, kind: str) -> None:
    method = story(key, kind).method
    merged = method.low_rank_sum()
    if merged is None:
        pytest.skip("this method is no sum of low-rank adapters")
    plain = tiny.backbone(kind)
    for name, (down, up) in merged.items():
        weight = plain.module.get_submodule(name).weight
        assert up.shape[0] == weight.shape[0] and down.shape[1] == weight.shape[1]
        weight.data += up @ down
    for ours, theirs in zip(outputs(method), outputs(method, plain), strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * max(1.0, theirs.abs().max().item())


@torch.no_grad()
def outputs(method: Method, other: Any = None) -> Iterator[Tensor]:
    """Yield the logits, or the token logits, of each task's test rows; through another backbone if given."""
    task_model = method.task_model
    used = other or task_model.backbone
    for t in range(TASKS):
        batch = tiny.whole(tiny.rows(method, t, "test"))
        if other is None:
            task_model.announce(batch)
        if hasattr(task_model, "head"):
            yield task_model.head(used.features(batch.inputs))
        elif used.kind == "causal":
            yield used.module(**batch.inputs).logits
        else:
            yield used.module(**batch.inputs, labels=batch.targets).logits


# --- number formats


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_two_tasks_of_one_step_in_each_number_format(key: str, kind: str, dtype: torch.dtype) -> None:
    settings = {"epochs": 1, "batch_size": 64}
    method = tiny.make_method(key, kind, dtype, tiny.tasks(kind, 2, rows=ROWS), settings)
    for t in range(2):
        tiny.learn(method, t)  # raises where a loss is not finite
    assert len(answers(method, 0)) == 2 * ROWS
    floating = {n: x for n, x in method.state().items() if x.is_floating_point()}
    assert all(torch.isfinite(value).all() for value in floating.values())
    ours = [name for name in floating if name.startswith(("head.", "stack."))]
    stored = {floating[name].dtype for name in ours if name.startswith("head.") or ".lora_" in name}
    assert stored <= {dtype}
