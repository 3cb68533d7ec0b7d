"""Runs the cells of a plan: skips what is complete, continues what is not, and loses nothing."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.catalogue import load_stream
from benchmark.cell import Cell
from benchmark.data_files import one_line
from benchmark.errors import UserError
from benchmark.events import CellDone, Watch
from benchmark.fingerprint import fingerprint
from benchmark.results import Result, read
from benchmark.stream import LoadedStream, Request
from benchmark.stream import load as load_tasks


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: a result, or one line that says why there is none."""

    cell: Cell
    path: Path | None = None
    result: Result | None = None
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Job:
    """A cell and where it runs, in a form that another process can take."""

    cell: Cell
    out: Path
    data_dir: Path | None
    device: str
    fresh: bool


def run(
    cells: list[Cell],
    out: Path,
    data_dir: Path | None,
    workers: int,
    device: str,
    fresh: bool,
    watch: Watch,
) -> list[Outcome]:
    """Run every cell and return the outcomes in the cells' order.

    Args:
        out: folder of results; made if it is missing.
        data_dir: folder of data; None for the variable BENCH_DATA or the hub.
        workers: 1 runs in this process; more run as Ray tasks of one CPU each.
        fresh: run cells again that are complete, from their first task.

    Raises:
        UserError: the output folder cannot be written, or Ray is not installed.
    """
    from benchmark import executors

    check_writable(out)
    jobs = [Job(cell, out.resolve(), data_dir, device, fresh) for cell in cells]
    execute = executors.in_process if workers == 1 else executors.on_ray(workers)
    outcomes: dict[int, Outcome] = {}
    for index, outcome in execute(jobs, watch):
        outcomes[index] = outcome
        watch(CellDone(outcome.cell, outcome))
    return [outcomes[index] for index in range(len(jobs))]


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


def run_job(job: Job, watch: Watch) -> Outcome:
    """Run one cell; a failure becomes an outcome, so that the other cells go on."""
    cell = job.cell
    try:
        loaded, print_of_data = load_data(cell, job.data_dir)
        path = cell.path(job.out, print_of_data)
        others = of_other_data(cell, path)
        if job.fresh:
            for old in (path, *others):
                clear(old)
        elif others and not path.exists():
            raise UserError(
                f"{others[0]} has the same settings and other data: the rows have changed since, or come "
                "from another place; bring the old ones back, choose another folder with --out, or pass "
                "--fresh to replace it"
            )
        if path.exists():
            result = read(path)
            tidy(path)
            return Outcome(cell, path, result, skipped=True)
        from benchmark.learner import Learner

        result = Learner(cell, loaded, print_of_data, path, job.device, watch).run()
        tidy(path)
        return Outcome(cell, path, result)
    except UserError as error:
        return Outcome(cell, error=" ".join(str(error).split()))
    except Exception as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        return Outcome(cell, error=f"{one_line(error)} (BENCH_DEBUG=1 shows where)")


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
