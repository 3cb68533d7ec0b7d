"""The result of one run: its published schema, and how it is written, read and refused.

Schema 2. Scores stand in `readings`: every stage of a run is read in three ways, see `READINGS`, each with a
ragged matrix and the packed score of every test row, whose mean each cell of the matrix is
(`benchmark.row_scores`). `Result.matrix_of` gives a reading's matrix, `benchmark.scoring.metrics.numbers` its
metrics. What adapters and passes count as has a version of its own, `ACCOUNTING`. Schema 1 is not read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark import row_scores
from benchmark.errors import UserError, first_of, unwritable
from benchmark.printable import control_character_of_json
from benchmark.space import Objective

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 2
ACCOUNTING = 2
"""Version of the definitions behind `Parameters` and `forward_equivalents`; unlike ones share no table.

2: an adapter is what is learned as one piece and could be taken away as one; one is active if its removal can
change the prediction of some row; forward-equivalents as `benchmark.models.forward_equivalents` defines them.
"""

TRAINED_HEAD, CLASS_MEANS, TASK_INCREMENTAL = "trained_head", "class_means", "task_incremental"
READINGS = {
    TRAINED_HEAD: "what the method answers under the protocol: its trained head, own classifier or text",
    CLASS_MEANS: "nearest class mean, by cosine, of the final features of up to 20 training rows a "
    "class, which the evaluator reads again after every stage; the method need not keep them",
    TASK_INCREMENTAL: "the task id is given: classes of other tasks are masked",
}
"""Three readings of one model; the first decides where only one is shown."""


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
    on_disk: int = Field(description="adapter parameters kept on disk after the last task")
    in_memory: int = Field(description="adapter parameters in memory while predicting")
    head: int = Field(description="numbers in the head")
    backbone: int = Field(description="frozen numbers, without any pretraining head")
    auxiliary_bytes: int = Field(description="state kept between tasks beside adapters and head")
    adapters: list[int] = Field(
        description="adapters learned up to and with task t: LoRA adapters, prompts or components, those "
        "dropped or merged since, and those a method chose not to learn, among them"
    )
    active_adapters: list[int] = Field(description="adapters whose removal can change a prediction, after t")
    active_adapter_reduction: float | None = Field(
        description="1 - active / adapters after the last task; none where tasks add no adapters"
    )
    passes_per_prediction: float = Field(1.0, description="forward passes of the backbone for one prediction")


class Reading(Part):
    """One way to read the model after every stage.

    Row t holds the scores on tasks 0 to t, on later ones too with zero-shot; it is empty where stage t was
    not scored. A cell is null where it was not asked for. `rows` has the packed row scores of each cell, ""
    for null, see `benchmark.row_scores`.
    """

    matrix: list[list[float | None]] = Field(default_factory=list)
    rows: list[list[str]] = Field(default_factory=list)
    blank: str | None = Field(default=None, description="why this reading does not exist; none: it does")


class Tuned(Part):
    """How a method's hyper-parameters were chosen: a search whose trials were scored as runs are."""

    trials: int = Field(description="points tried, those that were ended early among them")
    sampler: str
    pruner: str
    selection: Literal["validation", "paper"] = Field(description="rows that decided; paper: TEST rows")
    space: dict[str, Any] = Field(description="by name: a list of values, or the ends of a span")
    values: dict[str, Any] = Field(description="the chosen point")
    objective: Objective = Field("average_performance", description="what was to be as high as possible")
    tuned_on: list[str] = Field(default_factory=list, description="orders and seeds of the trials, 'A/0'")
    record: str | None = Field(
        default=None, description="file that lists every trial; none: it was not published"
    )

    @property
    def mark(self) -> str:
        """What stands beside the method wherever its numbers do."""
        count = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return f"tuned, {count}" + (" on TEST rows" if self.selection == "paper" else "")


class Provenance(Part):
    """What a reader needs to run the run again."""

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
    method_sha256: str | None = Field(
        None, description="of the source files of the method's classes; none: not known"
    )
    tuned: Tuned | None = Field(None, description="none: the values are the suite's, or were given")


class Timing(Part):
    """The only block that may differ where a run is repeated. Lists have one entry per task."""

    finished: str = Field(description="UTC, ISO 8601")
    total_seconds: float
    train_seconds: list[float]
    score_seconds: list[float]
    samples_per_second: list[float]
    peak_memory_bytes: int


class Result(Part):
    """One complete run."""

    schema_version: int = SCHEMA
    accounting_version: int = ACCOUNTING
    key: str = Field(description="hash of the resolved configuration, the data and the schema")
    method: str
    stream: str
    order: str
    seed: int
    run: int | None = Field(
        None, description="i where order and seed are those of run i of the protocol: the i-th order, seed i"
    )
    backbone: str
    backbone_weights: str = Field("", description="SHA-256 of the frozen weights; empty: not known")
    protocol: str
    config: dict[str, Any] = Field(description="resolved protocol, hyperparameters and stream parameters")
    needs: dict[str, bool] = Field(
        description="asked for beyond the task's data: task_id (at inference), rehearsal (old rows), "
        "stored_statistics (of old classes), test_batch"
    )
    reference: bool = Field(description="a reference row, floor or ceiling, not a competitor")
    tasks: list[TaskFacts]
    needs_adapter: list[bool] = Field(
        default_factory=list,
        description="by task, whether it needs an adapter of its own; empty: the stream does not say",
    )
    readings: dict[str, Reading] = Field(description="by a name of `READINGS`")
    untrained: list[float | None] | None = Field(
        None, description="score on each task before the first was learned; none: not a --zero-shot run"
    )
    headline: dict[str, float | None] = Field(description="metrics of the first reading")
    parameters: Parameters
    steps: list[int] = Field(description="optimiser steps while task t was learned")
    forward_equivalents: list[float] = Field(
        default_factory=list, description="rows through the whole backbone, or as costly, to learn task t"
    )
    report: list[dict[str, Any]] = Field(
        description="what the method reports on each task; what is as it was before is left out"
    )
    adapters_sha256: str | None = Field(None, description="of the .safetensors file beside the result")
    provenance: Provenance
    timing: Timing

    @property
    def name(self) -> str:
        """A short name of the run for titles and messages; two results may share it."""
        return f"{self.method} on {self.stream}, order {self.order}, seed {self.seed}"

    @property
    def protocol_settings(self) -> dict[str, Any]:
        """What the protocol set, by name; empty where the configuration has no such block."""
        found = self.config.get("protocol")
        return found if isinstance(found, dict) else {}

    @property
    def matrix(self) -> list[list[float | None]]:
        """The score matrix of the first reading, see `matrix_of`."""
        return self.matrix_of(TRAINED_HEAD)

    def matrix_of(self, reading: str) -> list[list[float | None]]:
        """Return T rows of T cells: the score on task i after task t; None where it was not measured."""
        found, tasks = self.readings.get(reading, Reading()), len(self.tasks)
        rows = found.matrix or [[] for _ in range(tasks)]
        return [[*row, *[None] * (tasks - len(row))] for row in rows]

    def scores_of_rows(self, task: int) -> np.ndarray | None:
        """Return the scores `(n_i,)` of a task's test rows after the last; None where they were not kept."""
        packed = self.readings.get(TRAINED_HEAD, Reading()).rows[len(self.tasks) - 1 :]
        text = packed[0][task] if packed and task < len(packed[0]) else ""
        facts = self.tasks[task]
        return row_scores.unpack(text, facts.test, facts.metric) if text else None

    @property
    def active_adapters(self) -> list[int]:
        """Adapters whose removal can change a prediction, after each task.

        Where the task id is given each adapter answers for its own task.
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
    def _ragged_matrices_of_shares(self) -> Result:
        tasks = len(self.tasks)
        unknown = sorted(set(self.readings) - set(READINGS))
        others = ", ".join(list(READINGS)[1:])
        if unknown or TRAINED_HEAD not in self.readings:
            raise ValueError(f"readings must hold {TRAINED_HEAD} and may hold {others}")
        for name, reading in self.readings.items():
            if reading.blank and name != TRAINED_HEAD and not reading.matrix:
                continue
            rows = reading.matrix
            if not tasks or len(rows) != tasks or any(len(row) > tasks for row in rows):
                raise ValueError(f"the matrix of {tasks} tasks needs {tasks} rows of at most {tasks} cells")
            if any(cell is not None and not 0 <= cell <= 1 for row in rows for cell in row):
                raise ValueError("a score of the matrix lies outside 0..1")
        if self.untrained is not None and len(self.untrained) != tasks:
            raise ValueError(f"{len(self.untrained)} scores of the untrained model for {tasks} tasks")
        if self.needs_adapter and len(self.needs_adapter) != tasks:
            raise ValueError(f"needs_adapter holds {len(self.needs_adapter)} values for {tasks} tasks")
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
    """Return the one byte form of a JSON value used everywhere: sorted keys, no NaN, a closing newline.

    Blocks are indented; a list of plain values stands on one line, and so does each item of any other list,
    as each row of a matrix.
    """
    return (_indent(value, 0) + "\n").encode()


def _indent(value: Any, level: int) -> str:
    margin = "\n" + " " * (level + 1)
    if isinstance(value, dict) and value:
        entries = (f"{_on_one_line(name)}: {_indent(value[name], level + 1)}" for name in sorted(value))
        return "{" + margin + ("," + margin).join(entries) + "\n" + " " * level + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[" + margin + ("," + margin).join(map(_on_one_line, value)) + "\n" + " " * level + "]"
    return _on_one_line(value)


def _on_one_line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


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
    """Read and validate a result, of a file that holds one.

    Raises:
        UserError: the file is missing, cut short, of another schema or not a result.
    """
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a result file.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no result at {path}") from None
    except IsADirectoryError:
        raise UserError(f"cannot read {path}: it is a folder; give one result, a .json file") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def parse(data: bytes, where: str) -> Result:
    """Validate the JSON of one result; `where` says in messages what it was read from.

    Raises:
        UserError: it is cut short, of another schema or not a result.
    """
    try:
        text = data.decode("utf-8-sig")
        found = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():
            # Half of a surrogate pair could be read and never written.
            json.dumps(found, ensure_ascii=False).encode()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{where} is not complete JSON: cut in half, or not a result file") from None
    except UnicodeEncodeError:
        raise UserError(f"{where} is not a valid result: it holds half a character (\\ud...)") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not a valid result: {error}") from None
    if mark := control_character_of_json(text, found):
        raise UserError(f"{where} is not a valid result: it holds the control character {mark}")
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != SCHEMA:
        older = "; results of schema 1 are not migrated: run it again" if version == 1 else ""
        raise UserError(f"{where} has result schema {version!r}, this version reads schema {SCHEMA}{older}")
    try:
        return Result.model_validate(found, strict=True)  # neither "0" nor true is a seed
    except ValidationError as error:
        raise UserError(f"{where} is not a valid result: {first_of(error, 'result')}") from None
