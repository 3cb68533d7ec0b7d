"""Measures what the process that drives a sweep keeps of its cells; Linux only.

    python -m benchmark.profiling.driver_memory --method frozen --stream toy --cells 500 --workers 2

Cells differ in their seed and run as `bench run` runs them. A driver that runs cells itself (one worker) also
shows what learning leaves behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import psutil
import typer

from benchmark.errors import UserError
from benchmark.running.events import CellDone, Event
from benchmark.running.plan import plan
from benchmark.running.runner import run

MEBIBYTE = 1024**2
ROWS = 10


class OwnMemory:
    """A watcher of a run that notes this process's own memory, in bytes, whenever a cell is over."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.bytes: list[int] = []

    def __call__(self, event: Event) -> None:
        """Note it."""
        if isinstance(event, CellDone):
            self.bytes.append(psutil.Process().memory_full_info().uss)


def main(
    method: Annotated[str, typer.Option(help="A method.")],
    stream: Annotated[str, typer.Option(help="A stream.")],
    cells: Annotated[int, typer.Option(min=ROWS, help="How many cells.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 2,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable.")] = None,
    data_dir: Path | None = None,
) -> None:
    """Print the driver's own memory as the cells pass, and what it grew by since the first row."""
    watch = OwnMemory()
    planned = plan(method, stream, seeds=f"0-{cells - 1}", settings=settings or [])
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(planned, Path(folder), data_dir, workers, "cpu", False, watch)
    for outcome in outcomes:
        if outcome.error:
            raise UserError(f"{outcome.cell.name}: {outcome.error}")
    every = cells // ROWS
    shown = {count: watch.bytes[count - 1] / MEBIBYTE for count in range(every, cells + 1, every)}
    rows = [
        {"cells": count, "own, MiB": f"{size:.1f}", "grown, MiB": f"{size - shown[every]:.1f}"}
        for count, size in shown.items()
    ]
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
