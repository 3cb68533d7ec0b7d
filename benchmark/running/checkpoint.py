"""Unfinished work on disk: enough to continue a killed run at the task it was in, with the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from benchmark.errors import UserError
from benchmark.results import atomic_write, to_json


class TaskRecord(BaseModel):
    """What is known of a finished task.

    Attributes:
        scores: the row of the score matrix, one entry per task of the stream; None where not measured.
        readings: the row of every reading with its packed row scores, see `readings.pack_stage`.
        forward_equivalents: see `benchmark.models.forward_equivalents`.
        steps, trainable, head_trainable: see `benchmark.running.task_loop.LearnedTask`.
        adapters, active: see `benchmark.method.Accounting`.
        report: the method's report on the task.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    scores: list[float | None]
    readings: dict[str, dict[str, list[Any]]]
    forward_equivalents: float
    steps: int
    trainable: int
    head_trainable: int
    adapters: int
    active: int
    report: dict[str, Any]
    train_seconds: float
    score_seconds: float
    samples_per_second: float


class Progress(BaseModel):
    """What is known of a run after some of its tasks, in the order in which they were learned."""

    model_config = ConfigDict(extra="forbid")

    key: str
    fingerprint: str
    method_sha256: str | None = None  # see `benchmark.running.method_code`; None where it is not known
    tasks: list[TaskRecord] = Field(default_factory=list)
    blank: dict[str, str] = Field(default_factory=dict)  # readings that do not exist, with the reason
    untrained: list[float | None] | None = None
    state_sha256: str = ""

    @property
    def finished(self) -> int:
        """How many tasks are over."""
        return len(self.tasks)

    @property
    def matrix(self) -> list[list[float | None]]:
        """The rows of the score matrix so far."""
        return [task.scores for task in self.tasks]


def pack(state: Mapping[str, Tensor], key: str | None = None) -> bytes:
    """Return a method's state as safetensors bytes; equal states give equal bytes.

    Args:
        key: of the run that learned it, so that no other run's result takes it for its own.

    Raises:
        UserError: a number in it is NaN or infinite. Scores would not show it: NaN has a largest column too.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(
                f"the method left NaN or infinite numbers in '{name}'; a smaller learning rate may help "
                "(--set learning_rate=...)"
            )
    return save_tensors(tensors, None if key is None else {"run": key})


def read_state(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Read a method's state.

    Args:
        key: of the run that must have learned it; files without a key are taken on trust.

    Raises:
        UserError: the file is missing, is not whole, or is of another run.
    """
    try:
        with safe_open(path, "pt") as file:
            owner = (file.metadata() or {}).get("run", key)
        if owner != key:
            raise UserError(f"{path} holds the adapters of another run: run {owner}, the result is of {key}")
        state = load_tensors(path.read_bytes())
        for name in sorted(name for name, tensor in state.items() if not torch.isfinite(tensor).all()):
            raise UserError(f"{path} holds NaN or infinite numbers in '{name}', which no run leaves")
        return state
    except FileNotFoundError:
        raise UserError(f"no adapters at {path}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from None


def error_beside(path: Path, key: str, sha256: str | None) -> str | None:
    """Return what is wrong with the adapters beside a result; None where they are whole and its own.

    Args:
        sha256: of the adapters, as the result states it.
    """
    file = path.with_suffix(".safetensors")
    try:
        read_state(file, key)
        if sha256 is not None and hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            return f"{file.name} is not the file whose hash the result states"
    except UserError as error:
        return str(error)
    return None


def seed_for(*parts: object) -> int:
    """Return a seed that depends on every part and on nothing else.

    Each segment of a run is seeded by where it stands (seed, task, phase), never by what ran before it: a
    resumed run has no generator state to restore.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def reseed(*parts: object) -> torch.Generator:
    """Seed torch's global generators, and return one of our own for the order of rows."""
    seed = seed_for(*parts)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # The call above would keep the seed, and the stack it came from, for devices that are not there.
        torch.default_generator.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


class Checkpoint:
    """The folder beside a result that is not complete yet."""

    def __init__(self, result: Path) -> None:
        """Name the folder; nothing is made before the first save."""
        self.folder = result.with_suffix(".partial")

    def save(self, progress: Progress, state: bytes) -> None:
        """Write the state, then the progress that points to it: a crash between the two changes nothing."""
        name = f"after-task-{progress.finished}.safetensors"
        progress.state_sha256 = hashlib.sha256(state).hexdigest()
        atomic_write(self.folder / name, state)
        atomic_write(self.folder / "progress.json", to_json(progress.model_dump()))
        for old in self.folder.glob("after-task-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self, key: str, method_sha256: str | None = None) -> tuple[Progress, dict[str, Tensor]] | None:
        """Return what was saved for this very run, or None where there is nothing.

        Args:
            method_sha256: of the method's code that is to go on; None where that is not looked at.

        Raises:
            UserError: the folder belongs to another configuration, other data or other code of the method,
                or was damaged.
        """
        path = self.folder / "progress.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and "matrix" in content:
                raise UserError(f"{self.folder} was begun by an earlier version; --fresh starts the run over")
            progress = Progress.model_validate(content)
        except (ValueError, ValidationError):
            raise UserError(f"{path} is damaged; run again with --fresh to start this run over") from None
        if progress.key != key:
            raise UserError(f"{self.folder} was started with other settings or data; --fresh starts over")
        if None not in (progress.method_sha256, method_sha256) and progress.method_sha256 != method_sha256:
            raise UserError(
                f"{self.folder} was begun by other code of the method, and one run mixes no two; "
                "--fresh starts over"
            )
        state = self.folder / f"after-task-{progress.finished}.safetensors"
        data = state.read_bytes() if state.is_file() else b""
        if hashlib.sha256(data).hexdigest() != progress.state_sha256:
            raise UserError(f"{state} is missing or damaged; run again with --fresh to start this run over")
        return progress, load_tensors(data)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
