"""Where cells run: in this process, or side by side as Ray tasks. Both yield outcomes as they come."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.cell import Cell
from benchmark.errors import UserError
from benchmark.events import CellStarted, Event, StepDone, TaskDone, Watch
from benchmark.runner import Job, Outcome, Outcomes, run_job

EVENTS: dict[str, Any] = {kind.__name__: kind for kind in (CellStarted, StepDone, TaskDone)}
POLL_SECONDS = 0.5
STORE_BYTES = 100 * 1024**2


def in_process(jobs: list[Job], watch: Watch) -> Outcomes:
    """Run one job after another here."""
    for index, job in enumerate(jobs):
        yield index, run_job(job, watch)


def on_ray(workers: int) -> Callable[[list[Job], Watch], Outcomes]:
    """Return an executor over `workers` local Ray workers of one CPU each.

    Raises:
        UserError: Ray is not installed.
    """
    # Read when Ray is imported: no usage statistics, and no colours in captured logs.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError(
            "--workers above 1 needs Ray: pip install 'continual-peft-bench[ray]', or use --workers 1"
        ) from None

    def execute(jobs: list[Job], watch: Watch) -> Outcomes:
        # Its notices would run through the progress lines; errors still come.
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=STORE_BYTES,
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                yield from _collect(ray, jobs, Path(folder), watch)
        finally:
            ray.shutdown()

    return execute


def _collect(ray: Any, jobs: list[Job], folder: Path, watch: Watch) -> Outcomes:
    remote = ray.remote(num_cpus=1, max_retries=0)(_remote_job)
    pending = {remote.remote(job, folder / f"{i}.jsonl"): i for i, job in enumerate(jobs)}
    logs = {i: _Tail(folder / f"{i}.jsonl", job.cell) for i, job in enumerate(jobs)}
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
        for index in pending.values():
            for event in logs[index].events():
                watch(event)
        for reference in done:
            index = pending.pop(reference)
            try:
                yield index, ray.get(reference)
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[0]
                yield index, Outcome(jobs[index].cell, error=f"the worker was lost: {reason}")


def _remote_job(job: Job, log: Path) -> Outcome:
    last = 0.0

    def watch(event: Event) -> None:
        nonlocal last
        if isinstance(event, StepDone) and time.monotonic() - last < POLL_SECONDS:
            return
        last = time.monotonic()
        fields = {name: value for name, value in asdict(event).items() if name not in ("cell", "outcome")}
        with open(log, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"kind": type(event).__name__, **fields}) + "\n")

    return run_job(job, watch)


class _Tail:
    """Reads the events that a worker has appended since the last look."""

    def __init__(self, path: Path, cell: Cell) -> None:
        self.path, self.cell, self.position = path, cell, 0

    def events(self) -> list[Event]:
        if not self.path.exists():
            return []
        with open(self.path, encoding="utf-8") as handle:
            handle.seek(self.position)
            text = handle.read()
        whole = text[: text.rfind("\n") + 1]
        self.position += len(whole.encode())
        rows = [json.loads(line) for line in whole.splitlines()]
        return [EVENTS[row.pop("kind")](cell=self.cell, **row) for row in rows]
