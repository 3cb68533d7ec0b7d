"""Runs cells one after another on this machine: in this process, or in one of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import Counter
from typing import TYPE_CHECKING

from benchmark.running.event_log import Tail
from benchmark.running.events import Watch
from benchmark.running.job import Job, Outcome, Outcomes
from benchmark.running.losses import forgiving, lost, pass_on, run_limited
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import run_job

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

POLL_SECONDS = 0.5


def in_process(jobs: list[Job], watch: Watch) -> Outcomes:
    """Run one job after another here."""
    for index, job in enumerate(jobs):
        yield index, run_job(job, watch)


def in_own_process(jobs: list[Job], watch: Watch) -> Outcomes:
    """Run one job after another in a worker process, which a hanging cell takes down alone."""
    losses: Counter[str] = Counter()
    tell = forgiving(watch, losses)
    with contextlib.ExitStack() as stack:
        worker: Worker | None = None
        for index, job in enumerate(jobs):
            outcome = None
            while outcome is None:
                if worker is None:
                    worker = stack.enter_context(Worker())
                try:
                    outcome = worker.run(job, tell)
                except EOFError:
                    losses[job.cell.identity] += 1
                    outcome = lost(job, losses[job.cell.identity], worker.death())
                    worker = None
            yield index, outcome


class Worker:
    """A process that runs one job at a time."""

    def __enter__(self) -> Worker:
        """Start it."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it; what it saved is on disk."""
        self.process.kill()
        self.process.join()

    def run(self, job: Job, watch: Watch) -> Outcome:
        """Run a job and pass its events on.

        Raises:
            EOFError: the process died.
        """
        tail = Tail(SweepFolder(job.out).log(job.cell), job.cell)
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(job)
        while not self.connection.poll(POLL_SECONDS):
            pass_on(tail, watch)
        try:
            outcome: Outcome = self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None
        finally:
            pass_on(tail, watch)
        return outcome

    def death(self) -> str:
        """Return how the process died, once `run` has said that it did."""
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "it was killed (SIGKILL), as the system does where memory runs out"
        return f"signal {-code} ended it" if code < 0 else f"its process ended with code {code}"


def _serve(connection: Connection) -> None:
    # Ctrl-C reaches every process of a terminal; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError):
        while True:
            connection.send(run_limited(connection.recv()))
