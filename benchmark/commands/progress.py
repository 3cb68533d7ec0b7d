"""Shows a run's events: bars on a terminal, one line per finished task anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from benchmark.running.events import Callback, Event, RunDone, RunStarted, StepDone, TaskDone

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def report_progress(total: int, file: TextIO) -> Iterator[Callback]:
    """Give a callback for a sweep of `total` runs that writes to `file` until the block ends."""
    if not file.isatty():
        yield PlainProgress(total, file)
        return
    with TerminalProgress(total, file) as callback:
        yield callback


@contextmanager
def counting(total: int, what: str, file: TextIO) -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is being worked on; it is called before each of `total` pieces of work.

    It draws a bar on a terminal, and writes a line with the time left anywhere else.

    Args:
        what: the pieces together, in a word or two.
    """
    started, begun = time.monotonic(), 0

    def left() -> str:
        done = begun - 1
        return duration((time.monotonic() - started) * (total - done) / done if done else None)

    if not file.isatty():

        def show(name: str) -> None:
            nonlocal begun
            begun += 1
            print(f"{what} {begun} of {total} | {name} | {left()} left", file=file, flush=True)

        yield show
        return
    with _bars(file) as bars:
        bar = bars.add_task(what, total=total, note="")

        def draw(name: str) -> None:
            nonlocal begun
            begun += 1
            bars.update(bar, completed=begun - 1, note=f"{begun}/{total} {name}, {left()} left")

        yield draw


def _bars(file: TextIO) -> Progress:
    """Return bars with a name and a note each, which leave the terminal as it was."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=16)
    note = TextColumn("{task.fields[note]}", markup=False)
    return Progress(*columns, note, console=Console(file=file), transient=True)


QUIET_SECONDS = 60
"""How long a log may say nothing of a task at work."""

FEWEST_DONE = 0.01
"""Of a run: what a first step waits for, as for outputs of frozen blocks, would else count a hundredfold."""

AT_ONCE = 0.05
"""Seconds: a task that took less says nothing of how long others take."""


@dataclass
class Pace:
    """How much of a run is done, and from that how long the rest takes.

    Attributes:
        total: runs that are expected; a search whose grid goes on has more of them.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    fractions: dict[str, float] = field(default_factory=dict)
    resumed: dict[str, float] = field(default_factory=dict)
    done: int = 0
    skipped: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = self.clock()

    def see(self, event: Event) -> None:
        """Take an event into account."""
        name = event.run.identity
        if isinstance(event, StepDone):
            # What an earlier run did took no time in this one.
            self.resumed.setdefault(name, event.fraction if event.task else 0.0)
            self.fractions[name] = event.fraction
        elif isinstance(event, TaskDone):
            share = (event.task + 1) / event.task_count
            began = self.resumed.setdefault(name, event.task / event.task_count)
            before = self.fractions.get(name, began)
            self.fractions[name] = max(before, share)
            if event.seconds < AT_ONCE:
                # A method that learns all tasks at the last one only stores the rows of the others.
                self.resumed[name] += self.fractions[name] - before
        elif isinstance(event, RunDone):
            self.done += 1
            if event.outcome.skipped:
                self.skipped += 1
            else:
                self.fractions[name] = 1.0
        self.total = max(self.total, len(self.fractions) + self.skipped)

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest takes at the pace so far, None before enough of it is known."""
        worked = sum(self.fractions.values()) - sum(self.resumed.values())
        if worked < FEWEST_DONE:
            return None
        left = self.total - self.skipped - sum(self.fractions.values())
        return max(0.0, (self.clock() - self.started) * left / worked)


class PlainProgress:
    """One line per finished task, and one a minute where a task takes longer, for logs and pipes."""

    def __init__(self, total: int, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Write about `total` runs to `file`."""
        self.pace = Pace(total, clock)
        self.file = file
        self.said = clock()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.pace.see(event)
        line = ""
        if isinstance(event, RunStarted):
            line = "\n".join(remark_lines(event))
        elif isinstance(event, TaskDone):
            line = f"{event.run.name} | {task_line(event)} | {duration(self.pace.seconds_left())} left"
        elif isinstance(event, RunDone):
            line = f"{event.run.name} | {verdict(event)} | {self.pace.done} of {self.pace.total} runs"
        elif isinstance(event, StepDone) and self.pace.clock() - self.said >= QUIET_SECONDS:
            done = f"task {event.task + 1}, {100 * event.fraction:.0f} % of the run"
            line = f"{event.run.name} | {done} | {duration(self.pace.seconds_left())} left"
        if line:
            print(line, file=self.file, flush=True)
            self.said = self.pace.clock()


class TerminalProgress:
    """One bar for the sweep and one for each run at work."""

    def __init__(self, total: int, file: TextIO) -> None:
        """Draw `total` runs on the terminal behind `file`."""
        self.pace = Pace(total)
        self.progress = _bars(file)
        self.run = self.progress.add_task("runs", total=total, note=f"0/{total}")
        self.bars: dict[str, TaskID] = {}

    def __enter__(self) -> TerminalProgress:
        """Start drawing."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.pace.see(event)
        if not isinstance(event, RunDone):
            self._draw(event)
        elif event.run.identity in self.bars:
            self.progress.remove_task(self.bars.pop(event.run.identity))
        if isinstance(event, RunDone) and event.outcome.error:
            self.progress.console.print(f"{event.run.name} | {verdict(event)}", markup=False, highlight=False)
        self._draw_run()

    def _draw(self, event: RunStarted | StepDone | TaskDone) -> None:
        """Move the bar of a run at work; between tasks its note shows the last score."""
        name = event.run.identity
        if name not in self.bars:
            self.bars[name] = self.progress.add_task(event.run.name, total=1.0, note="")
        bar = self.bars[name]
        self.progress.update(bar, completed=self.pace.fractions.get(name, 0.0))
        if isinstance(event, RunStarted):
            for line in remark_lines(event):
                self.progress.console.print(line, markup=False, highlight=False)
            self.progress.update(bar, note=f"{event.task_count} tasks")
        elif isinstance(event, TaskDone):
            # Short enough for bar and note to fit in 80 columns.
            counts = f"{event.task + 1}/{event.task_count}"
            note = f"{counts} score {number(event.score)} mean {number(event.mean)}"
            self.progress.update(bar, note=note)

    def _draw_run(self) -> None:
        """Move the bar of the whole run."""
        note = f"{self.pace.done}/{self.pace.total}, {duration(self.pace.seconds_left())} left"
        finished = sum(self.pace.fractions.values()) + self.pace.skipped
        self.progress.update(self.run, total=self.pace.total, completed=finished, note=note)


def remark_lines(event: RunStarted) -> list[str]:
    """Return what is to be known of a run before it is learned, one line each."""
    return [f"{event.run.name} | note: {remark}" for remark in event.remarks]


def task_line(event: TaskDone) -> str:
    """Return the note of a finished task."""
    return (
        f"task {event.task + 1}/{event.task_count} {event.name} | score {number(event.score)} "
        f"| mean {number(event.mean)} | {event.seconds:.1f} s"
    )


def verdict(event: RunDone) -> str:
    """Return how a run ended."""
    if event.outcome.elsewhere:
        return "running elsewhere"
    if event.outcome.error:
        return f"failed: {event.outcome.error}"
    if event.outcome.stopped:
        return "ended early"
    if event.outcome.note:
        return f"already complete, skipped, but {event.outcome.note} (--fresh runs it again)"
    return "already complete, skipped" if event.outcome.skipped else "complete"


def number(score: float | None) -> str:
    """Return a score with three digits, or a dash where there is none."""
    return "-" if score is None else f"{score:.3f}"


def duration(seconds: float | None) -> str:
    """Return a span of time in its two largest units."""
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
