"""Measures what each further Ray worker on one backbone costs in memory; Linux only.

    python -m scripts.profiling.worker_memory --method seq-lora --stream standard-cl --workers 3

Runs that differ in their seed learn side by side. A page that k processes share counts 1/k to each (the
proportional set size of `/proc/PID/smaps_rollup`), so that mapped weights, tokens and libraries count once.
What a further worker adds holds its optimiser and its activations.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import UserError
from benchmark.running.events import Event, RunDone, StepDone
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder
from scripts.profiling.script import Methods, Settings, StreamKey, run_all, show, start

PARTS = {"Pss": "all", "Pss_Anon": "own", "Pss_File": "mapped files"}


class MemoryWatch:
    """A callback that keeps its workers' memory where they took most, all of them at work."""

    def __init__(self, runs: list[Run], out: Path) -> None:
        """Follow runs that write to `out`."""
        self.logs = {run.identity: SweepFolder(out).log(run) for run in runs}
        self.working: set[str] = set()
        self.peak: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Look at the memory when a run reports a step."""
        name = event.run.identity
        if isinstance(event, StepDone):
            self.working.add(name)
        elif isinstance(event, RunDone):
            del self.logs[name]
        if self.working >= set(self.logs) and len(self.logs) == len(self.working):
            now = total([worker_of(log) for log in self.logs.values()])
            if now["Pss"] > self.peak.get("Pss", 0):
                self.peak = now


def worker_of(log: Path) -> int:
    """Return the number of the process that began a run last, from the run's event log."""
    rows = [json.loads(line) for line in log.read_bytes().splitlines()]
    return int([row["process"] for row in rows if row["kind"] == "RunStarted"][-1])


def total(processes: list[int]) -> dict[str, int]:
    """Return the proportional set size of processes together, in bytes, by part."""
    sums = dict.fromkeys(PARTS, 0)
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
        for part in PARTS:
            sums[part] += int(sizes[part]) * 1024
    return sums


def measure(runs: list[Run], data_dir: Path | None) -> dict[str, int]:
    """Execute runs side by side, each in a Ray worker of its own, and return the workers' bytes by part.

    Raises:
        UserError: a run failed, or they were never all at work at a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        callback = MemoryWatch(runs, Path(folder))
        # With one worker nothing would be Ray's.
        run_all(runs, Path(folder), data_dir, max(2, len(runs)), callback)
    if not callback.peak:
        raise UserError("the runs were never all at work at a time; give them more steps")
    return callback.peak


def main(
    method: Methods,
    stream: StreamKey,
    workers: Annotated[int, typer.Option(min=2, help="Most workers at a time.")] = 3,
    settings: Settings = None,
    data_dir: Path | None = None,
) -> None:
    """Print the workers' memory together, for one to as many as asked for, and what the last one added."""
    runs = plan(method, stream, seeds=f"0-{workers - 1}", settings=settings or [])
    rows, before = [], dict.fromkeys(PARTS, 0)
    for count in range(1, workers + 1):
        found = measure(runs[:count], data_dir)
        row = {f"{name}, MB": f"{found[part] / 1e6:.0f}" for part, name in PARTS.items()}
        added = {f"{name} added": f"{(found[part] - before[part]) / 1e6:.0f}" for part, name in PARTS.items()}
        rows.append({"workers": count, **row, **added})
        before = found
    show(rows)


if __name__ == "__main__":
    start(main)
