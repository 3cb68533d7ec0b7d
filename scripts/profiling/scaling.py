"""Measures how many runs an hour several workers finish beside one.

    python -m scripts.profiling.scaling --method frozen,seq-lora,o-lora,litelora --stream digits --seed 0-2

The same runs go into empty folders, with one worker and with several. Time counts from the first run's start
to the last one's end, so that what a process loads before it begins, and Ray's own start, are left out.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmark.running.events import Event, RunDone, RunStarted
from benchmark.running.plan import plan
from benchmark.running.run import Run
from scripts.profiling.script import Methods, Settings, StreamKey, run_all, show, start


class Span:
    """A callback that notes when its first run began and its last one ended, in seconds."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.began: float | None = None
        self.ended = 0.0

    def __call__(self, event: Event) -> None:
        """Note it."""
        if isinstance(event, RunStarted) and self.began is None:
            self.began = time.perf_counter()
        elif isinstance(event, RunDone):
            self.ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the one to the other."""
        assert self.began is not None, "no run began"
        return self.ended - self.began


def measure(runs: list[Run], data_dir: Path | None, workers: int) -> float:
    """Execute runs in an empty folder and return the seconds they took.

    Raises:
        UserError: a run failed.
    """
    span = Span()
    with tempfile.TemporaryDirectory() as folder:
        run_all(runs, Path(folder), data_dir, workers, span)
    return span.seconds


def main(
    method: Methods,
    stream: StreamKey,
    seed: Annotated[str, typer.Option(help="Seeds, as `bench run` takes them.")] = "0-2",
    workers: Annotated[int, typer.Option(min=2, help="Runs at a time.")] = 2,
    settings: Settings = None,
    data_dir: Path | None = None,
) -> None:
    """Print the runs an hour of one worker and of several, and their ratio."""
    runs = plan(method, stream, seeds=seed, settings=settings or [])
    rows, alone = [], 0.0
    for count in (1, workers):
        rate = 3600 * len(runs) / measure(runs, data_dir, count)
        alone = alone or rate
        rows.append({"workers": count, "runs an hour": f"{rate:.0f}", "of one worker": f"{rate / alone:.2f}"})
    show(rows)


if __name__ == "__main__":
    start(main)
