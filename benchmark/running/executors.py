"""Where cells run: in this process, in one of its own, or as Ray tasks. All yield outcomes as they come."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.running.event_log import Tail
from benchmark.running.events import Event, TaskDone, Watch
from benchmark.running.runner import Conditions, Job, Outcome, Outcomes, run_job, stop_asked
from benchmark.running.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Executor = Callable[[list[Job], Watch], Outcomes]

POLL_SECONDS = 0.5
STORE_BYTES = 100 * 1024**2
LOST_LIMIT = 3
"""A cell whose worker dies this often before it finishes a task is a failure: it may be what kills them."""


@contextlib.contextmanager
def open_executor(workers: int, conditions: Conditions) -> Iterator[Executor]:
    """Give what runs jobs, until the block ends.

    Raises:
        UserError: Ray is not installed or not reached, or is given conditions that only it can keep.
    """
    if workers > 1 or conditions.address is not None:
        with _ray_session(workers, conditions) as ray:
            yield lambda jobs, watch: _on_ray(ray, jobs, watch)
        return
    if conditions.cpus != 1 or conditions.gpus or conditions.memory is not None:
        raise UserError("--cpus, --gpus and --memory are kept by Ray; add --workers above 1 or --address")
    yield in_process if conditions.timeout is None else in_own_process


def in_process(jobs: list[Job], watch: Watch) -> Outcomes:
    """Run one job after another here."""
    for index, job in enumerate(jobs):
        yield index, run_job(job, watch)


def in_own_process(jobs: list[Job], watch: Watch) -> Outcomes:
    """Run one job after another in a worker process, which a hanging cell takes down alone."""
    losses: Counter[str] = Counter()
    tell = _forgiving(watch, losses)
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
            _pass_on(tail, watch)
        try:
            outcome: Outcome = self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None
        finally:
            _pass_on(tail, watch)
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


def run_limited(job: Job) -> Outcome:
    """Run a job in this process and end the whole process if it takes longer than its limit.

    The interpreter's own watchdog does it, which also ends what hangs outside Python.
    """
    if job.conditions.timeout is None:
        return run_job(job, _ignore)
    with open(_trace(job), "w", encoding="utf-8") as trace:
        faulthandler.dump_traceback_later(job.conditions.timeout, exit=True, file=trace)
        try:
            return run_job(job, _ignore)
        finally:
            faulthandler.cancel_dump_traceback_later()
            Path(trace.name).unlink()


def lost(job: Job, losses: int, reason: str) -> Outcome | None:
    """Return what came of a job whose process died; None: it shall run again, from its last task.

    Args:
        losses: how often that happened since it last finished a task in this sweep.
        reason: what is known of the death.
    """
    trace, error = _trace(job), None
    if trace.exists():
        place = _innermost(trace)
        trace.unlink()
        # Empty where the process died of something else within the limit.
        if place is not None:
            error = f"took longer than --timeout {job.conditions.timeout:g} seconds, in {place}"
    if error is None and losses >= LOST_LIMIT:
        error = f"the worker was lost {losses} times: {reason}"
    if error is None:
        return Outcome(job.cell, stopped=True) if stop_asked(job) else None
    SweepFolder(job.out).note_failure(job.cell, error)
    return Outcome(job.cell, error=error)


def _trace(job: Job) -> Path:
    # Of this sweep alone: another one may hold the cell and be watched itself.
    path = SweepFolder(job.out).file("timeouts", job.cell).with_suffix(f".{job.sweep}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _innermost(trace: Path) -> str | None:
    """Return where the main thread, which is dumped last, was when time was up."""
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    threads = [number for number, line in enumerate(lines) if line.endswith("(most recent call first):")]
    if not threads or threads[-1] + 1 >= len(lines):
        return None
    return lines[threads[-1] + 1].strip().removeprefix("File ")


def _ignore(event: Event) -> None:
    """Pass an event to nobody: it is in the log."""


def _forgiving(watch: Watch, losses: Counter[str]) -> Watch:
    """Return a watcher that also forgets the losses of a cell, by its identity, when it finishes a task."""

    def tell(event: Event) -> None:
        if isinstance(event, TaskDone):
            losses.pop(event.cell.identity, None)
        watch(event)

    return tell


def _pass_on(tail: Tail, watch: Watch) -> None:
    for event in tail.events():
        watch(event)


@contextlib.contextmanager
def _ray_session(workers: int, conditions: Conditions) -> Iterator[Any]:
    # Read when Ray is imported: no usage statistics; and a cluster of this machine alone listens on its
    # loopback address, not on every network it is in. Its token authentication is left on.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if conditions.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "--workers above 1 needs Ray: pip install 'continual-peft-bench[ray]', or use --workers 1"
        ) from None
    # Its notices would run through the progress lines; errors still come.
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if conditions.address is None:
        cpus = math.ceil(workers * conditions.cpus)
        # One of its own: without "local" it would join whatever cluster runs on this machine.
        ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
    else:
        try:
            ray.init(address=conditions.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"no Ray cluster at --address {conditions.address}: {reason}") from None
    # A thread of Ray's prints what it also logs, in the middle of what is ours to print.
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield ray
        finally:
            ray.shutdown()


def _on_ray(ray: Any, jobs: list[Job], watch: Watch) -> Outcomes:
    """Run jobs as Ray tasks.

    Raises:
        UserError: Ray broke down on this machine; the cells that were at work have ended before.
    """
    if not jobs:
        return
    terms = jobs[0].conditions
    resources = {"num_cpus": terms.cpus, "num_gpus": terms.gpus, "memory": terms.memory}
    # Lost cells are sent again here and not by Ray, which would send one that eats all memory for ever.
    remote = ray.remote(max_retries=0, **resources)(run_limited)
    pending = {remote.remote(job): index for index, job in enumerate(jobs)}
    tails = {index: Tail(SweepFolder(job.out).log(job.cell), job.cell) for index, job in enumerate(jobs)}
    losses: Counter[str] = Counter()
    tell = _forgiving(watch, losses)
    stranded = 0
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
        for index in pending.values():
            _pass_on(tails[index], tell)
        for reference in done:
            index = pending.pop(reference)
            job = jobs[index]
            outcome: Outcome | None
            try:
                outcome = _seen_here(ray.get(reference))
            except ray.exceptions.RayTaskError as error:
                outcome = Outcome(job.cell, error=" ".join(str(error).split()))
            except ray.exceptions.LocalRayletDiedError:
                # Nothing more can be placed, through no fault of the cell's; what is at work may still end.
                outcome, stranded = None, stranded + 1
            except ray.exceptions.RayError as error:
                losses[job.cell.identity] += 1
                outcome = lost(job, losses[job.cell.identity], " ".join(str(error).split())[:300])
                if outcome is None:
                    pending[remote.remote(job)] = index
            if outcome is not None:
                yield index, outcome
    if stranded:
        raise UserError(
            f"Ray broke down on this machine (its raylet died) before {stranded} cells were run; every "
            f"finished cell and task is kept in {jobs[0].out}; the same command continues from there"
        )


def _seen_here(outcome: Outcome) -> Outcome:
    """Return an outcome of another machine, or an error if its result does not lie in this one's folder."""
    if outcome.path is None or outcome.path.exists():
        return outcome
    return Outcome(
        outcome.cell,
        error=f"a worker wrote {outcome.path} on a disk of its own; --out must be a shared folder",
    )
