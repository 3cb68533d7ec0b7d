"""Executes a plan: skips what is complete, continues what is not, and loses nothing."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark.errors import MachineError, UserError, unwritable
from benchmark.running.data_index import DataIndex
from benchmark.running.events import Callback, RunDone
from benchmark.running.executors import ray
from benchmark.running.forecast import longest_first
from benchmark.running.job import USUAL, Conditions, Job, Outcome, Outcomes, skip_complete
from benchmark.running.preflight import check_ready
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import debugging, run_job

Executor = Callable[[list[Job], Callback], Outcomes]


def run(
    runs: list[Run],
    out: Path,
    data_dir: Path | None,
    workers: int,
    device: str,
    fresh: bool,
    callback: Callback,
    conditions: Conditions = USUAL,
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Execute runs and return their outcomes in the same order.

    A run that another process works on is left to it and looked at again at the end.

    Args:
        out: folder of results; made if it is missing.
        workers: 1 runs here; more run as Ray tasks, and so does one with a time limit.
        say: prints what is being waited for before the first run starts.
        fresh: repeat runs that are complete, from their first task.

    Raises:
        UserError: the output folder cannot be written, now or later, the device or a stream's data are not
            there, or Ray does not start or is not reached.
        KeyboardInterrupt: the user stopped the sweep; what is finished is on disk.
    """
    check_writable(out)
    jobs = [Job(run, out.resolve(), data_dir, device, fresh, conditions) for run in runs]
    outcomes: dict[int, Outcome] = {}

    def take(places: list[int], found: Iterator[tuple[int, Outcome]]) -> list[int]:
        """Note what is over and return the places that another process works on."""
        left = []
        for number, outcome in found:
            place = places[number]
            outcomes[place] = outcome
            if outcome.elsewhere:
                left.append(place)
            elif not outcome.stopped:
                callback(RunDone(outcome.run, outcome))
            if outcome.machine == "disk":  # each further run would learn a task and fail to keep it
                raise MachineError(f"{outcome.run.name}: {outcome.error}")
        return left

    def settle(places: list[int]) -> list[int]:
        """Note what needs no work and return the places that do."""
        index, open_places = DataIndex(out, data_dir), []
        for place in places:
            outcome = settle_without_work(jobs[place], index)
            if outcome is None:
                open_places.append(place)
            else:
                take([place], iter([(0, outcome)]))
        return open_places

    todo = settle(list(range(len(jobs))))
    if todo:
        # Of a cluster, another machine may have the device.
        here = conditions.address is None
        check_ready(
            [runs[place] for place in todo], data_dir, device if here else None, conditions.whole_gpus
        )
        if workers > 1 or conditions.address is not None:
            todo = longest_first(todo, runs, out)
        with open_executor(workers, conditions, say) as execute:
            left = settle(take(todo, execute([jobs[place] for place in todo], callback)))
            for place in take(left, execute([jobs[place] for place in left], callback)):
                callback(RunDone(jobs[place].run, outcomes[place]))
    if any(outcome.stopped for outcome in outcomes.values()):
        raise KeyboardInterrupt
    return [outcomes[place] for place in range(len(jobs))]


@contextlib.contextmanager
def open_executor(workers: int, conditions: Conditions, say: Callable[[str], None]) -> Iterator[Executor]:
    """Give what runs jobs, until the block ends: this process, or Ray for everything beyond that.

    Raises:
        UserError: Ray does not start or is not reached, or is given conditions that only it can keep.
    """
    if workers > 1 or conditions.address is not None or conditions.timeout is not None:
        with ray.session(workers, conditions, say) as session:
            yield lambda jobs, callback: ray.on_ray(session, jobs, callback)
        return
    if conditions.cpus != 1 or 0 < conditions.gpus <= 1 or conditions.memory is not None:
        raise UserError(
            "--cpus, --memory, --gpus up to 1 are kept by Ray; add --workers above 1, --timeout or --address"
        )
    yield run_in_process


def run_in_process(jobs: list[Job], callback: Callback) -> Outcomes:
    """Run one job after another here."""
    for index, job in enumerate(jobs):
        yield index, run_job(job, callback)


def settle_without_work(job: Job, index: DataIndex) -> Outcome | None:
    """Return the outcome of a run that needs no work, without loading its data; None where it needs some."""
    run = job.run
    known = None if job.fresh else index.find_fingerprint(run)
    try:
        path = None if known is None else run.path(job.out, known)
        # What a kill left beside a result is tidied by whoever claims the run.
        if path is not None and path.exists() and not path.with_suffix(".partial").exists():
            return skip_complete(run, path)
    except UserError as error:
        return Outcome(run, error=" ".join(str(error).split()))
    # Who debugs wants to see the failure again.
    again = job.fresh or job.conditions.retry or debugging()
    failure = None if again else SweepFolder(job.out).failure(run)
    if failure is None:
        return None
    return Outcome(run, error=f"{failure.error} (before, {failure.when}; --retry tries again)")


def check_writable(out: Path) -> None:
    """Make the output folder and prove that it takes a file.

    Raises:
        UserError: it does not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        # Without a name where the system can, so that a kill leaves nothing.
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"1")
    except OSError as error:
        raise unwritable(f"to the output folder {out}", error) from None
