"""How a method learns one task: begin, train each phase, end. The only place where this sequence stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import length_hint

from torch import nn

from benchmark.data.batches import JoinedRows, Rows
from benchmark.method import Method, Phase
from benchmark.protocol import Protocol
from benchmark.running.checkpoint import reseed
from benchmark.running.training import train

Encode = Callable[[int], Rows]
"""From a task's index to its training rows, encoded for the backbone."""

TrainPhase = Callable[[Method, Phase, Rows, tuple[object, ...], Callable[[float], None]], int]
"""Trains one phase and returns its optimiser steps, as `benchmark.running.training.train` does."""


@dataclass(frozen=True)
class LearnedTask:
    """What learning one task took.

    Attributes:
        steps: of optimisers.
        rows_seen: rows times epochs, over the phases that the method asked for.
        trainable: numbers under an optimiser at any time of the task, the head's not among them.
        head_trainable: the same for the head.
    """

    steps: int = 0
    rows_seen: int = 0
    trainable: int = 0
    head_trainable: int = 0


def learn_task(
    method: Method,
    t: int,
    encode: Encode,
    seed: int,
    train_phase: TrainPhase = train,
    report: Callable[[float], None] = lambda share: None,
) -> LearnedTask:
    """Have a method learn task t. A task for which it asks no training data is passed over.

    Args:
        encode: gives the training rows of each task that the method asks for.
        seed: of the run; each segment is seeded by it, the task and the segment's name.
        train_phase: takes the place of `train`, for whoever watches what a phase does.
        report: gets the finished share of the task, 0 to 1, after each step. Of a method that decides its
            phases as it goes, the share may fall back when another phase is added.
    """
    if not method.training_tasks(t):
        return LearnedTask()
    rows, phases = begin_task(method, t, encode, seed)
    head = method.task_model.head_parameters()
    # The parameters themselves and not their ids: one that is freed leaves its id to the next one made.
    trained: dict[nn.Parameter, int] = {}
    steps, seen = 0, 0
    for number, asked in enumerate(phases):
        used = rows if asked.rows is None else asked.rows
        phase = lengthen(asked, method.protocol, len(used))
        # How many a generator will give is not known before.
        count = length_hint(phases, number + 1)

        def step_done(share: float, number: int = number, count: int = count) -> None:
            report((number + share) / count)

        steps += train_phase(method, phase, used, (seed, t, phase.name), step_done)
        seen += phase.epochs * len(used)
        trained |= _sizes(phase)
    reseed(seed, t, "end")
    method.end_task(t, rows)
    if method.classifier is not None:
        method.classifier.end_task(rows)
    given = t if method.needs.task_id else None
    method.task_model.end_task(rows, lambda batch: method.predict(batch, given))
    aligning = method.task_model.alignment()
    if aligning is not None:
        phase, features = aligning
        steps += train_phase(method, phase, features, (seed, t, phase.name), lambda share: None)
        aligned = _sizes(phase)
        trained |= aligned
        head = [*head, *aligned]
    in_head = sum(trained.pop(parameter, 0) for parameter in head)
    return LearnedTask(steps, seen, sum(trained.values()), in_head)


def lengthen(phase: Phase, protocol: Protocol, rows: int) -> Phase:
    """Return a phase that decides about adapters with the steps that its protocol wants for it."""
    if not phase.decides or protocol.selection_steps is None:
        return phase
    size = min(phase.batch_size, protocol.batch_size)
    passes = math.ceil(protocol.selection_steps / math.ceil(rows / size))
    return replace(phase, batch_size=size, epochs=max(phase.epochs, passes))


def begin_task(method: Method, t: int, encode: Encode, seed: int) -> tuple[Rows, Iterable[Phase]]:
    """Begin task t and return its training rows and its phases, none of which has been trained.

    Args:
        encode, seed: as in `learn_task`.
    """
    used = list(method.training_tasks(t))
    parts = [encode(task) for task in used]
    rows = parts[0] if len(parts) == 1 else JoinedRows(parts)
    reseed(seed, t, "begin")
    method.task_model.begin_task(used)
    method.begin_task(t, rows)
    if method.classifier is not None:
        method.classifier.begin_task()
    return rows, method.phases(t)


def _sizes(phase: Phase) -> dict[nn.Parameter, int]:
    return {parameter: parameter.numel() for parameter in phase.parameters}
