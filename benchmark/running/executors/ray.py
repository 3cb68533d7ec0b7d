"""Runs cells as Ray tasks: several at a time, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmark.errors import UserError
from benchmark.running.event_log import Tail
from benchmark.running.events import Watch
from benchmark.running.job import Conditions, Job, Outcome, Outcomes
from benchmark.running.losses import forgiving, lost, pass_on, run_limited
from benchmark.running.sweep_folder import SweepFolder

POLL_SECONDS = 0.5
STORE_BYTES = 100 * 1024**2


@contextlib.contextmanager
def session(workers: int, conditions: Conditions) -> Iterator[Any]:
    """Start Ray on this machine, or join the cluster at an address, until the block ends.

    Raises:
        UserError: Ray is not installed, or no cluster answers at the address.
    """
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


def on_ray(ray: Any, jobs: list[Job], watch: Watch) -> Outcomes:
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
    tell = forgiving(watch, losses)
    stranded = 0
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
        for index in pending.values():
            pass_on(tails[index], tell)
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
