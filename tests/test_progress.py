"""Progress: what is shown of a run, and how the time left is estimated."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from benchmark.commands.progress import (
    Pace,
    PlainProgress,
    TerminalProgress,
    counting,
    duration,
    report_progress,
)
from benchmark.protocol import Protocol
from benchmark.running.events import Event, RunDone, RunStarted, StepDone, TaskDone
from benchmark.running.job import Outcome
from benchmark.running.run import Run


def run(seed: int) -> Run:
    """Return a run that is told apart by its seed."""
    return Run("alpha", "orchard", "1", seed, "tree", Protocol(name="smoke", source="test", backbone="tree"))


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pace(total: int, *events: Event, seconds: float) -> float | None:
    """Return the estimate after some events that took `seconds`."""
    clock = Clock()
    measured = Pace(total, clock)
    clock.now = seconds
    for event in events:
        measured.see(event)
    return measured.seconds_left()


def test_nothing_done_gives_no_estimate() -> None:
    assert pace(2, RunStarted(run(0), 4), seconds=5) is None


def test_the_rest_takes_as_long_as_the_done_part() -> None:
    assert pace(2, StepDone(run(0), 0, 0.125), StepDone(run(0), 1, 0.5), seconds=10) == 30
    assert pace(1, TaskDone(run(0), 0, 4, "a", 0.5, 0.5, 1.0), seconds=10) == 30
    assert pace(2, RunDone(run(0), Outcome(run(0))), seconds=10) == 10


def test_skipped_runs_say_nothing_about_the_pace() -> None:
    skipped = RunDone(run(0), Outcome(run(0), skipped=True))
    assert pace(3, skipped, StepDone(run(1), 0, 0.5), seconds=10) == 30


def test_what_an_earlier_run_did_says_nothing_about_the_pace() -> None:
    resumed = [StepDone(run(0), 2, 0.5), StepDone(run(0), 3, 0.75)]
    assert pace(1, *resumed, seconds=10) == 10


def test_tasks_whose_rows_were_only_stored_say_nothing_about_the_pace() -> None:
    stored = [TaskDone(run(0), task, 4, "a", None, None, 0.0) for task in range(3)]
    assert pace(1, *stored, seconds=10) is None
    # A fifth of the last task, the one that is learned, in 10 s: four fifths are left.
    assert pace(1, *stored, StepDone(run(0), 3, 0.75 + 0.25 / 5), seconds=10) == pytest.approx(40)


def test_runs_that_differ_in_a_setting_alone_are_told_apart() -> None:
    one, other = (replace(run(0), hyperparameters={"learning_rate": rate}) for rate in (0.1, 0.2))
    # One and a half of three runs in 10 s: as much again is left.
    events = [RunDone(one, Outcome(one)), StepDone(other, 0, 0.5)]
    assert one.name == other.name
    assert pace(3, *events, seconds=10) == 10


def test_a_search_that_goes_on_beyond_its_grid_counts_the_added_run() -> None:
    # One of one run took 10 s; half of one that nobody announced is done in 5 s more.
    assert pace(1, RunDone(run(0), Outcome(run(0))), StepDone(run(1), 0, 0.5), seconds=15) == 5


def test_plain_text_has_one_line_for_each_task_and_run() -> None:
    file = io.StringIO()
    with report_progress(2, file) as callback:
        callback(RunStarted(run(0), 2))
        callback(StepDone(run(0), 0, 0.25))
        callback(TaskDone(run(0), 0, 2, "apples", 0.875, 0.9, 12.34))
        callback(RunDone(run(0), Outcome(run(0))))
        callback(RunDone(run(1), Outcome(run(1), error="no room")))
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        "alpha on orchard, order 1, seed 0 | task 1/2 apples | score 0.875 | mean 0.900 | 12.3 s | "
    )
    assert lines[1] == "alpha on orchard, order 1, seed 0 | complete | 1 of 2 runs"
    assert lines[2] == "alpha on orchard, order 1, seed 1 | failed: no room | 2 of 2 runs"


def test_plain_text_has_a_line_a_minute_of_a_long_task() -> None:
    file, clock = io.StringIO(), Clock()
    callback = PlainProgress(1, file, clock)
    for second in range(0, 150, 10):
        clock.now = second
        callback(StepDone(run(0), 0, second / 600))
    # Silent for its first minute, then once in 60 s; a tenth of 600 s is done after 60.
    assert file.getvalue().splitlines() == [
        "alpha on orchard, order 1, seed 0 | task 1, 10 % of the run | 9 min 0 s left",
        "alpha on orchard, order 1, seed 0 | task 1, 20 % of the run | 8 min 0 s left",
    ]


def test_a_terminal_shows_bars_and_forgets_finished_runs() -> None:
    file = io.StringIO()
    with TerminalProgress(2, file) as callback:
        callback(RunStarted(run(0), 2))
        callback(TaskDone(run(0), 0, 2, "apples", None, None, 1.0))
        assert [task.completed for task in callback.progress.tasks] == [0.5, 0.5]
        assert callback.progress.tasks[1].fields["note"] == "1/2 score - mean -"
        callback(RunDone(run(0), Outcome(run(0), error="no [room]")))
        assert [task.completed for task in callback.progress.tasks] == [1.0]
    assert "failed: no [room]" in file.getvalue()


def test_durations() -> None:
    assert [duration(value) for value in (None, 4.4, 64, 3720)] == [
        "unknown time",
        "4 s",
        "1 min 4 s",
        "1 h 2 min",
    ]


def test_counting_draws_a_bar_on_a_terminal_and_leaves_nothing_behind() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    with counting(2, "trial", shown) as tell:
        tell("one")
        tell("two")
    # The last thing drawn is wiped, as of every bar here.
    drawn, wiped, rest = shown.getvalue().rpartition("\x1b[2K")
    assert "2/2 two" in drawn and wiped and "two" not in rest
