"""The result of one cell: its published schema, and how it is written, read and refused."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError
from benchmark.machine import unwritable
from benchmark.printable import control_character

SCHEMA = 1


class Part(BaseModel):
    """A block of a result; unknown keys, which may be typing slips, and NaN are refused."""

    # Left alone, pydantic would write a NaN inside a free-form block as null, which means "not measured".
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class TaskFacts(Part):
    """One task as it was used."""

    name: str
    classes: list[str]
    train: int = Field(description="rows trained on")
    validation: int
    test: int = Field(ge=1, description="rows behind each score of this task, n_i")
    metric: str = Field(
        pattern=r"^[\w.-]+$", description="a name of benchmark.scoring.task_metrics; scores lie in 0..1"
    )


class Parameters(Part):
    """Counts of numbers, not bytes, unless the name says bytes. Lists have one entry per task."""

    trainable: list[int] = Field(description="adapter numbers under an optimiser while task t was learned")
    head_trainable: list[int] = Field(description="the same for the classification head")
    stored: int = Field(description="adapter numbers kept on disk after the last task")
    resident: int = Field(description="adapter numbers in memory while predicting")
    head: int = Field(description="numbers in the head")
    backbone: int = Field(description="frozen numbers, without any pretraining head")
    auxiliary_bytes: int = Field(description="state kept between tasks beside adapters and head")
    adapters: list[int] = Field(
        description="adapters learned up to and with task t: pairs, prompts or components, those dropped or "
        "merged since, and those a method chose not to learn, among them"
    )
    active_adapters: list[int] = Field(description="adapters whose removal can change a prediction, after t")
    active_adapter_reduction: float | None = Field(
        description="1 - active / adapters after the last task; none where tasks add no adapters. Results of "
        "earlier versions state 1 - active / T; tables go by `Result.reduction`"
    )
    passes_per_prediction: float = 1.0


class Tuned(Part):
    """How a method's hyper-parameters were chosen: a search whose trials were scored as runs are."""

    trials: int = Field(description="points tried, those that were ended early among them")
    sampler: str
    pruner: str
    selection: Literal["validation", "paper"] = Field(description="rows that decided; paper: TEST rows")
    space: dict[str, Any] = Field(description="by name: a list of values, or the ends of a span")
    values: dict[str, Any] = Field(description="the chosen point")

    @property
    def mark(self) -> str:
        """What stands beside the method wherever its numbers do."""
        count = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return f"tuned, {count}" + (" on TEST rows" if self.selection == "paper" else "")


class Provenance(Part):
    """What a reader needs to run the cell again."""

    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    data_origin: str
    data_fingerprint: str
    data_revisions: dict[str, str]
    backbone_origin: str
    backbone_revision: str | None
    device: str
    threads: int
    dtype: str
    class_order: list[int] | None
    task_order: list[str]
    tuned: Tuned | None = Field(None, description="none: the values are the suite's, or were given")


class Timing(Part):
    """The only block that may differ between two runs of one cell. Lists have one entry per task."""

    finished: str = Field(description="UTC, ISO 8601")
    total_seconds: float
    train_seconds: list[float]
    score_seconds: list[float]
    samples_per_second: list[float]
    peak_memory_bytes: int


class Result(Part):
    """One complete cell. `matrix[t][i]` is the score on task i after task t; null where not measured."""

    schema_version: int = SCHEMA
    key: str = Field(description="hash of the resolved configuration, the data and the schema")
    method: str
    stream: str
    order: str
    seed: int
    backbone: str
    protocol: str
    config: dict[str, Any] = Field(description="resolved protocol, hyperparameters and stream parameters")
    needs: dict[str, bool] = Field(description="task_id, old_data, statistics, test_batch: what is asked for")
    bound: bool = Field(description="a reference row, not a competitor")
    tasks: list[TaskFacts]
    matrix: list[list[float | None]]
    untrained: list[float | None] | None = Field(
        None, description="score on each task before the first was learned; none: not a --zero-shot run"
    )
    headline: dict[str, float | None]
    parameters: Parameters
    steps: list[int] = Field(description="optimiser steps while task t was learned")
    report: list[dict[str, Any]] = Field(description="what the method tells about each task")
    provenance: Provenance
    timing: Timing

    @property
    def name(self) -> str:
        """A short name of the cell for titles and messages; two results may share it."""
        return f"{self.method} on {self.stream}, order {self.order}, seed {self.seed}"

    @property
    def active_adapters(self) -> list[int]:
        """Adapters whose removal can change a prediction, after each task.

        Where the task is given each adapter answers for its own task. Earlier versions counted there the one
        that takes part in a single prediction.
        """
        counts = self.parameters
        return counts.adapters if self.needs.get("task_id") else counts.active_adapters

    @property
    def reduction(self) -> float | None:
        """The active-adapter reduction, 1 - active / adapters learned, after the last task.

        None where tasks add no adapters, since there is nothing of which fewer could be active.
        """
        return active_adapter_reduction(self.parameters.adapters, self.active_adapters)

    @model_validator(mode="after")
    def _square_matrix_of_shares(self) -> Result:
        tasks = len(self.tasks)
        if not tasks or len(self.matrix) != tasks or any(len(row) != tasks for row in self.matrix):
            raise ValueError(f"the matrix of {tasks} tasks needs {tasks} rows of {tasks} cells")
        if any(cell is not None and not 0 <= cell <= 1 for row in self.matrix for cell in row):
            raise ValueError("a score of the matrix lies outside 0..1")
        if self.untrained is not None and len(self.untrained) != tasks:
            raise ValueError(f"{len(self.untrained)} scores of the untrained model for {tasks} tasks")
        return self


def active_adapter_reduction(adapters: Sequence[int], active: Sequence[int]) -> float | None:
    """Return 1 - active / adapters after the last task; None where the adapters learned do not grow.

    Args:
        adapters: learned up to and with each task; a step that learned nothing leaves the count at 0.
        active: those whose removal can change a prediction, after each task.
    """
    grows = len({count for count in adapters if count}) > 1
    return 1 - active[-1] / adapters[-1] if grows and active else None


def atomic_write(path: Path, data: bytes) -> None:
    """Write so that a reader, or a crash, sees the old file or the whole new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, error) from None


def to_json(value: Any) -> bytes:
    """Return the one byte form of a JSON value used everywhere: sorted keys, no NaN, a closing newline."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def write(result: Result, path: Path) -> None:
    """Write a result atomically.

    Raises:
        UserError: the file cannot be written, or the result holds NaN or an infinite number.
    """
    try:
        data = to_json(result.model_dump(mode="json"))
    except ValueError as error:
        raise UserError(f"the result for {path} holds what JSON cannot: {error}") from None
    atomic_write(path, data)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read(path: Path) -> Result:
    """Read and validate a result.

    Raises:
        UserError: the file is missing, cut short, of another schema or not a result.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        data = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():
            json.dumps(data, ensure_ascii=False).encode()  # half of a pair could be read and never written
    except FileNotFoundError:
        raise UserError(f"no result at {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path} is not complete JSON: cut in half, or not a result file") from None
    except UnicodeEncodeError:
        raise UserError(f"{path} is not a valid result: it holds half a character (\\ud...)") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a valid result: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if mark := control_character(data):
        raise UserError(f"{path} is not a valid result: it holds the control character {mark}")
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA:
        raise UserError(f"{path} has result schema {version!r}, this version reads schema {SCHEMA}")
    try:
        return Result.model_validate(data, strict=True)  # neither "0" nor true is a seed
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "result"
        raise UserError(f"{path} is not a valid result: {where}: {first['msg']}") from None
