"""What a run may not do to those beside it: hang for ever, or take its worker down again and again."""

from __future__ import annotations

import faulthandler
import importlib
from pathlib import Path

from benchmark.running.job import Job, Outcome
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import run_job, stop_asked

LOST_LIMIT = 3
"""A run whose worker dies this often before it finishes a task is a failure: it may be what kills them."""


def run_limited(job: Job) -> Outcome:
    """Run a job in this process and end the whole process if it takes longer than its limit.

    The interpreter's own watchdog does it, which also ends what hangs outside Python. Where it was then, or
    where it was when something outside Python broke, is left in a file that `resolve_lost` reads. What a new
    worker imports is not of the run and does not count: beside others it can take a minute.
    """
    with open(_trace(job), "w", encoding="utf-8") as trace:
        faulthandler.enable(trace)
        if job.conditions.timeout is not None:
            importlib.import_module("benchmark.running.learner")
            faulthandler.dump_traceback_later(job.conditions.timeout, exit=True, file=trace)
        try:
            return run_job(job, lambda event: None)  # it is in the log
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
            Path(trace.name).unlink()


def resolve_lost(job: Job, losses: int, reason: str) -> Outcome | None:
    """Return what came of a job whose process died; None: it shall run again, from its last task.

    Args:
        losses: how often that happened since it last finished a task in this sweep.
        reason: what is known of the death.
    """
    trace, error = _trace(job), None
    if trace.exists():
        trace_lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
        trace.unlink()
        # Empty where the process was killed within the limit.
        if trace_lines and trace_lines[0].startswith("Timeout"):
            error = f"took longer than --timeout {job.conditions.timeout:g} seconds{_innermost(trace_lines)}"
        elif trace_lines:
            reason = f"{trace_lines[0]}{_innermost(trace_lines)}"
    if error is None and losses >= LOST_LIMIT:
        error = f"the worker was lost {losses} times: {reason}"
    if error is None:
        return Outcome(job.run, stopped=True) if stop_asked(job) else None
    SweepFolder(job.out).note_failure(job.run, error)
    return Outcome(job.run, error=error)


def _trace(job: Job) -> Path:
    # Of this sweep alone: another one may hold the run and be watched itself.
    path = SweepFolder(job.out).file("traces", job.run).with_suffix(f".{job.sweep}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _innermost(lines: list[str]) -> str:
    """Return where the thread was that broke, or else the main thread, which is dumped last."""
    heads = [number for number, line in enumerate(lines) if line.endswith("(most recent call first):")]
    broken = [number for number in heads if lines[number].startswith("Current thread")]
    place = (broken or heads or [len(lines)])[-1] + 1
    return f", in {lines[place].strip().removeprefix('File ')}" if place < len(lines) else ""
