"""What is said of a run whose process died: its time was up, it broke something, or it is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.running import losses
from benchmark.running.job import Conditions, Job
from benchmark.running.plan import plan
from benchmark.running.sweep_folder import SweepFolder

DUMPED = 'Thread 0x7f (most recent call first):\n  File "/code/steps.py", line 7 in step\n'


def job(folder: Path) -> Job:
    (run,) = plan("frozen", "toy")
    return Job(run, folder, None, "cpu", False, Conditions(timeout=2.5))


def leave_trace(one: Job, text: str) -> Path:
    path = SweepFolder(one.out).file("traces", one.run).with_suffix(f".{one.sweep}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_that_its_limit_ended_failed_and_its_trace_counts_once(tmp_path: Path) -> None:
    one = job(tmp_path)
    trace = leave_trace(one, f"Timeout (0:00:02.500000)!\n{DUMPED}")
    outcome = losses.resolve_lost(one, 1, "exit code 1")
    assert outcome is not None and outcome.state == "failed"
    assert outcome.error == 'took longer than --timeout 2.5 seconds, in "/code/steps.py", line 7 in step'
    # Left behind, it would be said of the next process that dies before it has written one of its own.
    assert not trace.exists()
    assert losses.resolve_lost(one, 1, "exit code 1") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "exit code -9"),  # killed within the limit: nothing was written
        (
            f"Fatal Python error: Segmentation fault\n\n{DUMPED}",
            "Fatal Python error: Segmentation fault, in ",
        ),
    ],
)
def test_a_process_that_dies_is_started_anew_until_it_was_lost_three_times(
    tmp_path: Path, text: str, reason: str
) -> None:
    one = job(tmp_path)
    for count in (1, 2):
        leave_trace(one, text)
        assert losses.resolve_lost(one, count, "exit code -9") is None
    leave_trace(one, text)
    outcome = losses.resolve_lost(one, 3, "exit code -9")
    assert outcome is not None and outcome.error is not None
    assert outcome.error.startswith(f"the worker was lost 3 times: {reason}")
