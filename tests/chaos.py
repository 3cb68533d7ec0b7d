"""Kills a sweep again and again, and compares what is left at the end with an undisturbed one.

    python -m tests.chaos sweeps/toy.toml --kills 100 --longest 1
    python -m tests.chaos sweeps/faults.toml --kills 20 --longest 20

Each kill is a SIGKILL that hits the sweep's own process or one that it started, at a random moment while a
run is at work. A killed sweep is started again with the same command.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import psutil
import typer

from benchmark.running.sweep_folder import SweepFolder
from tests.command import ROOT
from tests.outputs import content

# Far more than a run takes: the limit only makes the sweep work with Ray. And three kills
# in a row at one task look like a run that kills its workers, which only --retry runs again.
FLAGS = ["--timeout", "3600", "--retry"]


class Sweep:
    """One sweep on one output folder, started as often as it is killed."""

    def __init__(self, file: Path, out: Path, workers: int) -> None:
        """Describe it."""
        flags = ["--out", str(out), "--workers", str(workers), *FLAGS]
        self.command = [sys.executable, "-m", "benchmark", "sweep", str(file), *flags]
        self.out, self.log = out, out.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command, in a session of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with open(self.log, "ab") as shown:
            self.process = subprocess.Popen(
                self.command, stdout=shown, stderr=shown, env=environment, start_new_session=True
            )
        return self.process

    def events(self) -> int:
        """Return the bytes that the runs have reported so far."""
        return sum(path.stat().st_size for path in (SweepFolder(self.out).root / "events").glob("*"))

    def wait(self) -> int:
        """Let it end, and return its exit code."""
        return (self.process or self.start()).wait(timeout=3600)

    def kill(self, drawn: random.Random, longest: float) -> str | None:
        """Kill one of its processes once a run is at work; None if it ended before."""
        process = self.process if self.process and self.process.poll() is None else self.start()
        before = self.events()
        # A worker that outlived its driver also tells events.
        while process.poll() is None and (self.events() == before or not workers_of(process)):
            time.sleep(0.02)
        time.sleep(drawn.uniform(0, longest))
        workers = workers_of(process)
        if process.poll() is not None:
            return None
        if workers and drawn.random() < 0.5:
            drawn.choice(workers).send_signal(signal.SIGKILL)
            return "worker"
        process.kill()
        process.wait()
        return "driver"


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes that run runs for a sweep: workers of Ray that have one."""
    try:
        found = {child: " ".join(child.cmdline()) for child in psutil.Process(process.pid).children(True)}
    except psutil.Error:  # one of them ended meanwhile
        return []
    return [child for child, line in found.items() if "ray::run_limited" in line]


def chaos(file: Path, folder: Path, kills: int, seed: int, workers: int, longest: float) -> Counter[str]:
    """Run a sweep undisturbed and under kills, and return how many of which process hit.

    Raises:
        AssertionError: the killed sweep did not complete, or left other bytes.
    """
    undisturbed = Sweep(file, folder / "undisturbed", workers)
    assert undisturbed.wait() == 0, undisturbed.log.read_text(encoding="utf-8")
    killed, drawn = Sweep(file, folder / "killed", workers), random.Random(seed)
    hits = Counter(hit for hit in (killed.kill(drawn, longest) for _ in range(kills)) if hit)
    for _ in range(3):
        # A worker that outlived its driver may still hold a run; the same command goes on.
        if killed.wait() == 0:
            break
        killed.start()
    assert killed.wait() == 0, killed.log.read_text(encoding="utf-8")
    expected, found = content(undisturbed.out), content(killed.out)
    assert sorted(found) == sorted(expected), set(found) ^ set(expected)
    differing = [name for name in expected if found[name] != expected[name]]
    assert not differing, differing
    return hits


def main(
    file: Annotated[Path, typer.Argument(help="A sweep file.")],
    kills: int = 20,
    seed: int = 0,
    workers: int = 1,
    longest: Annotated[float, typer.Option(help="Most seconds from a sign of work to the kill.")] = 3.0,
) -> None:
    """Run the comparison in a temporary folder and print what was hit."""
    with tempfile.TemporaryDirectory() as folder:
        hits = chaos(file.resolve(), Path(folder), kills, seed, workers, longest)
        files = len(content(Path(folder) / "killed"))
    print(f"{sum(hits.values())} of {kills} kills hit ({dict(hits)}); {files} files, all as without them")


if __name__ == "__main__":
    typer.run(main)
