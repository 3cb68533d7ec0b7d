"""The stream contract: an ordered list of tasks, where they come from and the protocols they offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel

from benchmark.data.files import data_dir
from benchmark.data.findings import DataFaults, Finding
from benchmark.data.hub import HubSet
from benchmark.data.layouts import Layout
from benchmark.data.names import difference, folded
from benchmark.errors import UserError, unknown
from benchmark.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np

    from benchmark.data.mapped_rows import MappedImages

Kind = Literal["vector", "image", "text-classification", "text-to-text"]
Side = Literal["start", "end"]


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Attributes:
        inputs: `(n, d)` float32 vectors, `(n, height, width)` or `(n, height, width, 3)` uint8 images, such
            images in files, or n texts. Here and below, a sequence that is no list takes an index array.
        labels: `(n,)` int64, indices into the task's `classes`; None for text to text.
        references: accepted answers of each row, for text to text; None otherwise.
        ids: a name for each row, unique within a task.
    """

    inputs: np.ndarray | MappedImages | Sequence[str]
    labels: np.ndarray | None = None
    references: Sequence[list[str]] | None = None
    ids: Sequence[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray | list[int]) -> Examples:
        """Return the given rows, in the given order."""
        import numpy as np

        chosen = np.asarray(rows, np.int64)
        return Examples(
            _chosen(self.inputs, chosen),
            None if self.labels is None else self.labels[chosen],
            None if self.references is None else _chosen(self.references, chosen),
            _chosen(self.ids, chosen) if self.ids else [],
        )

    @property
    def texts(self) -> Sequence[str]:
        """The inputs where they are texts; none for vectors and images."""
        first = self.inputs[0] if len(self.inputs) else None
        return cast("Sequence[str]", self.inputs) if isinstance(first, str) else ()


def _chosen(values: Any, rows: np.ndarray) -> Any:
    return [values[row] for row in rows] if isinstance(values, (list, tuple)) else values[rows]


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
    holds some of `train` out. `metric` is one of `benchmark.scoring.task_metrics.NAMES`; None takes accuracy
    for a head, exact-match for label strings and rouge-l for other texts.
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
        checked: whether what read the rows tells what `problems` would, and classes without rows, and tells
            it with file and row, so that no report needs to tell it once more.
    """

    tasks: list[Task]
    origin: str
    class_order: list[int] | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checked: bool = False


@dataclass(frozen=True)
class Sources:
    """Where a stream's rows can come from, stated without reading any: what `bench data` lists and fetches.

    Attributes:
        bundled: the installed package that brings the rows, or "".
        layouts: forms of the data folder; the first that is there is read.
        hub: the data sets of the Hugging Face hub that are read where none of the layouts is there.
    """

    bundled: str = ""
    layouts: tuple[Layout, ...] = ()
    hub: tuple[HubSet, ...] = ()


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
        sources: where `load` looks for rows.
        published: values of these settings that a protocol goes with, by the protocol's name.
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
    sources: Sources = Sources()
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    from benchmark.data import outcomes

    if request.order not in stream.orders:
        raise unknown("order", request.order, stream.orders, "bench list streams")
    try:
        loaded = stream.load(replace(request, data_dir=data_dir(request.data_dir)))
    except DataFaults as faults:
        command = f"bench data verify {stream.name} --order {request.order}"
        raise DataFaults(faults.findings, faults.command or command) from None
    outcomes.check(stream.name, loaded.tasks)
    if request.protocol.head == "domain-incremental":
        _check_domains(stream.name, loaded.tasks)
    return replace(loaded, tasks=outcomes.prepare(loaded.tasks, request.protocol, request.seed))


def check(name: str, tasks: list[Task]) -> None:
    """Check what every stream must deliver.

    Raises:
        UserError: the first of `problems`.
    """
    for problem in problems(tasks):
        raise UserError(f"the stream '{name}': {problem.line}")


def problems(tasks: list[Task]) -> Iterator[Finding]:
    """Yield what no stream may deliver, cheap enough to look for before every run.

    No tasks or two of one name; in a task an empty train or test split, or two classes whose names are equal
    or differ only by case; in a split parts of different length, a label outside the classes, a row without
    an accepted answer, or an id twice.
    """
    if not tasks:
        yield Finding("there are no tasks")
    for name in repeated([task.name for task in tasks]):
        yield Finding("two tasks of one name", name)
    for task in tasks:
        yield from _class_problems(task)
        splits = {"train": task.train, "validation": task.validation, "test": task.test}
        for split, rows in splits.items():
            if rows is not None and len(rows):
                yield from _row_problems(task, split, rows)
            elif split != "validation":
                yield Finding(f"no {split} rows", task.name, split)


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


def repeated(names: Sequence[str]) -> dict[str, list[int]]:
    """Return each name that occurs more than once, with its places, counted from 1."""
    import numpy as np

    # Eight bytes a name, not the names themselves, while they all differ.
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return {}
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names, 1):
        places.setdefault(name, []).append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def _class_problems(task: Task) -> Iterator[Finding]:
    for name in repeated(list(task.classes)):
        yield Finding(f"two classes of one name, '{name}'", task.name)
    for name in task.classes:
        if not isinstance(name, str):
            yield Finding(f"the class {name!r} is no text; read labels as text", task.name)
            return
    different = list(dict.fromkeys(task.classes))
    for places in repeated([folded(name) for name in different]).values():
        alike = [different[place - 1] for place in places]
        names = " and ".join(f"'{name}'" for name in alike)
        yield Finding(f"the classes {names} differ only by {difference(*alike[:2])}", task.name)


def parts_agree(rows: Examples) -> bool:
    """Return whether labels, references and ids are as many as the inputs, as far as there are any."""
    parts = [part for part in (rows.labels, rows.references, rows.ids or None) if part is not None]
    return all(len(part) == len(rows) for part in parts)


def _row_problems(task: Task, split: str, rows: Examples) -> Iterator[Finding]:
    if not parts_agree(rows):
        yield Finding("inputs, labels, references and ids differ in number", task.name, split)
    if not task.classes and rows.references is None:
        yield Finding("a task without classes needs references", task.name, split)
    if task.classes and rows.labels is None:
        yield Finding(f"every row needs a label from 0 to {len(task.classes) - 1}", task.name, split)
    if task.classes and rows.labels is not None:
        wrong = ((rows.labels < 0) | (rows.labels >= len(task.classes))).nonzero()[0]
        for row in wrong:
            message = f"row {row + 1} has no label from 0 to {len(task.classes) - 1}: {rows.labels[row]}"
            yield Finding(message, task.name, split, (int(row) + 1,))
    for place, accepted in enumerate(rows.references or [], 1):
        if not accepted:
            yield Finding(f"row {place} has no reference", task.name, split, (place,))
    for name, places in repeated(rows.ids).items():
        message = f"rows {', '.join(map(str, places))} have the same id '{name}'"
        yield Finding(message, task.name, split, tuple(places))
