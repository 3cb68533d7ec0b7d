"""The stream contract: an ordered list of tasks, where they come from and the protocols they offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from benchmark.data_files import data_dir
from benchmark.errors import UserError, unknown
from benchmark.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["vector", "image", "text-classification", "text-to-text"]
Side = Literal["start", "end"]


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Attributes:
        inputs: `(n, d)` float32 vectors, `(n, height, width)` or `(n, height, width, 3)` uint8 images, or n
            texts.
        labels: `(n,)` int64, indices into the task's `classes`; None for text to text.
        references: accepted answers of each row, for text to text; None otherwise.
        ids: a name for each row, unique within a task.
    """

    inputs: np.ndarray | list[str]
    labels: np.ndarray | None = None
    references: list[list[str]] | None = None
    ids: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray | list[int]) -> Examples:
        """Return the given rows, in the given order."""
        chosen = [int(row) for row in rows]
        inputs = [self.inputs[r] for r in chosen] if isinstance(self.inputs, list) else self.inputs[chosen]
        return Examples(
            inputs,
            None if self.labels is None else self.labels[chosen],
            None if self.references is None else [self.references[r] for r in chosen],
            [self.ids[r] for r in chosen] if self.ids else [],
        )


@dataclass(frozen=True)
class Wording:
    """What a text task says around its text; which parts are used is the protocol's `prompt`.

    `closing` follows the text. `cut` is the side of a long text that gives way: its end, or its start where
    what is asked for stands last.
    """

    group: str = ""
    dataset: str = ""
    instruction: str = ""
    definition: str = ""
    closing: str = ""
    cut: Side = "end"


@dataclass(frozen=True)
class Task:
    """One task: its rows, its classes by name, and the words around them.

    Classes of equal name in two tasks are one class: they share a row of the head and a label string.
    `classes` is empty for text to text. `validation` is None where the source has none; the engine then
    holds some of `train` out. `metric` is one of `benchmark.task_metrics.NAMES`; None takes accuracy for
    a head, exact-match for label strings and rouge-l for other texts.
    """

    name: str
    train: Examples
    test: Examples
    validation: Examples | None = None
    classes: tuple[str, ...] = ()
    wording: Wording = Wording()
    metric: str | None = None


@dataclass(frozen=True)
class Request:
    """What a stream is asked to load."""

    order: str
    seed: int
    protocol: Protocol
    data_dir: Path | None
    parameters: Any = None


@dataclass(frozen=True)
class LoadedStream:
    """The tasks in the order they are learned, and where their rows came from.

    Attributes:
        origin: one line for people: the folder's part or the hub.
        class_order: the source's class numbers in the order learned, for class-incremental streams.
        revisions: hub id to the commit that was read, where it could be resolved.
        notes: what was left out or rebuilt on loading, one line each.
    """

    tasks: list[Task]
    origin: str
    class_order: list[int] | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    """A stream's metadata and how its tasks are made; a file under `tasks/` defines one as `STREAM`.

    Attributes:
        kind: what an input is; decides which backbones can learn the stream.
        orders: name of an order to its value: task names, or the seed of a class permutation.
        protocols: named budgets; the first is the default. All have one called `quick`.
        load: makes the tasks; called once per cell, heavy imports inside.
        parameters: a pydantic model of the stream's own settings (`--set`), or None.
        aliases: other papers' names for orders, each with the order it stands for; a result holds the order.
    """

    name: str
    title: str
    kind: Kind
    licence: str
    citation: str
    homepage: str
    orders: Mapping[str, tuple[str, ...] | int | None]
    protocols: Mapping[str, Protocol]
    load: Callable[[Request], LoadedStream]
    parameters: type[BaseModel] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def default_order(self) -> str:
        """The first order named."""
        return next(iter(self.orders))

    @property
    def default_protocol(self) -> str:
        """The first protocol named."""
        return next(iter(self.protocols))


def protocols(*listed: Protocol) -> dict[str, Protocol]:
    """Key protocols by their own names, keeping their order."""
    return {protocol.name: protocol for protocol in listed}


def load(stream: Stream, request: Request) -> LoadedStream:
    """Load a stream, check its tasks and give each the rows that the protocol and the seed allow.

    Where the request names no data folder, the variable BENCH_DATA may.

    Raises:
        UserError: the order is not one of the stream's, a source is missing or faulty, or a task is
            malformed (`check`), or the data folder does not exist.
    """
    from benchmark.splits import prepare

    if request.order not in stream.orders:
        raise unknown("order", request.order, stream.orders, "bench list streams")
    loaded = stream.load(replace(request, data_dir=data_dir(request.data_dir)))
    check(stream.name, loaded.tasks)
    if request.protocol.head == "domain-incremental":
        _check_domains(stream.name, loaded.tasks)
    tasks = [prepare(task, request.protocol, request.seed) for task in loaded.tasks]
    return replace(loaded, tasks=tasks)


def check(name: str, tasks: list[Task]) -> None:
    """Check what every stream must deliver.

    Raises:
        UserError: no tasks, two of one name, an empty train or test split, two classes of one name in a
            task, a label outside the classes, or a split whose parts differ in length.
    """
    if not tasks:
        raise UserError(f"the stream '{name}' has no tasks")
    if len({task.name for task in tasks}) < len(tasks):
        raise UserError(f"the stream '{name}' has two tasks of one name")
    for task in tasks:
        where = f"the task '{task.name}' of the stream '{name}'"
        if len(set(task.classes)) < len(task.classes):
            raise UserError(f"{where} has two classes of one name")
        splits = {"train": task.train, "test": task.test, "validation": task.validation}
        for split, rows in splits.items():
            if rows is None:
                continue
            if len(rows) == 0 and split != "validation":
                raise UserError(f"{where} has no {split} rows")
            _check_rows(rows, len(task.classes), f"{where}, {split}")


def _check_domains(name: str, tasks: list[Task]) -> None:
    """Check that all tasks share their classes, as domains must."""
    shared = set(tasks[0].classes)
    for task in tasks:
        other = sorted(shared.symmetric_difference(task.classes))
        if other:
            raise UserError(
                f"the head domain-incremental needs the same classes in every task, but '{task.name}' and "
                f"'{tasks[0].name}' of the stream '{name}' differ in {', '.join(other[:3])}; use the head "
                "class-incremental or task-incremental"
            )


def _check_rows(rows: Examples, classes: int, where: str) -> None:
    parts = [part for part in (rows.labels, rows.references, rows.ids or None) if part is not None]
    if any(len(part) != len(rows) for part in parts):
        raise UserError(f"{where}: inputs, labels, references and ids differ in number")
    if classes == 0 and rows.references is None:
        raise UserError(f"{where}: a task without classes needs references")
    if classes and (rows.labels is None or ((rows.labels < 0) | (rows.labels >= classes)).any()):
        raise UserError(f"{where}: every row needs a label from 0 to {classes - 1}")
