"""Executes one run: claims it, loads its data, learns it, and tidies up behind it."""

from __future__ import annotations

import glob
import json
import os
import shutil
import traceback
from contextlib import suppress
from pathlib import Path

from benchmark.data.files import describe_error
from benchmark.data.load import load as load_tasks
from benchmark.data.outcomes import fingerprint
from benchmark.errors import MachineError, UserError, refusal
from benchmark.results import read
from benchmark.running.catalogue import load_stream
from benchmark.running.data_index import DataIndex
from benchmark.running.event_log import EventLog
from benchmark.running.events import Callback, Event, RunDone, RunStarted, TaskDone
from benchmark.running.job import Job, Outcome, Refusal, skip_complete
from benchmark.running.run import Run
from benchmark.running.sweep_folder import HISTORIES, SweepFolder
from benchmark.settings import refine
from benchmark.stream import LoadedStream, Request


class Stopped(BaseException):
    """The user asked to stop, and the run has just saved a task."""


def run_job(job: Job, callback: Callback) -> Outcome:
    """Claim and execute a run; a failure becomes an outcome, so that the other runs go on."""
    run, folder = job.run, SweepFolder(job.out)
    log = EventLog(folder.log(run))
    begun = False

    def report(event: Event) -> None:
        nonlocal begun
        if isinstance(event, RunStarted):
            begun = True
            folder.note_begun(run)
        log(event)
        callback(event)
        # After the last task nothing is left to do but to write the result.
        if isinstance(event, TaskDone) and event.task + 1 < event.task_count and stop_asked(job):
            raise Stopped

    if stop_asked(job):
        return Outcome(run, stopped=True)
    try:
        with folder.claim(run) as ours:
            if not ours:
                return Outcome(run, elsewhere=True)
            outcome = _run_claimed(job, report)
            if outcome.skipped:
                return outcome
            if outcome.state == "complete":
                folder.forget_failure(run)
            elif outcome.state == "failed" and begun and not outcome.machine:
                # What fails before it begins costs nothing to try again, such as data that is not there.
                folder.note_failure(run, str(outcome.error))
            log(RunDone(run, outcome))
            return outcome
    except UserError as error:
        return _report_failure(run, error)


def _report_failure(run: Run, error: UserError) -> Outcome:
    """Return what came of a run that one line says something of."""
    machine: Refusal = ""
    if isinstance(error, MachineError):
        machine = "memory" if error.memory else "disk"
    return Outcome(run, error=" ".join(str(error).split()), machine=machine)


def stop_asked(job: Job) -> bool:
    """Whether the user wants the sweep to end."""
    return job.conditions.stop is not None and job.conditions.stop.exists()


def debugging() -> bool:
    """Whether the user wants errors with their tracebacks."""
    return os.environ.get("BENCH_DEBUG") == "1"


def _run_claimed(job: Job, report: Callback) -> Outcome:
    run, index = job.run, DataIndex(job.out, job.data_dir)
    try:
        loaded, print_of_data = load_data(run, job.data_dir)
        index.note(run, print_of_data, loaded)
        path = run.path(job.out, print_of_data)
        others = of_other_data(run, path)
        if job.fresh:
            for old in (path, *others):
                clear(old)
        elif others and not path.exists():
            raise UserError(
                f"{others[0]} has the same settings and other data, of the fingerprint "
                f"{read_origin(others[0])[1]}, not {print_of_data}: the rows have changed since, or come "
                "from another place; bring the old ones back, choose another folder with --out, or pass "
                "--fresh to replace it"
            )
        if path.exists():
            outcome = skip_complete(run, path)
            tidy(path)
            return outcome
        from benchmark.running.learner import Learner

        gpus = job.conditions.whole_gpus
        shared = SweepFolder(job.out).root / HISTORIES if job.conditions.share and not job.fresh else None
        Learner(run, loaded, print_of_data, path, job.device, report, gpus, shared).learn_all()
        tidy(path)
        return Outcome(run, path)
    except Stopped:
        return Outcome(run, stopped=True)
    except UserError as error:
        return _report_failure(run, error)
    except Exception as error:
        if debugging():
            raise
        if (refused := refusal(error)) is not None:
            return _report_failure(run, refused)
        return Outcome(run, error=f"{describe_error(error)}{_place_of(error)} (BENCH_DEBUG=1 shows all)")


def _place_of(error: Exception) -> str:
    """Return where an error arose, in the last file that no installed package brought; "" without one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    return f", in {own[-1].filename}, line {own[-1].lineno}" if own else ""


def load_data(run: Run, data_dir: Path | None) -> tuple[LoadedStream, str]:
    """Load a run's tasks and return them with their fingerprint.

    Raises:
        UserError: the stream, its settings or its data cannot be used.
    """
    stream = load_stream(run.stream_reference)
    parameters = refine(stream.parameters, run.parameters, {}, run.stream) if stream.parameters else None
    request = Request(run.order, run.seed, run.protocol, data_dir, parameters)
    loaded = load_tasks(stream, request)
    return loaded, fingerprint(loaded.tasks)


def of_other_data(run: Run, path: Path) -> list[Path]:
    """Return results and unfinished work beside a run's path that have its settings but other data.

    They would otherwise be left lying as a second result of the same run, and no table could hold both.
    """
    stem = path.stem.rpartition("-")[0]
    found = []
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}-????????.*")):
        if other.stem != path.stem and other.suffix in (".json", ".partial"):
            with suppress(UserError):  # what cannot be read is no run's, and is refused by who reads it
                key, fingerprint = read_origin(other)
                if key == run.key(fingerprint):
                    found.append(other)
    return found


def read_origin(path: Path) -> tuple[str, str]:
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
        raise UserError(f"cannot read {path / 'progress.json'}: {describe_error(error)}") from None


def clear(path: Path) -> None:
    """Delete a run's result, adapters and unfinished work; any of them names the run."""
    path.with_suffix(".json").unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)
    tidy(path)


def tidy(path: Path) -> None:
    """Delete what killed processes left beside a run's result: unfinished work and half-written files."""
    shutil.rmtree(path.with_suffix(".partial"), ignore_errors=True)
    for stray in path.parent.glob(f".{glob.escape(path.stem)}.*.tmp"):
        stray.unlink(missing_ok=True)
