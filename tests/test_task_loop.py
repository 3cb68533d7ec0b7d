"""The one task loop: in which order a method is asked, and what is counted of a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.method import Context, Hyperparameters, Method, ParameterGroup, Phase
from benchmark.models.make import make_task_model
from benchmark.running.task_loop import LearnedTask, learn_task
from tests import tiny

ROWS, BATCH = 8, 4


class Fleeting(Method):
    """Trains `pieces` vectors of four numbers one after another; each is gone before the next is made."""

    pieces = 2

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.calls: list[str] = []

    def begin_task(self, t: int, rows: Any) -> None:
        self.calls.append(f"begin {t}, {len(rows)} rows")

    def phases(self, t: int) -> Iterator[Phase]:
        for piece in range(self.pieces):
            yield self.phase(f"piece {piece}", nn.Parameter(torch.ones(4)))

    def phase(self, name: str, vector: nn.Parameter) -> Phase:
        def loss(batch: Any) -> Tensor:
            self.calls.append(name)
            return vector.square().sum()

        return Phase(name, [ParameterGroup([vector], 0.1)], loss, epochs=1, batch_size=BATCH)

    def end_task(self, t: int, rows: Any) -> None:
        self.calls.append(f"end {t}")


def made(kind: type[Fleeting] = Fleeting) -> Fleeting:
    stream, protocol = tiny.tasks("vector", 2, rows=ROWS // 2), tiny.protocol("vector")
    task_model = make_task_model(tiny.backbone("vector"), stream, protocol)
    return kind(Context(task_model, protocol, len(stream)), Hyperparameters())


def learned(method: Method, t: int, **more: Any) -> LearnedTask:
    return learn_task(method, t, lambda task: tiny.rows(method, task), seed=0, **more)


def test_a_task_is_begun_trained_phase_by_phase_and_ended() -> None:
    method = made()
    # Two phases of one epoch over 8 rows in batches of 4: two steps each.
    learned(method, 1)
    assert method.calls == ["begin 1, 8 rows", *["piece 0"] * 2, *["piece 1"] * 2, "end 1"]


def test_steps_rows_and_numbers_are_counted() -> None:
    # 2 phases x 2 steps; 2 phases x 1 epoch x 8 rows; 2 vectors of 4 numbers, none of them the head's.
    assert learned(made(), 0) == LearnedTask(steps=4, rows_seen=16, trainable=8, head_trainable=0)


def test_parameters_that_are_gone_stay_counted() -> None:
    """A freed parameter leaves its id, and its memory, to the next one made: 50 vectors, 200 numbers."""

    class Many(Fleeting):
        pieces = 50

    assert learned(made(Many), 0).trainable == 200


def test_the_head_is_counted_apart() -> None:
    class WithHead(Fleeting):
        def phases(self, t: int) -> Iterator[Phase]:
            vector, head = nn.Parameter(torch.ones(4)), self.task_model.head_parameters()
            for name in ("first", "second"):  # what is trained twice is counted once
                phase = self.phase(name, vector)
                phase.groups.append(ParameterGroup(head, 0.1))
                yield phase

    # Two classes over the 16 features of the backbone: 2 x 16 weights and 2 biases.
    counted = learned(made(WithHead), 0)
    assert (counted.trainable, counted.head_trainable) == (4, 34)


def test_the_finished_share_of_a_task_is_reported() -> None:
    class Listed(Fleeting):
        def phases(self, t: int) -> Any:
            return list(super().phases(t))

    shares: list[float] = []
    learned(made(Listed), 0, report=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    shares.clear()
    # Of a generator nobody knows what follows: each phase ends the task, until there is another one.
    learned(made(), 0, report=shares.append)
    assert shares == [0.5, 1.0, 0.75, 1.0]


def test_a_task_without_training_data_is_passed_over() -> None:
    class Idle(Fleeting):
        def training_tasks(self, t: int) -> tuple[int, ...]:
            return ()

    method = made(Idle)
    assert learned(method, 0) == LearnedTask() and method.calls == []


def test_rows_of_several_tasks_are_joined() -> None:
    class Joint(Fleeting):
        def training_tasks(self, t: int) -> tuple[int, ...]:
            return (0, 1)

    method = made(Joint)
    learned(method, 1)
    assert method.calls[0] == "begin 1, 16 rows"


def test_another_may_train_a_phase() -> None:
    seen: list[tuple[Any, ...]] = []

    def train_phase(method: Method, phase: Phase, rows: Any, place: Any, step_done: Any) -> int:
        seen.append((phase.name, place))
        return 7

    assert learned(made(), 1, train_phase=train_phase).steps == 14
    assert seen == [("piece 0", (0, 1, "piece 0")), ("piece 1", (0, 1, "piece 1"))]
