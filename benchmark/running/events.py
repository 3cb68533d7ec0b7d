"""What a run reports about its progress; whoever shows it takes one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.running.job import Outcome
    from benchmark.running.run import Run


@dataclass(frozen=True)
class RunStarted:
    """A run began, or goes on where it was stopped.

    Attributes:
        remarks: what makes its scores mean less than they seem to, one line each.
    """

    run: Run
    task_count: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepDone:
    """Some optimiser steps of a run were taken.

    Attributes:
        task: index of the task being learned, from 0.
        fraction: share of the whole run that is finished, 0 to 1.
    """

    run: Run
    task: int
    fraction: float


@dataclass(frozen=True)
class TaskDone:
    """A task was learned and scored.

    Attributes:
        task: its index, from 0.
        score: the score on this task right after learning it, None where nothing was measured.
        mean: the mean score over the tasks learned so far.
        seconds: what the task took, training and scoring.
    """

    run: Run
    task: int
    task_count: int
    name: str
    score: float | None
    mean: float | None
    seconds: float


@dataclass(frozen=True)
class RunDone:
    """A run is over: complete, skipped because it already was, or failed."""

    run: Run
    outcome: Outcome


Event = RunStarted | StepDone | TaskDone | RunDone
Callback = Callable[[Event], None]
