"""What may stand in a file that describes a stream; `benchmark.data.stream_file` shows one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from benchmark.data.hub import HubSet
from benchmark.errors import hint
from benchmark.printable import control_character
from benchmark.scoring.task_metrics import NAMES

# Names become folders and parts of file names.
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?"
_HUB_PART = r"[A-Za-z0-9][\w-]*(?:\.[\w-]+)*"
AS_LISTED = "natural"


class TomlTable(BaseModel):
    """A table of the file; keys that it does not know are refused with the nearest one it does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _printable(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse control characters in what is shown; a prompt's words may hold line breaks."""
        if info.field_name not in ("instruction", "definition") and (mark := control_character(value)):
            raise ValueError(f"{info.field_name}: holds the control character {mark}")
        return value


class RowSource(TomlTable):
    """Where rows are read from: one file, a file a split, an image folder, or a set of the hub."""

    path: str | None = Field(None, description="a .csv, .tsv, .jsonl, .jsonl.gz or .parquet file")
    train: str | None = Field(None, description="a file as `path`, of training rows alone")
    validation: str | None = Field(None, description="the same for validation rows")
    test: str | None = Field(None, description="the same for test rows")
    folder: str | None = Field(None, description="images as <folder>/<split>/<class>/<file>")
    hub: str | None = Field(None, pattern=rf"^{_HUB_PART}/{_HUB_PART}$", description="owner/name")
    config: str | None = Field(None, pattern=rf"^{_HUB_PART}$", description="configuration of the hub's set")
    converted: bool = Field(False, description="read the hub's parquet conversion of a loading script")

    @property
    def files(self) -> dict[str, str]:
        """The files by split."""
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: path for split, path in given.items() if path is not None}

    @property
    def hub_set(self) -> HubSet | None:
        """The set of the hub, if that is the source."""
        return HubSet(self.hub, self.config, self.converted) if self.hub else None

    @model_validator(mode="after")
    def _one_place(self) -> RowSource:
        given = [bool(self.path), bool(self.files), bool(self.folder), bool(self.hub)]
        if sum(given) != 1:
            raise ValueError("needs one of: path; train and test; folder; hub")
        if self.files and not (self.train and self.test):
            raise ValueError("needs both train and test, where each split has a file of its own")
        return self


class Columns(TomlTable):
    """The columns that are read, by what they hold."""

    text: str | tuple[str, ...] | None = Field(
        None, description="the input; a list of columns makes one text of a line `<column>: <text>` for each"
    )
    label: str | None = Field(None, description="of the row's class: its name, or a value of `labels`")
    target: str | None = Field(None, description="the accepted answer, or a list of them")
    image: str | None = Field(None, description="encoded images, or paths relative to the table's file")
    id: str | None = Field(None, description="a name unique in its task; without: split and row")
    split: str | None = Field(None, description="train, validation or test; see `splits`")
    task: str | None = Field(None, description="the task's name, where one table holds several")

    @field_validator("text")
    @classmethod
    def _several_texts(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
            raise ValueError("text: a list names at least one column, and none twice")
        return value

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of the text, in order."""
        if self.text is None:
            return ()
        return (self.text,) if isinstance(self.text, str) else self.text


class RowsTable(TomlTable):
    """Rows, and what they mean."""

    source: RowSource
    columns: Columns = Columns.model_construct()
    splits: dict[Literal["train", "validation", "test"], str] = Field(
        default_factory=dict, description="what the source calls its splits"
    )
    test_share: float | None = Field(
        None, gt=0, lt=1, description="share of the rows sampled once for test, where the source has no split"
    )
    classes: tuple[str, ...] = Field((), description="class names in order; none: those of train, sorted")
    labels: dict[str, str] = Field(default_factory=dict, description="the source's values to class names")
    size: int | None = Field(None, ge=4, description="side of the square that images are scaled to, pixels")
    group: str = ""
    dataset: str = ""
    instruction: str = ""
    definition: str = ""
    metric: str | None = None

    @model_validator(mode="after")
    def _sound(self) -> RowsTable:
        if self.metric is not None and self.metric not in NAMES:
            raise ValueError(f"metric: '{self.metric}' is none of: {', '.join(NAMES)}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a name stands there twice")
        strange = sorted(set(self.labels.values()) - set(self.classes)) if self.classes else []
        if strange:
            raise ValueError(f"labels: '{strange[0]}' is none of the classes: {', '.join(self.classes)}")
        if self.test_share is not None and (self.columns.split or self.source.files or self.splits):
            raise ValueError("test_share is for a source without splits; take away it, or the splits")
        return self


class TaskTable(RowsTable):
    """The rows of one task."""

    name: str = Field(min_length=1)


class Cut(TomlTable):
    """How the classes of one table become tasks, in the order of the classes that an order names."""

    tasks: int | None = Field(None, ge=1)
    classes_per_task: int | None = Field(None, ge=1)
    first_classes: int | None = Field(
        None, ge=1, description="classes of the first task; none: as the others"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Cut:
        if (self.tasks is None) == (self.classes_per_task is None):
            raise ValueError("needs either tasks or classes_per_task")
        return self


class StreamFile(TomlTable):
    """The whole file."""

    name: str = Field(pattern=rf"^{NAME}$", description="letters, digits and dashes; not a listed stream's")
    title: str = Field(min_length=1)
    kind: Literal["text-classification", "text-to-text", "image"]
    licence: str = Field(min_length=1)
    citation: str = ""
    homepage: str = ""
    table: RowsTable | None = None
    tasks: tuple[TaskTable, ...] = ()
    cut: Cut | None = None
    orders: dict[str, Any] = Field(
        default_factory=dict, description="task names; or, with [cut], a seed; or 'natural'"
    )
    protocol: dict[str, dict[str, Any]] = Field(description="by name; one is called smoke")

    @property
    def parts(self) -> tuple[RowsTable, ...]:
        """The table, or the tasks."""
        return (self.table,) if self.table is not None else self.tasks

    @model_validator(mode="after")
    def _fits_together(self) -> StreamFile:
        if (self.table is None) == (not self.tasks):
            raise ValueError("needs either [table] or [[tasks]]")
        if self.table is not None and (self.table.columns.task is None) == (self.cut is None):
            raise ValueError("[table] needs either columns.task or [cut]")
        if self.tasks and self.cut is not None:
            raise ValueError("[cut] goes with [table], not with [[tasks]]")
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError("two [[tasks]] have the same name")
        for place, part in enumerate(self.parts):
            self._check_columns(part, f"tasks[{place}]" if self.tasks else "table")
        for name, value in self.orders.items():
            self._check_order(name, value, names)
        if "smoke" not in self.protocol:
            raise ValueError("needs a [protocol.smoke], with at least a backbone")
        return self

    def _check_columns(self, part: RowsTable, place: str) -> None:
        needed = {
            "text-classification": ("text", "label"),
            "text-to-text": ("text", "target"),
            "image": () if part.source.folder else ("image", "label"),
        }[self.kind]
        for name in needed:
            if getattr(part.columns, name) is None:
                raise ValueError(f"{place}.columns: a stream of kind {self.kind} needs '{name}'")
        if part.source.folder and self.kind != "image":
            raise ValueError(f"{place}.source: a folder holds images, and the kind is {self.kind}")
        if self.tasks and part.columns.task:
            raise ValueError(f"{place}.columns.task goes with [table], not with [[tasks]]")
        if self.cut is not None and self.kind == "text-to-text":
            raise ValueError("[cut] cuts classes, and a stream of kind text-to-text has none")

    def _check_order(self, name: str, value: Any, tasks: list[str]) -> None:
        if not re.fullmatch(NAME, name):
            raise ValueError(f"orders: '{name}' must consist of letters, digits and dashes")
        if value == AS_LISTED:
            return
        if self.cut is not None:
            if not (isinstance(value, int) and 0 <= value < 2**32):
                raise ValueError(f"orders.{name}: with [cut], an order is a seed or '{AS_LISTED}'")
            return
        if not (isinstance(value, list) and all(isinstance(task, str) for task in value)):
            raise ValueError(f"orders.{name}: an order is a list of task names or '{AS_LISTED}'")
        if tasks and (wrong := order_error(value, tasks)):
            raise ValueError(f"orders.{name}: {wrong}")


def order_error(order: Iterable[str], tasks: list[str]) -> str:
    """Return why an order is not a permutation of the tasks, or ""."""
    listed = list(order)
    for name in listed:
        if name not in tasks:
            return f"unknown task '{name}'{hint(name, tasks)}"
    missing = [name for name in tasks if name not in listed]
    if missing:
        return f"the task '{missing[0]}' is missing"
    return "a task stands there twice" if len(listed) > len(tasks) else ""


def source_of(part: RowsTable) -> str:
    """Return where a part's rows come from, as the file writes it."""
    source = part.source
    files = ", ".join(source.files.values())
    return source.path or files or source.folder or f"{source.hub} of the Hugging Face hub"
