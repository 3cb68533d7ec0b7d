"""Runs the cells of a plan: skips what is complete, continues what is not, and loses nothing."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmark.data.files import one_line
from benchmark.data.outcomes import fingerprint
from benchmark.errors import UserError
from benchmark.results import Result, read
from benchmark.running.catalogue import load_stream
from benchmark.running.cell import Cell
from benchmark.running.data_index import DataIndex
from benchmark.running.event_log import EventLog
from benchmark.running.events import CellDone, CellStarted, Event, TaskDone, Watch
from benchmark.running.forecast import longest_first
from benchmark.running.sweep_folder import SweepFolder, process_name
from benchmark.stream import LoadedStream, Request
from benchmark.stream import load as load_tasks


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: a result, or one line that says why there is none.

    Attributes:
        path: of the complete result.
        skipped: the result was there before.
        elsewhere: another process works on the cell.
        stopped: the user stopped the sweep before the cell was complete.
    """

    cell: Cell
    path: Path | None = None
    error: str | None = None
    skipped: bool = False
    elsewhere: bool = False
    stopped: bool = False

    @property
    def result(self) -> Result | None:
        """The result, read each time: who drives thousands of cells keeps none of theirs.

        Raises:
            UserError: it was deleted or damaged since.
        """
        return None if self.path is None else read(self.path)

    @property
    def state(self) -> Literal["complete", "failed", "running elsewhere", "stopped"]:
        """One word for people and programs."""
        if self.elsewhere:
            return "running elsewhere"
        if self.stopped:
            return "stopped"
        return "failed" if self.error or self.path is None else "complete"


@dataclass(frozen=True)
class Conditions:
    """Under what conditions cells run; none of them can change a number.

    Attributes:
        retry: run cells again that failed in an earlier sweep.
        timeout: most seconds that one cell may take in one go; None: no limit.
        address: of a running Ray cluster; None: cells run on this machine.
        cpus, gpus: what one cell takes of Ray's resources; parts of a GPU are allowed.
        memory: bytes that Ray reserves for one cell; None: none are counted.
        stop: once this file exists, no cell goes on after the task it is in.
    """

    retry: bool = False
    timeout: float | None = None
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    stop: Path | None = None


@dataclass(frozen=True)
class Job:
    """A cell and where it runs, in a form that another process can take.

    Attributes:
        sweep: what tells this sweep from others at work on the same folder.
    """

    cell: Cell
    out: Path
    data_dir: Path | None
    device: str
    fresh: bool
    conditions: Conditions = Conditions()
    sweep: str = field(default_factory=process_name)


def run(
    cells: list[Cell],
    out: Path,
    data_dir: Path | None,
    workers: int,
    device: str,
    fresh: bool,
    watch: Watch,
    conditions: Conditions = Conditions(),
) -> list[Outcome]:
    """Run every cell and return the outcomes in the cells' order.

    A cell that another process works on is left to it and looked at again at the end.

    Args:
        out: folder of results; made if it is missing.
        data_dir: folder of data; None for the variable BENCH_DATA or the hub.
        workers: 1 runs here; more run as Ray tasks.
        fresh: run cells again that are complete, from their first task.

    Raises:
        UserError: the output folder cannot be written, or Ray is not installed or not reached.
        KeyboardInterrupt: the user stopped the run; what is finished is on disk.
    """
    from benchmark.running import executors

    check_writable(out)
    jobs = [Job(cell, out.resolve(), data_dir, device, fresh, conditions) for cell in cells]
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
                watch(CellDone(outcome.cell, outcome))
        return left

    def settle(places: list[int]) -> list[int]:
        """Note what needs no work and return the places that do."""
        index, open_places = DataIndex(out, data_dir), []
        for place in places:
            outcome = settled(jobs[place], index)
            if outcome is None:
                open_places.append(place)
            else:
                take([place], iter([(0, outcome)]))
        return open_places

    todo = settle(list(range(len(jobs))))
    if todo:
        if workers > 1 or conditions.address is not None:
            todo = longest_first(todo, cells, out)
        with executors.open_executor(workers, conditions) as execute:
            left = settle(take(todo, execute([jobs[place] for place in todo], watch)))
            for place in take(left, execute([jobs[place] for place in left], watch)):
                watch(CellDone(jobs[place].cell, outcomes[place]))
    if any(outcome.stopped for outcome in outcomes.values()):
        raise KeyboardInterrupt
    return [outcomes[place] for place in range(len(jobs))]


def settled(job: Job, index: DataIndex) -> Outcome | None:
    """Return the outcome of a cell that needs no work, without loading its data; None where it needs some."""
    cell = job.cell
    known = None if job.fresh else index.known(cell)
    try:
        path = None if known is None else cell.path(job.out, known)
        # What a kill left beside a result is tidied by whoever claims the cell.
        if path is not None and path.exists() and not path.with_suffix(".partial").exists():
            read(path)
            return Outcome(cell, path, skipped=True)
    except UserError as error:
        return Outcome(cell, error=" ".join(str(error).split()))
    # Who debugs wants to see the failure again.
    again = job.fresh or job.conditions.retry or debugging()
    failure = None if again else SweepFolder(job.out).failure(cell)
    if failure is None:
        return None
    return Outcome(cell, error=f"{failure.error} (before, {failure.when}; --retry tries again)")


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
        raise UserError(f"cannot write to the output folder {out}: {error.strerror or error}") from None


class Stopped(BaseException):
    """The user asked to stop, and the cell has just saved a task."""


def run_job(job: Job, watch: Watch) -> Outcome:
    """Claim and run one cell; a failure becomes an outcome, so that the other cells go on."""
    cell, folder = job.cell, SweepFolder(job.out)
    log = EventLog(folder.log(cell))
    begun = False

    def tell(event: Event) -> None:
        nonlocal begun
        begun = begun or isinstance(event, CellStarted)
        log(event)
        watch(event)
        # After the last task nothing is left to do but to write the result.
        if isinstance(event, TaskDone) and event.task + 1 < event.task_count and stop_asked(job):
            raise Stopped

    if stop_asked(job):
        return Outcome(cell, stopped=True)
    try:
        with folder.claim(cell) as ours:
            if not ours:
                return Outcome(cell, elsewhere=True)
            outcome = _run_claimed(job, tell)
            if outcome.skipped:
                return outcome
            if outcome.state == "complete":
                folder.forget_failure(cell)
            elif outcome.state == "failed" and begun:
                # What fails before it begins costs nothing to try again, such as data that is not there.
                folder.note_failure(cell, str(outcome.error))
            log(CellDone(cell, outcome))
            return outcome
    except UserError as error:
        return Outcome(cell, error=" ".join(str(error).split()))


def stop_asked(job: Job) -> bool:
    """Whether the user wants the sweep to end."""
    return job.conditions.stop is not None and job.conditions.stop.exists()


def debugging() -> bool:
    """Whether the user wants errors with their tracebacks."""
    return os.environ.get("BENCH_DEBUG") == "1"


def _run_claimed(job: Job, tell: Watch) -> Outcome:
    cell, index = job.cell, DataIndex(job.out, job.data_dir)
    try:
        loaded, print_of_data = load_data(cell, job.data_dir)
        index.note(cell, print_of_data, loaded)
        path = cell.path(job.out, print_of_data)
        others = of_other_data(cell, path)
        if job.fresh:
            for old in (path, *others):
                clear(old)
        elif others and not path.exists():
            raise UserError(
                f"{others[0]} has the same settings and other data, of the fingerprint "
                f"{made_from(others[0])[1]}, not {print_of_data}: the rows have changed since, or come from "
                "another place; bring the old ones back, choose another folder with --out, or pass --fresh "
                "to replace it"
            )
        if path.exists():
            read(path)
            tidy(path)
            return Outcome(cell, path, skipped=True)
        from benchmark.running.learner import Learner

        Learner(cell, loaded, print_of_data, path, job.device, tell).run()
        tidy(path)
        return Outcome(cell, path)
    except Stopped:
        return Outcome(cell, stopped=True)
    except UserError as error:
        return Outcome(cell, error=" ".join(str(error).split()))
    except Exception as error:
        if debugging():
            raise
        return Outcome(cell, error=f"{_reason(error)} (BENCH_DEBUG=1 shows where)")


def _reason(error: Exception) -> str:
    """Return one line on an error that is not known to be the user's."""
    # torch has a class for a full GPU alone; a full memory is to it a RuntimeError like any other.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or "can't allocate memory" in str(error):
        return (
            f"the memory ran out ({one_line(error)}); smaller batches (--set protocol.batch_size=...) or "
            "fewer cells at a time (--workers) need less"
        )
    return one_line(error)


def load_data(cell: Cell, data_dir: Path | None) -> tuple[LoadedStream, str]:
    """Load a cell's tasks and return them with their fingerprint."""
    stream = load_stream(cell.stream_reference)
    parameters = stream.parameters(**cell.parameters) if stream.parameters else None
    request = Request(cell.order, cell.seed, cell.protocol, data_dir, parameters)
    loaded = load_tasks(stream, request)
    return loaded, fingerprint(loaded.tasks)


def of_other_data(cell: Cell, path: Path) -> list[Path]:
    """Return results and unfinished work beside a cell's path that have its settings but other data.

    They would otherwise be left lying as a second result of the same cell, and no table could hold both.
    """
    stem = path.stem.rpartition("-")[0]
    found = []
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}-????????.*")):
        if other.stem != path.stem and other.suffix in (".json", ".partial"):
            with suppress(UserError):  # what cannot be read is no cell's, and is refused by who reads it
                key, fingerprint = made_from(other)
                if key == cell.key(fingerprint):
                    found.append(other)
    return found


def made_from(path: Path) -> tuple[str, str]:
    """Return the key and the data's fingerprint of a result, or of a folder of unfinished work.

    Raises:
        UserError: it cannot be read.
    """
    if path.suffix == ".json":
        result = read(path)
        return result.key, result.provenance.data_fingerprint
    try:
        progress = json.loads((path / "progress.json").read_bytes())
        return str(progress["key"]), str(progress["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read {path / 'progress.json'}: {one_line(error)}") from None


def clear(path: Path) -> None:
    """Delete a cell's result, adapters and unfinished work; any of them names the cell."""
    path.with_suffix(".json").unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)
    tidy(path)


def tidy(path: Path) -> None:
    """Delete what killed runs of a cell left beside its result: unfinished work and half-written files."""
    shutil.rmtree(path.with_suffix(".partial"), ignore_errors=True)
    for stray in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp"):
        stray.unlink(missing_ok=True)


Outcomes = Iterator[tuple[int, Outcome]]
