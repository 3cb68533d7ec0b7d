"""Executes runs as Ray tasks: several at a time, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from benchmark.errors import UserError, quote_first_line
from benchmark.running.event_log import Tail
from benchmark.running.events import Callback, TaskDone
from benchmark.running.executors.watchdog import ending_children
from benchmark.running.job import Conditions, Job, Outcome, Outcomes
from benchmark.running.losses import resolve_lost, run_limited
from benchmark.running.sweep_folder import SweepFolder

POLL_SECONDS = 0.5
REMIND_SECONDS = 5.0
STORE_BYTES = 100 * 1024**2


@contextlib.contextmanager
def session(workers: int, conditions: Conditions, say: Callable[[str], None]) -> Iterator[Any]:
    """Start Ray on this machine, or join the cluster at an address, until the block ends.

    Args:
        say: prints that Ray starts, how long that takes, and when it has.

    Raises:
        UserError: Ray does not start, no cluster answers at the address, or no machine has what a run needs.
    """
    here = conditions.address is None
    if here:
        check_memory(conditions, psutil.virtual_memory().total, "this machine")
    # Read when Ray is imported: no usage statistics; and a cluster of this machine alone listens on its
    # loopback address, not on every network it is in. Its token authentication is left on.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if here:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    what = "starting Ray on this machine" if here else f"joining the Ray cluster at {conditions.address}"
    with ending_children() if here else contextlib.nullcontext():
        with waiting(what, say):
            ray = _start(workers, conditions)
        # A thread of Ray's prints what it also logs, in the middle of what is ours to print.
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            try:
                _check_resources(ray, conditions)
                yield ray
            finally:
                ray.shutdown()


def _start(workers: int, conditions: Conditions) -> Any:
    """Return Ray, started or joined."""
    try:
        import ray

        # Its notices would run through the progress lines; errors still come.
        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if conditions.address is not None:
            ray.init(address=conditions.address, **quiet)
            return ray
        cpus = math.ceil(workers * conditions.cpus)
        # One of its own: without "local" it would join whatever cluster runs on this machine.
        ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        return ray
    except ImportError as error:
        raise UserError(
            f"Ray cannot be loaded ({error}): pip install ray, or leave out --workers, --timeout, --address"
        ) from None
    except Exception as error:  # Ray raises a plain one where its processes do not come up
        reason = quote_first_line(error)
        if conditions.address is not None:
            raise UserError(f"no Ray cluster at --address {conditions.address}: {reason}") from None
        raise UserError(
            f"Ray did not start on this machine: {reason}; free memory and space in {tempfile.gettempdir()} "
            "and try again, or leave out --workers and --timeout to run without Ray"
        ) from None


@contextlib.contextmanager
def waiting(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Tell what is being waited for: at its start, every few seconds, and when it is there."""
    begun, over = time.monotonic(), threading.Event()

    def seconds() -> str:
        return f"{time.monotonic() - begun:.0f} s"

    def remind() -> None:
        while not over.wait(REMIND_SECONDS):
            say(f"{what}: {seconds()} so far")

    say(f"{what} ...")
    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    finally:
        over.set()
        reminder.join()
    say(f"{what}: ready after {seconds()}")


def check_memory(conditions: Conditions, most: float, where: str) -> None:
    """Refuse to set aside more memory than there is, which Ray would wait for without end.

    Args:
        most: bytes that can be set aside.
        where: there is no more, for the message.

    Raises:
        UserError: a run's memory is more than that.
    """
    if conditions.memory is not None and conditions.memory > most:
        asked, there = (f"{count / 1024**3:.4g}" for count in (conditions.memory, most))
        raise UserError(f"--memory {asked} GiB is more than the {there} that {where} can set aside for a run")


def _check_resources(ray: Any, conditions: Conditions) -> None:
    """Refuse what no machine of the cluster has; see `check_memory`."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    where = "this machine" if conditions.address is None else "the largest machine of the cluster"
    check_memory(conditions, max((one.get("memory", 0) for one in machines), default=0), where)
    for flag, asked, name in (("--cpus", conditions.cpus, "CPU"), ("--gpus", conditions.gpus, "GPU")):
        most = max((one.get(name, 0) for one in machines), default=0)
        if asked > most:
            raise UserError(f"{flag} {asked:g} is more than the {most:g} {name}s that {where} has")


def on_ray(ray: Any, jobs: list[Job], callback: Callback) -> Outcomes:
    """Run jobs as Ray tasks.

    Raises:
        UserError: Ray broke down on this machine; the runs that were at work have ended before.
    """
    if not jobs:
        return
    terms = jobs[0].conditions
    resources = {"num_cpus": terms.cpus, "num_gpus": terms.gpus, "memory": terms.memory}
    # Lost runs are sent again here and not by Ray, which would send one that eats all memory for ever.
    remote = ray.remote(max_retries=0, **resources)(run_limited)
    pending = {remote.remote(job): index for index, job in enumerate(jobs)}
    tails = {index: Tail(SweepFolder(job.out).log(job.run), job.run) for index, job in enumerate(jobs)}
    losses: Counter[str] = Counter()
    stranded, gcs = 0, _control() if terms.address is None else None
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
        if gcs is not None and not _lives(gcs):
            raise _broken(jobs[0], "gcs_server", len(pending))
        for index in pending.values():
            for event in tails[index].events():
                if isinstance(event, TaskDone):
                    losses.pop(event.run.identity, None)
                callback(event)
        for reference in done:
            index = pending.pop(reference)
            job = jobs[index]
            outcome: Outcome | None
            try:
                outcome = _seen_here(ray.get(reference))
            except ray.exceptions.RayTaskError as error:
                outcome = Outcome(job.run, error=" ".join(str(error).split()))
            except ray.exceptions.LocalRayletDiedError:
                # Nothing more can be placed, through no fault of the run's; what is at work may still end.
                outcome, stranded = None, stranded + 1
            except ray.exceptions.RayError as error:
                losses[job.run.identity] += 1
                outcome = resolve_lost(job, losses[job.run.identity], " ".join(str(error).split())[:300])
                if outcome is None:
                    pending[remote.remote(job)] = index
            if outcome is not None:
                yield index, outcome
    if stranded:
        raise _broken(jobs[0], "raylet", stranded)


def _broken(job: Job, process: str, runs: int) -> UserError:
    return UserError(
        f"Ray broke down on this machine (its {process} died) before {runs} runs were run; every finished "
        f"run and task is kept in {job.out}; the same command continues from there"
    )


def _control() -> psutil.Process | None:
    """Return the process that Ray keeps its state in; without it Ray ends this process after a minute."""
    found = (one for one in psutil.Process().children(recursive=True) if one.name() == "gcs_server")
    return next(found, None)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _seen_here(outcome: Outcome) -> Outcome:
    """Return an outcome of another machine, or an error if its result does not lie in this one's folder."""
    if outcome.path is None or outcome.path.exists():
        return outcome
    return Outcome(
        outcome.run,
        error=f"a worker wrote {outcome.path} on a disk of its own; --out must be a shared folder",
    )
