"""The rehearsal buffer and the method that uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark.data.batches import TokenRows, VectorRows
from benchmark.running.checkpoint import pack
from methods.pieces.rehearsal_buffer import RehearsalBuffer
from tests import tiny


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
            buffer.add(vectors([0] * 10, 10 * task), task)
        assert len(buffer) == 6 and buffer.seen == 30 and len(set(numbers(buffer))) == 6
        counts[numbers(buffer)] += 1
    # Each row is kept with probability 6/30: mean 400 of 2000, standard deviation sqrt(2000 x 0.16) = 17.9.
    assert (counts - 400).abs().max() < 5 * 17.9
    # A whole task together: 10 rows, 4000 of 12000, with a smaller relative spread.
    assert (counts.view(3, 10).sum(1) - 4000).abs().max() < 250


def test_balanced_buffer_holds_as_many_rows_of_every_class() -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(8, "class-balanced")
    buffer.add(vectors([0] * 9 + [1] * 9), 0)
    assert buffer.groups.bincount().tolist() == [4, 4]
    buffer.add(vectors([2] * 9 + [3] * 9, 18), 1)
    assert buffer.groups.bincount().tolist() == [2, 2, 2, 2]
    # A class with one row gives one; the others share the rest.
    scarce = RehearsalBuffer(6, "class-balanced")
    scarce.add(vectors([0] * 9 + [1] + [2] * 9), 0)
    counts = scarce.groups.bincount().tolist()
    assert counts[1] == 1 and sorted(counts) == [1, 2, 3]


def test_rows_without_a_class_are_balanced_over_tasks() -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(4, "class-balanced")
    for task in range(2):
        buffer.add(TokenRows([[5, 6]] * 6, 0, None, [[7]] * 6), task)
    assert buffer.groups.bincount().tolist() == [2, 2]


@pytest.mark.parametrize("causal", [False, True])
def test_drawn_rows_are_what_was_stored_without_needless_padding(causal: bool) -> None:
    torch.manual_seed(0)
    prompts, answers = [[5], [5, 6, 7, 8]], [[9, 2], [2]]
    rows = TokenRows(prompts, 0, None, answers, causal)
    buffer = RehearsalBuffer(2, "reservoir")
    buffer.add(rows, 0)
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
    reported = method.report(2)
    assert (reported["stored_rows"], reported["of_rows"]) == (5, 36)
    held = [x for name, x in method.state().items() if name.startswith("buffer.")]
    assert reported["buffer_bytes"] == method.accounting().auxiliary_bytes == sum(x.nbytes for x in held)


@pytest.mark.parametrize("pixels", ["backbone", "unit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_stored_as_bytes_and_come_back_exactly(pixels: str, dtype: torch.dtype) -> None:
    method: Any = tiny.make_method("er-lora", "image", dtype, settings={"pixels": pixels})
    rows = tiny.rows(method, 0)
    method.end_task(0, rows)
    stored = method.buffer.rows.inputs["pixel_values"]
    # 12 rows of 3 x 16 x 16 pixels, a byte each.
    assert stored.dtype == torch.uint8 and stored.nbytes == 12 * 768
    drawn, given = method.buffer.draw(12), tiny.whole(rows)
    assert drawn.inputs["pixel_values"].dtype == dtype
    sort = lambda batch: sorted(x.flatten().tolist() for x in batch.inputs["pixel_values"])  # noqa: E731
    assert sort(drawn) == sort(given)


def test_stored_images_are_augmented_anew_whenever_they_are_drawn() -> None:
    method: Any = tiny.make_method("er-lora", "image", settings={"augmentation": "crop-flip"})
    rows = tiny.rows(method, 0)
    method.end_task(0, rows)
    means = lambda batch: sorted(batch.inputs["pixel_values"].mean((1, 2, 3)).tolist())  # noqa: E731
    first, second = (means(method.buffer.draw(12)) for _ in range(2))
    assert first != second
    method.buffer.pixels = replace(method.buffer.pixels, augmentation="none")
    assert means(method.buffer.draw(12)) == means(tiny.whole(rows)), "what is stored is not augmented"


def test_padding_goes_with_the_row_that_needed_it() -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(1, "reservoir")
    buffer.add(TokenRows([[5] * 9], 0, torch.tensor([0])), 0)
    assert buffer.rows is not None and buffer.rows.inputs["input_ids"].shape == (1, 9)
    while buffer.groups.tolist() == [0]:
        buffer.add(TokenRows([[6, 7]], 0, torch.tensor([1])), 1)
    assert buffer.rows.inputs["input_ids"].tolist() == [[6, 7]]


@pytest.mark.parametrize("policy", ["reservoir", "class-balanced"])
def test_a_stored_row_keeps_its_own_label(policy: Any) -> None:
    torch.manual_seed(0)
    buffer = RehearsalBuffer(7, policy)
    for task in range(3):
        # A row's value is 10 x its class plus its place.
        values = torch.tensor([[10.0 * task + place] for place in range(9)])
        buffer.add(VectorRows(values, torch.full((9,), task)), task)
        assert buffer.rows is not None and buffer.rows.labels is not None
        assert [value // 10 for value in numbers(buffer)] == buffer.rows.labels.tolist()
        assert buffer.groups.tolist() == buffer.rows.labels.tolist()
        assert len(set(numbers(buffer))) == len(buffer) == 7


def test_a_step_sees_new_and_old_rows_and_all_classes() -> None:
    method: Any = tiny.make_method("er-lora", "encoder", torch.float64, rehearsed=3)
    tiny.learn(method, 0)
    rows, [phase] = tiny.begin(method, 1)
    assert method.task_model.current == [0, 1, 2, 3]
    seen = []
    original = method.task_model.outputs
    method.task_model.outputs = lambda batch: seen.append(batch.labels.tolist()) or original(batch)
    method.loss(rows.batch([0, 1]))
    (labels,) = seen
    assert labels[:2] == [2, 2] and len(labels) == 5 and set(labels[2:]) <= {0, 1}
    # The adapter's 8 factors, then weight and bias of both tasks' head rows.
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
