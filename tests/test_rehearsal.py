"""The rehearsal buffer and the method that uses it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.batches import TokenRows, VectorRows
from benchmark.checkpoint import pack
from methods.pieces.rehearsal_buffer import RehearsalBuffer
from tests import tiny

CPU = torch.device("cpu")


def vectors(labels: list[int], start: int = 0) -> VectorRows:
    """Return rows of one number each: their place in the stream."""
    values = torch.arange(start, start + len(labels), dtype=torch.float32)[:, None]
    return VectorRows(values, torch.tensor(labels))


def numbers(buffer: RehearsalBuffer) -> list[int]:
    assert buffer.rows is not None
    return [int(value) for value in buffer.rows.inputs["x"][:, 0]]


def test_reservoir_keeps_every_row_with_the_same_probability() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(30)
    rounds = 2000
    for _ in range(rounds):
        buffer = RehearsalBuffer(6, "reservoir")
        for task in range(3):
            buffer.add(vectors([0] * 10, 10 * task), task, CPU)
        assert len(buffer) == 6 and buffer.seen == 30 and len(set(numbers(buffer))) == 6
        counts[numbers(buffer)] += 1
    # Each row is kept with probability 6/30: mean 400 of 2000, standard deviation sqrt(2000 x 0.16) = 17.9.
    assert (counts - 400).abs().max() < 5 * 17.9
    # A whole task together: 10 rows, 4000 of 12000, with a smaller relative spread.
    assert (counts.view(3, 10).sum(1) - 4000).abs().max() < 250


def test_balanced_buffer_holds_as_many_rows_of_every_class() -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(8, "class-balanced")
    buffer.add(vectors([0] * 9 + [1] * 9), 0, CPU)
    assert buffer.groups.bincount().tolist() == [4, 4]
    buffer.add(vectors([2] * 9 + [3] * 9, 18), 1, CPU)
    assert buffer.groups.bincount().tolist() == [2, 2, 2, 2]
    # A class with one row gives one; the others share the rest.
    scarce = RehearsalBuffer(6, "class-balanced")
    scarce.add(vectors([0] * 9 + [1] + [2] * 9), 0, CPU)
    counts = scarce.groups.bincount().tolist()
    assert counts[1] == 1 and sorted(counts) == [1, 2, 3]


def test_rows_without_a_class_are_balanced_over_tasks() -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(4, "class-balanced")
    for task in range(2):
        buffer.add(TokenRows([[5, 6]] * 6, 0, None, [[7]] * 6), task, CPU)
    assert buffer.groups.bincount().tolist() == [2, 2]


@pytest.mark.parametrize("causal", [False, True])
def test_drawn_rows_are_what_was_stored_without_needless_padding(causal: bool) -> None:
    torch.manual_seed(0)
    prompts, answers = [[5], [5, 6, 7, 8]], [[9, 2], [2]]
    rows = TokenRows(prompts, 0, None, answers, causal)
    buffer = RehearsalBuffer(2, "reservoir")
    buffer.add(rows, 0, CPU)
    assert buffer.rows is not None and buffer.rows.inputs["input_ids"].shape == (2, 5 if causal else 4)
    for _ in range(4):
        drawn = buffer.draw(1)
        ids, mask = drawn.inputs["input_ids"][0], drawn.inputs["attention_mask"][0]
        assert mask.all(), "one row needs no padding"
        assert drawn.targets is not None
        asked = drawn.targets[0][drawn.targets[0] != -100].tolist()
        place = answers.index(asked)
        assert ids.tolist() == prompts[place] + (asked if causal else [])


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("policy", ["reservoir", "class-balanced"])
def test_buffer_survives_a_restart(kind: str, policy: str) -> None:
    made = [tiny.make_method("er-lora", kind, buffer=policy, buffer_size=5) for _ in range(2)]
    method, again = made
    for t in range(2):
        tiny.learn(method, t)
    again.restore({name: value.clone() for name, value in method.state().items()})
    for either in made:
        tiny.learn(either, 2)
    assert pack(again.state()) == pack(method.state())
    assert method.report(2) == {"stored_rows": 5, "of_rows": 36}


def test_a_step_sees_new_and_old_rows_and_all_classes() -> None:
    method: Any = tiny.make_method("er-lora", "encoder", torch.float64, rehearsed=3)
    tiny.learn(method, 0)
    rows, [phase] = tiny.begin(method, 1)
    assert method.objective.current == [0, 1, 2, 3]
    seen = []
    original = method.objective.outputs
    method.objective.outputs = lambda batch: seen.append(batch.labels.tolist()) or original(batch)
    method.loss(rows.batch([0, 1]))
    (labels,) = seen
    assert labels[:2] == [2, 2] and len(labels) == 5 and set(labels[2:]) <= {0, 1}
    # The pair's 8 factors, then weight and bias of both tasks' head rows.
    assert [len(group.parameters) for group in phase.groups] == [8, 4]


def test_rehearsal_forgets_less_than_going_on_without() -> None:
    losses = []
    for key in ("seq-lora", "er-lora"):
        method = tiny.make_method(key, "encoder", learning_rate=0.01, settings={"epochs": 8})
        for t in range(2):
            tiny.learn(method, t)
        logits = tiny.logits(method, 0, "train")
        labels = tiny.whole(tiny.rows(method, 0)).labels
        assert labels is not None
        losses.append(torch.nn.functional.cross_entropy(logits, labels).item())
    assert losses[1] < losses[0]
