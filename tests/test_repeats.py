"""Streams whose tasks come again: which rows a visit brings, what it needs, and that all methods learn it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.repeats import deal, repeat
from benchmark.registry import METHODS
from benchmark.running.catalogue import load_stream
from benchmark.running.driver import run
from benchmark.running.plan import plan
from benchmark.running.worker import load_data
from benchmark.stream import Examples, LoadedStream, Task
from tests import tiny


def task(name: str, labels: list[int]) -> Task:
    rows = Examples(
        [f"{name} {row}" for row in range(len(labels))],
        np.array(labels),
        None,
        [str(row) for row in range(len(labels))],
    )
    return Task(name, rows, rows, classes=("red", "blue"))


def test_rows_of_each_class_are_dealt_out_in_turn() -> None:
    # Rows 0, 2, 3, 5 are of class 0 and go to visits 0, 1, 0, 1; rows 1, 4, 6 of class 1 to 0, 1, 0.
    first, second = deal(task("t", [0, 1, 0, 0, 1, 0, 1]).train, 2)
    assert first.ids == ["0", "1", "3", "6"] and second.ids == ["2", "4", "5"]


def test_a_class_of_one_row_gives_it_to_every_visit() -> None:
    assert [part.ids for part in deal(task("t", [0, 1, 1]).train, 3)] == [["0", "1"], ["0", "2"], ["0", "1"]]


def test_the_whole_order_comes_again_and_only_the_first_visit_needs_adapters() -> None:
    stream = LoadedStream([task("a", [0, 1] * 4), task("b", [0, 1] * 4)], "here")
    found = repeat(stream, 2)
    assert [each.name for each in found.tasks] == ["a", "b", "a, visit 2", "b, visit 2"]
    assert found.needs_adapter == (True, True, False, False)
    seen = [set(each.train.inputs) for each in found.tasks]
    assert seen[0] | seen[2] == set(stream.tasks[0].train.inputs) and not seen[0] & seen[2]
    assert found.tasks[2].classes == found.tasks[0].classes and found.tasks[2].test is found.tasks[0].test
    # What the stream knows of its first visits stays.
    assert repeat(replace(stream, needs_adapter=(True, False)), 2).needs_adapter == (
        True,
        False,
        False,
        False,
    )
    assert repeat(stream, 1) is stream


def test_limits_and_first_tasks_come_before_the_return() -> None:
    asked = ["repeat=2", "first_tasks=2", "train_limit=50", "tasks=4", "planes=4"]
    (wanted,) = plan("frozen", "toy", settings=asked)
    loaded, _ = load_data(wanted, None)
    assert [len(each.train) for each in loaded.tasks] == [50] * 4
    assert [each.name for each in loaded.tasks][2:] == ["task 01, visit 2", "task 02, visit 2"]


def test_a_run_without_it_keeps_its_key() -> None:
    protocol = load_stream("toy").protocols["smoke"]
    assert "repeat" not in protocol.identity()
    assert protocol.model_copy(update={"repeat": 2}).identity()["repeat"] == 2


def test_epochs_of_a_task_are_those_of_its_first_visit() -> None:
    stream = repeat(LoadedStream(tiny.tasks("vector", 2), "here"), 2).tasks
    chosen = {"epochs": 1, "epochs_by_task": {"task 02": 5}}
    method = tiny.make_method("inc-lora", "vector", stream=stream, settings=chosen)
    assert [method.epochs(t) for t in range(4)] == [1, 5, 1, 5]


@pytest.mark.parametrize("key", METHODS.names())
def test_every_method_learns_classes_that_return(key: str) -> None:
    kind = METHODS.load(key).kinds[0]
    stream = repeat(LoadedStream(tiny.tasks(kind, 2, rows=8), "here"), 2).tasks
    method = tiny.make_method(key, kind, stream=stream, settings={"epochs": 1, "batch_size": 4})
    for t in range(4):
        tiny.learn(method, t)
    assert all(torch.isfinite(value).all() for value in method.state().values() if value.is_floating_point())
    for t in range(4):
        rows = tiny.rows(method, t, "test")
        given = t if method.needs.task_id else None
        assert set(method.predict(tiny.whole(rows), given)) <= set(range(4)), "two tasks of two classes"


def test_a_run_over_a_stream_that_repeats_tells_what_was_needed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    small = ["repeat=2", "tasks=2", "planes=2", "train_rows=16", "test_rows=8", "epochs=1"]
    (outcome,) = run(plan("litelora", "toy", settings=small), tmp_path, None, 1, "cpu", False, lambda _: None)
    assert outcome.error is None and outcome.result is not None
    assert outcome.result.needs_adapter == [True, True, False, False]
    assert len(outcome.result.matrix) == 4
