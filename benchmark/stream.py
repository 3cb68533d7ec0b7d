"""The stream contract: an ordered list of tasks, where they come from and the protocols they offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from benchmark.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["vector", "image", "text-classification", "text-to-text"]


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
    """What a text task says around its text; which parts are used is the protocol's `prompt`."""

    group: str = ""
    dataset: str = ""
    instruction: str = ""
    definition: str = ""


@dataclass(frozen=True)
class Task:
    """One task: its rows, its classes by name, and the words around them.

    Classes of equal name in two tasks are one class: they share a row of the head and a label string.
    `classes` is empty for text to text. `validation` is None where the source has none; the engine then
    holds some of `train` out.
    """

    name: str
    train: Examples
    test: Examples
    validation: Examples | None = None
    classes: tuple[str, ...] = ()
    wording: Wording = Wording()


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
    """The tasks in the order they are learned, and where their rows came from."""

    tasks: list[Task]
    origin: str
    class_order: list[int] | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """A stream's metadata and how its tasks are made; a file under `tasks/` defines one as `STREAM`.

    Attributes:
        kind: what an input is; decides which backbones can learn the stream.
        orders: name of an order to its value: task names, or the seed of a class permutation.
        protocols: named budgets; the first is the default. All have one called `quick`.
        load: makes the tasks; called once per cell, heavy imports inside.
        parameters: a pydantic model of the stream's own settings (`--set`), or None.
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
