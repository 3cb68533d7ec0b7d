"""What the gate weighs: the cross-entropy with and without the new adapter, before its selection phase."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.data.batches import Batch, VectorRows
from benchmark.running.training import train
from methods.pieces.gate_worth import measure_worth
from tests import tiny

CPU = torch.device("cpu")


def test_worth_by_hand() -> None:
    rows = VectorRows(torch.tensor([[1.0], [2.0], [6.0]]), torch.zeros(3, dtype=torch.int64))
    opened: list[bool] = []

    @contextmanager
    def gated(is_open: bool) -> Iterator[None]:
        opened.append(is_open)
        yield

    def loss(batch: Batch) -> Tensor:
        # A row's loss is its value, and twice that without the adapter.
        return batch.inputs["x"].mean() * (1 if opened[-1] else 2)

    found = measure_worth(loss, gated, rows, 2, CPU)
    # Batches of two and of one row: (1.5 x 2 + 6 x 1) / 3 = 3, not the batches' mean 3.75; without it 6.
    assert found == {"with": 3.0, "without": 6.0, "worth": 3.0}
    assert opened == [True, False, True, False]


def test_measuring_takes_no_random_numbers_and_no_gradient() -> None:
    rows = VectorRows(torch.ones(4, 1), torch.zeros(4, dtype=torch.int64))
    weight = torch.ones((), requires_grad=True)
    before = torch.get_rng_state()

    @contextmanager
    def gated(_: bool) -> Iterator[None]:
        yield

    def loss(batch: Batch) -> Tensor:
        drawn = batch.inputs["x"].mean() * weight + torch.rand(())
        assert not drawn.requires_grad
        return drawn

    measure_worth(loss, gated, rows, 2, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def at_selection(
    kind: str = "vector", settings: dict[str, Any] | None = None, **options: Any
) -> tuple[Any, Any, Any]:
    """Return LiteLoRA whose second adapter is trained, the task's rows, and the selection phase to come."""
    stream = tiny.tasks(kind)
    stream = [replace(task, validation=task.test) for task in stream]
    options = {"learning_rate": 0.1} | options
    method = tiny.make_method("litelora", kind, stream=stream, settings=settings, **options)
    tiny.learn(method, 0)
    rows, (magnitude, selection) = tiny.begin(method, 1)
    train(method, magnitude, rows, (0, 1, magnitude.name), lambda share: None)
    return method, rows, selection


@pytest.mark.parametrize("kind", ["vector", "encoder", "seq2seq"])
@pytest.mark.parametrize("scope", ["model", "module"])
def test_worth_is_the_loss_without_the_adapter_less_that_with_it(kind: str, scope: str) -> None:
    # One batch of all rows: of text the loss is a mean over tokens, which no mean of batches gives exactly.
    method, rows, selection = at_selection(kind, {"batch_size": 64}, scope=scope)
    logit = method.gate.logit.detach().clone()
    selection.before()
    assert torch.equal(method.gate.logit, logit)
    batch = tiny.whole(rows, training=True)
    with torch.no_grad():
        opened = method.task_model.loss(batch).item()
        for layer in method.stack.layers.values():
            layer.current.lora_B.data.zero_()  # as if the adapter were not there
        closed = method.task_model.loss(batch).item()
    found = method.worth["selection"]
    assert math.isclose(found["with"], opened, rel_tol=1e-4)
    assert math.isclose(found["without"], closed, rel_tol=1e-4)
    assert found["worth"] == found["without"] - found["with"] != 0
    assert method.worth["held_out"].keys() == found.keys() and method.worth["held_out"] != found


def test_worth_tells_what_every_lambda_decides() -> None:
    options = {"learning_rate": 0.05, "head_learning_rate": 1e-3, "selection_epochs": 100}
    method, _, selection = at_selection("vector", {"epochs": 5}, **options)
    selection.before()
    worth = method.worth["selection"]["worth"]
    assert worth > 0.01, "the adapter must be worth something"
    # Given the steps, the gate keeps what is worth more than its price and drops the rest.
    for price, kept in ((worth / 2, True), (worth * 2, False)):
        method, rows, selection = at_selection("vector", {"epochs": 5}, sparsity=price, **options)
        train(method, selection, rows, (0, 1, selection.name), lambda share: None)
        method.end_task(1, rows)
        reported = method.report(1)
        assert (reported["worth"]["selection"]["worth"], reported["kept"]) == (worth, kept)


def test_measuring_changes_neither_what_is_learned_nor_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    states, passes = [], []
    for measured in (True, False):
        method: Any = tiny.make_method("litelora", "image", settings={"augmentation": "crop"})
        if not measured:
            monkeypatch.setattr(type(method), "weigh", lambda self, t: None)
        for t in range(2):
            tiny.learn(method, t)
        states.append(method.state())
        passes.append(method.task_model.backbone.passes.total)
    assert tiny.same(*states)
    assert passes[0] == passes[1] > 0


def test_the_first_adapter_is_not_weighed_and_no_validation_rows_are_reported() -> None:
    method: Any = tiny.make_method("litelora", "vector")
    tiny.learn(method, 0)
    assert method.report(0)["worth"] == {}
    tiny.learn(method, 1)
    assert method.report(1)["worth"]["held_out"] is None
