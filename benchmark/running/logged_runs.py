"""What every logger of an outside package does alike: one run of its own for each of ours, a point a task."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmark.guard import one_line, print_stderr
from benchmark.running.events import Event, RunDone, TaskDone
from benchmark.running.run import Run

PROJECT = "continual-peft-bench"
"""The name under which packages that sort runs into projects find ours."""


LoggedRun = tuple[Callable[[Mapping[str, float], int], object], Callable[[bool], object]]
"""A run of an outside package: what takes the numbers of a task, counted from 1; and what closes the run,
given whether ours is complete."""


class LoggedRuns:
    """A callback that opens a package's run when our run's first task is over, and closes it with ours.

    What another process goes on with, or was complete before, is opened only if it learns.
    """

    def __init__(self, name: str, open_run: Callable[[Run], LoggedRun]) -> None:
        """Keep what opens a run; `name` is the logger's, for messages."""
        self.name, self.open_run = name, open_run
        self.runs: dict[str, LoggedRun] = {}
        self.broken = False

    def __call__(self, event: Event) -> None:
        """Take one event. A package that fails is reported once and left out: it never stops a run."""
        if self.broken:
            return
        try:
            # What a package prints must not get into data on standard output.
            with contextlib.redirect_stdout(sys.stderr):
                self._take(event)
        except Exception as error:
            self.broken = True
            print_stderr(f"--log {self.name} failed, nothing more is sent to it: {one_line(error)}")

    def _take(self, event: Event) -> None:
        name = event.run.identity
        if isinstance(event, TaskDone):
            if name not in self.runs:
                self.runs[name] = self.open_run(event.run)
            values = {"score": event.score, "mean": event.mean, "seconds": event.seconds}
            known = {key: value for key, value in values.items() if value is not None}
            log, _ = self.runs[name]
            log(known, event.task + 1)
        elif isinstance(event, RunDone) and name in self.runs:
            _, finish = self.runs.pop(name)
            finish(event.outcome.state == "complete")


def facts(run: Run) -> dict[str, Any]:
    """Return a run's names and settings, flat; nothing of the machine and nothing of the environment."""
    flat: dict[str, Any] = {
        name: getattr(run, name) for name in ("method", "stream", "order", "seed", "backbone")
    }
    for block, values in run.config().items():
        inner = values.items() if isinstance(values, Mapping) else [(None, values)]
        flat |= {block if name is None else f"{block}.{name}": value for name, value in inner}
    return flat
