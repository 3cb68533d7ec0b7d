"""The stream contract: an ordered list of tasks, where they come from and the protocols they offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel

from benchmark.errors import UserError
from benchmark.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np

    from benchmark.data.hub import HubSet
    from benchmark.data.layouts import Layout
    from benchmark.data.mapped_rows import MappedImages

StreamKind = Literal["vector", "image", "text-classification", "text-to-text"]
Side = Literal["start", "end"]
LEARNED_BY: dict[str, tuple[str, ...]] = {
    "vector": ("vector",),
    "image": ("image",),
    "text-classification": ("encoder", "seq2seq", "causal"),
    "text-to-text": ("seq2seq", "causal"),
}
"""The kinds of backbone that learn a kind of stream: an encoder by a head, a language model by answers."""


def require_learner(stream: str, kind: StreamKind, backbone: str, backbone_kind: str) -> None:
    """Refuse a backbone that cannot learn a kind of stream.

    Raises:
        UserError: it cannot.
    """
    if backbone_kind not in LEARNED_BY[kind]:
        raise UserError(
            f"the stream '{stream}' is {kind}, which a backbone of kind {backbone_kind} ('{backbone}') "
            f"cannot learn; it takes: {', '.join(LEARNED_BY[kind])} (see: bench list backbones)"
        )


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
            _choose_rows(self.inputs, chosen),
            None if self.labels is None else self.labels[chosen],
            None if self.references is None else _choose_rows(self.references, chosen),
            _choose_rows(self.ids, chosen) if self.ids else [],
        )

    @property
    def texts(self) -> Sequence[str]:
        """The inputs where they are texts; none for vectors and images."""
        first = self.inputs[0] if len(self.inputs) else None
        return cast("Sequence[str]", self.inputs) if isinstance(first, str) else ()


def _choose_rows(values: Any, rows: np.ndarray) -> Any:
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

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits that the task has, by name."""
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: rows for split, rows in given.items() if rows is not None}


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
        checked: whether what read the rows reports what `validation_errors` would, and classes without rows,
            with file and row, so that no report needs to say it once more.
        needs_adapter: by task, whether it needs an adapter of its own, where the stream is made so that this
            is known; empty elsewhere.
    """

    tasks: list[Task]
    origin: str
    class_order: list[int] | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checked: bool = False
    needs_adapter: tuple[bool, ...] = ()


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
class StatedTask:
    """What is known of a task without reading a row.

    Attributes:
        train: rows to train and validate on, before any limit; None where only the data show it.
        test: test rows, before any limit; None where only the data show it.
    """

    name: str
    classes: tuple[str, ...]
    train: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Stream:
    """A stream's metadata and how its tasks are made; a file under `tasks/` defines one as `STREAM`.

    Attributes:
        kind: what an input is; decides which backbones can learn the stream.
        orders: name of an order to its value: task names, or the seed of a class permutation.
        protocols: named budgets; the first is the default. All have one called `smoke`.
        load: makes the tasks; called once per run, heavy imports inside.
        parameters: a pydantic model of the stream's own settings (`--set`), or None.
        aliases: other papers' names for orders, each with the order it stands for; a result holds the order.
        sources: where `load` looks for rows.
        published: values of these settings that a protocol goes with, by the protocol's name.
        stated: returns the tasks of an order under the stream's own settings, as far as they are known
            without data; results are held against them. None where only the data show it.
        write_sample: where published results stand on a sample of a larger set: takes the data folder of the
            whole set, or None for the hub, writes the sample into another one and returns the file; what it
            does is reported line by line.
    """

    name: str
    title: str
    kind: StreamKind
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
    stated: Callable[[str, Mapping[str, Any]], Sequence[StatedTask]] | None = None
    write_sample: Callable[[Path | None, Path, Callable[[str], None]], Path] | None = None

    @property
    def default_order(self) -> str:
        """The first order named."""
        return next(iter(self.orders))

    @property
    def default_protocol(self) -> str:
        """The first protocol named."""
        return next(iter(self.protocols))

    def run_index(self, order: str, seed: int) -> int | None:
        """Return i where these are the order and the seed of run i: the i-th order, and seed i."""
        orders = list(self.orders)
        return seed if seed < len(orders) and orders[seed] == order else None


def protocols(*listed: Protocol) -> dict[str, Protocol]:
    """Key protocols by their own names, keeping their order."""
    return {protocol.name: protocol for protocol in listed}
