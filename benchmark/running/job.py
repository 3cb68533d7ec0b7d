"""A run as it is handed to whoever runs it, under what conditions it runs, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmark.errors import UserError
from benchmark.results import Result, read
from benchmark.running.method_code import describe_change
from benchmark.running.run import Run
from benchmark.running.sweep_folder import process_name

Refusal = Literal["", "memory", "disk"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: a result, or one line that says why there is none.

    Attributes:
        elsewhere: another process works on the run.
        stopped: the user stopped the sweep before the run was complete.
        machine: what it refused, where that is the error; the same command goes on once it is to be had.
        note: what is wrong beside a result that was there before, such as adapters that are missing.
    """

    run: Run
    path: Path | None = None
    error: str | None = None
    skipped: bool = False
    elsewhere: bool = False
    stopped: bool = False
    machine: Refusal = ""
    note: str = ""

    @property
    def result(self) -> Result | None:
        """The result, read each time: who drives thousands of runs keeps none of theirs.

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


def skip_complete(run: Run, path: Path) -> Outcome:
    """Return the outcome of a run whose result is there, with what is wrong beside it.

    Raises:
        UserError: the result cannot be used; with what to do.
    """
    try:
        result = read(path)
    except UserError as error:
        raise UserError(f"{error}; --fresh runs it again") from None
    notes = [missing_adapters(path), describe_change(result)]
    return Outcome(run, path, skipped=True, note="; ".join(filter(None, notes)))


def missing_adapters(result: Path) -> str:
    """Return a line where the adapters beside a whole result are gone or cut; "" where they are there.

    Only the file's header and length are looked at: a plan may hold thousands of finished runs.
    """
    from safetensors import SafetensorError, safe_open

    path = result.with_suffix(".safetensors")
    try:
        with safe_open(path, "numpy"):
            return ""
    except FileNotFoundError:
        return f"no adapters at {path}"
    except (SafetensorError, OSError) as error:
        return f"{path} is not a whole safetensors file: {error}"


@dataclass(frozen=True)
class Conditions:
    """Under what conditions runs are executed; none of them can change a number.

    Attributes:
        retry: repeat runs that failed in an earlier sweep.
        timeout: most seconds that one run may take in one go; None: no limit.
        address: of a running Ray cluster; None: this machine.
        cpus, gpus: what one run takes of Ray's resources: a part of a GPU, or several whole ones, which its
            backbone is then spread over, with Ray or without.
        memory: bytes that Ray reserves for one run; None: none are counted.
        stop: once this file exists, no run goes on after the task it is in.
        share: read and keep what runs with equal histories learn, see `benchmark.running.histories`.
    """

    retry: bool = False
    timeout: float | None = None
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    stop: Path | None = None
    share: bool = False

    @property
    def whole_gpus(self) -> int:
        """How many GPUs one run computes on, at least 1."""
        return max(1, int(self.gpus))


USUAL = Conditions()


@dataclass(frozen=True)
class Job:
    """A run and where it is executed, in a form that another process can take.

    Attributes:
        sweep: what tells this sweep from others at work on the same folder.
    """

    run: Run
    out: Path
    data_dir: Path | None
    device: str
    fresh: bool
    conditions: Conditions = USUAL
    sweep: str = field(default_factory=process_name)


Outcomes = Iterator[tuple[int, Outcome]]
