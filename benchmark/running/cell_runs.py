"""What every logger of an outside package does alike: one run of it for each cell, a point for each task."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from benchmark.guard import one_line, tell
from benchmark.running.cell import Cell
from benchmark.running.events import CellDone, Event, TaskDone

PROJECT = "continual-peft-bench"
"""The name under which packages that sort runs into projects find ours."""


class Run(Protocol):
    """A run of an outside package."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the numbers of a task; `step` counts tasks from 1."""

    def finish(self, complete: bool) -> None:
        """Close the run; `complete` tells whether the cell is."""


class CellRuns:
    """A watcher that opens a run when a cell's first task is over and closes it with the cell.

    A cell that another run of it goes on with, or that was complete before, is opened only if it learns.
    """

    def __init__(self, name: str, open_run: Callable[[Cell], Run]) -> None:
        """Keep what opens a run; `name` is the logger's, for messages."""
        self.name, self.open_run = name, open_run
        self.runs: dict[str, Run] = {}
        self.broken = False

    def __call__(self, event: Event) -> None:
        """Take one event. A package that fails is told of once and left out: it never stops a cell."""
        if self.broken:
            return
        try:
            # What a package prints must not get into data on standard output.
            with contextlib.redirect_stdout(sys.stderr):
                self._take(event)
        except Exception as error:
            self.broken = True
            tell(f"--log {self.name} failed, nothing more is sent to it: {one_line(error)}")

    def _take(self, event: Event) -> None:
        name = event.cell.identity
        if isinstance(event, TaskDone):
            if name not in self.runs:
                self.runs[name] = self.open_run(event.cell)
            values = {"score": event.score, "mean": event.mean, "seconds": event.seconds}
            known = {key: value for key, value in values.items() if value is not None}
            self.runs[name].log(known, event.task + 1)
        elif isinstance(event, CellDone) and name in self.runs:
            self.runs.pop(name).finish(event.outcome.state == "complete")


def facts(cell: Cell) -> dict[str, Any]:
    """Return a cell's names and settings, flat; nothing of the machine and nothing of the environment."""
    flat: dict[str, Any] = {
        name: getattr(cell, name) for name in ("method", "stream", "order", "seed", "backbone")
    }
    for block, values in cell.config().items():
        inner = values.items() if isinstance(values, Mapping) else [(None, values)]
        flat |= {block if name is None else f"{block}.{name}": value for name, value in inner}
    return flat
