"""Measures what the process that drives a sweep keeps of its runs; Linux only.

    python -m scripts.profiling.driver_memory --method frozen --stream toy --runs 500 --workers 2

Runs differ in their seed, as by `bench run`. A driver that executes them itself (one worker) also
shows what learning leaves behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import psutil
import typer

from benchmark.running.events import Event, RunDone
from benchmark.running.plan import plan
from scripts.profiling.script import Methods, Settings, StreamKey, run_all, show, start

MEBIBYTE = 1024**2
ROWS = 10


class OwnMemory:
    """A callback that notes this process's own memory, in bytes, whenever a run is over."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.bytes: list[int] = []

    def __call__(self, event: Event) -> None:
        """Note it."""
        if isinstance(event, RunDone):
            self.bytes.append(psutil.Process().memory_full_info().uss)


def main(
    method: Methods,
    stream: StreamKey,
    runs: Annotated[int, typer.Option(min=ROWS, help="How many runs.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    settings: Settings = None,
    data_dir: Path | None = None,
) -> None:
    """Print the driver's own memory as the runs pass, and what it grew by since the first row."""
    callback = OwnMemory()
    planned = plan(method, stream, seeds=f"0-{runs - 1}", settings=settings or [])
    with tempfile.TemporaryDirectory() as folder:
        run_all(planned, Path(folder), data_dir, workers, callback)
    every = runs // ROWS
    shown = {count: callback.bytes[count - 1] / MEBIBYTE for count in range(every, runs + 1, every)}
    rows = [
        {"runs": count, "own, MiB": f"{size:.1f}", "grown, MiB": f"{size - shown[every]:.1f}"}
        for count, size in shown.items()
    ]
    show(rows)


if __name__ == "__main__":
    start(main)
