"""How redundant a method's adapters are: overlap of the adapters of every two tasks at every adapted layer.

Reads the adapters beside a result. Backbone and data are needed only for what the layers see of a task's rows
(`benchmark.analysis.task_inputs`), on which the effects of the adapters are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from benchmark.analysis.subspaces import (
    effect_residual,
    expected_overlap,
    expected_residual,
    overlap,
    random_effect_residual,
    residual,
    update,
)
from benchmark.errors import UserError
from benchmark.results import Result, read
from benchmark.text_table import text_table

Inputs = dict[int, dict[str, np.ndarray]]
"""By task index and layer name: what the layer sees of the task's rows, `(tokens, d_in)`."""

Adapters = dict[int, dict[str, tuple[np.ndarray, np.ndarray]]]
"""By task index and layer name: down (r, d_in) and up (d_out, r)."""


class NoAdapters(UserError):
    """A method's state holds no low-rank adapters, so there is nothing to compare."""


PREFIX, DOWN, UP = "stack.", ".frozen.lora_A", ".frozen.lora_B"


@dataclass(frozen=True)
class Overlap:
    """The adapters of two tasks at one layer.

    Attributes:
        rows, columns: mean squared cosine of the principal angles, None where an adapter is zero.
        rows_over_random, columns_over_random: the same over what random subspaces of these sizes have.
    """

    first: int
    second: int
    layer: str
    rows: float | None
    columns: float | None
    rows_over_random: float | None
    columns_over_random: float | None


@dataclass(frozen=True)
class Shape:
    """The adapter of one task at one layer.

    Attributes:
        residual: relative residual of its fit by the adapters of earlier tasks; None for the first one.
        effect_residual: the same of what the adapter adds to the layer's outputs on rows of its task; None
            for the first one and where no inputs are given.
        residual_random, effect_residual_random: the same where random adapters take the place of the earlier.
    """

    task: int
    layer: str
    rank: int
    effective_rank: float
    stable_rank: float
    residual: float | None
    effect_residual: float | None
    residual_random: float | None
    effect_residual_random: float | None


@dataclass(frozen=True)
class Redundancy:
    """Everything about one result's adapters; tasks are counted from 0."""

    result: Result
    tasks: tuple[int, ...]
    overlaps: tuple[Overlap, ...]
    shapes: tuple[Shape, ...]

    @property
    def has_effects(self) -> bool:
        """Whether effects were fitted, which needs inputs and two adapters."""
        return any(each.effect_residual is not None for each in self.shapes)

    def matrix(self, side: str) -> np.ndarray:
        """Return the overlaps of every two tasks ("rows" or "columns"), a mean over layers; NaN for none."""
        places = {task: place for place, task in enumerate(self.tasks)}
        table = np.eye(len(self.tasks))
        for first, second in _couples(self.tasks):
            value = self.mean(first, second, side)
            table[places[first], places[second]] = np.nan if value is None else value
            table[places[second], places[first]] = table[places[first], places[second]]
        return table

    def mean(self, first: int, second: int, name: str) -> float | None:
        """Return a number of two tasks' adapters, mean over the layers that have it."""
        found = [
            getattr(each, name) for each in self.overlaps if (each.first, each.second) == (first, second)
        ]
        return _mean(found)

    def shape(self, task: int, name: str) -> float | None:
        """Return a number of one task's adapter, mean over the layers that have it."""
        return _mean([getattr(each, name) for each in self.shapes if each.task == task])

    def to_earlier(self, task: int, name: str) -> float | None:
        """Return a number of a task's adapter and each earlier one, mean over them and the layers."""
        return _mean([getattr(each, name) for each in self.overlaps if each.second == task])

    def as_data(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return {
            "key": self.result.key,
            "method": self.result.method,
            "stream": self.result.stream,
            "order": self.result.order,
            "seed": self.result.seed,
            "tasks_with_an_adapter": list(self.tasks),
            "overlaps": [asdict(each) for each in self.overlaps],
            "shapes": [asdict(each) for each in self.shapes],
        }


def read_adapters(path: Path) -> tuple[Result, Adapters]:
    """Return a result and the adapters beside it.

    Raises:
        NoAdapters: the method keeps no adapter for each task.
        UserError: result or adapters cannot be read.
    """
    from benchmark.running.checkpoint import read_state

    result = read(path)
    state = read_state(path.with_suffix(".safetensors"), result.key)
    return result, adapters_of({name: tensor.double().numpy() for name, tensor in state.items()}, result)


def adapters_of(state: Mapping[str, np.ndarray], result: Result) -> Adapters:
    """Return the adapters that a method's state holds, see `benchmark.lora.stack.AdapterStack.state`.

    Raises:
        NoAdapters: it holds no adapter stack.
    """
    if f"{PREFIX}frozen_tasks" not in state:
        raise NoAdapters(f"{result.method} keeps no low-rank adapters: there is nothing to compare")
    layers = [
        name[len(PREFIX) : -len(DOWN)] for name in state if name.startswith(PREFIX) and name.endswith(DOWN)
    ]
    ends = np.cumsum(state[f"{PREFIX}frozen_ranks"]).astype(int)
    adapters: Adapters = {}
    for task, start, end in zip(
        state[f"{PREFIX}frozen_tasks"].astype(int), [0, *ends][:-1], ends, strict=True
    ):
        own = slice(start, end)
        adapters[int(task)] = {
            layer: (state[PREFIX + layer + DOWN][own], state[PREFIX + layer + UP][:, own]) for layer in layers
        }
    current = int(state[f"{PREFIX}current_task"])
    if current >= 0:
        adapters[current] = {
            layer: (state[f"{PREFIX}{layer}.lora_A"], state[f"{PREFIX}{layer}.lora_B"]) for layer in layers
        }
    return dict(sorted(adapters.items()))


def of_adapters(result: Result, adapters: Adapters, inputs: Inputs | None = None) -> Redundancy:
    """Return the redundancy of given adapters; each task has the same layers."""
    inputs = inputs or {}
    overlaps, shapes = [], []
    for place, layer in enumerate(next(iter(adapters.values()), {})):
        found = {task: update(*adapters[task][layer]) for task in adapters}
        for first, second in _couples(tuple(adapters)):
            one, other = found[first], found[second]
            rows, columns = overlap(one.rows, other.rows), overlap(one.columns, other.columns)
            overlaps.append(
                Overlap(
                    first,
                    second,
                    layer,
                    rows,
                    columns,
                    None if rows is None else rows / expected_overlap(one.rows, other.rows),
                    None if columns is None else columns / expected_overlap(one.columns, other.columns),
                )
            )
        for task, own in found.items():
            ranks = len(own.values), own.effective_rank, own.stable_rank
            earlier = [adapters[each][layer] for each in adapters if each < task]
            x = inputs.get(task, {}).get(layer)
            left = _residuals(adapters[task][layer], earlier, x, (task, place))
            shapes.append(Shape(task, layer, *ranks, *left))
    return Redundancy(result, tuple(adapters), tuple(overlaps), tuple(shapes))


def _residuals(
    adapter: tuple[np.ndarray, np.ndarray],
    earlier: list[tuple[np.ndarray, np.ndarray]],
    x: np.ndarray | None,
    seed: tuple[int, int],
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return the last four numbers of a `Shape`: the fit by earlier adapters, on inputs x if given."""
    if not earlier:
        return None, None, None, None
    of_update = residual(adapter, earlier), expected_residual(adapter, earlier)
    if x is None:
        return of_update[0], None, of_update[1], None
    of_effect = effect_residual(adapter, earlier, x), random_effect_residual(adapter, earlier, x, seed)
    return of_update[0], of_effect[0], of_update[1], of_effect[1]


def tables(found: Redundancy) -> str:
    """Return the overlaps of every two tasks and the shapes of every task's adapter, means over layers."""
    run = found.result
    layers = len({each.layer for each in found.shapes})
    head = f"{run.name}: adapters of {len(found.tasks)} of {len(run.tasks)} tasks at {layers} layers"
    if len(found.tasks) < 2:
        return f"{head}\nNothing to compare: the overlap of adapters needs two of them."
    shapes = [_shape(found, task) for task in found.tasks]
    return "\n\n".join([head, _render(couples(found)), _render(shapes)])


def couples(found: Redundancy) -> list[dict[str, str]]:
    """Return a row of texts for every two adapters: their overlaps, means over layers."""
    columns = (
        ("row overlap", "rows", 3),
        ("over random", "rows_over_random", 1),
        ("column overlap", "columns", 3),
        ("over random ", "columns_over_random", 1),
    )
    return [
        {"tasks": f"{first + 1}, {second + 1}"}
        | {title: format_number(found.mean(first, second, name), digits) for title, name, digits in columns}
        for first, second in _couples(found.tasks)
    ]


def _shape(found: Redundancy, task: int) -> dict[str, str]:
    columns = {
        "rank": ("rank", 1),
        "effective rank": ("effective_rank", 2),
        "stable rank": ("stable_rank", 2),
        "residual after fit by earlier": ("residual", 4),
        "by random": ("residual_random", 4),
    }
    if found.has_effects:
        columns["of its effect"] = ("effect_residual", 4)
        columns["by random "] = ("effect_residual_random", 4)
    numbers = {
        title: format_number(found.shape(task, name), digits) for title, (name, digits) in columns.items()
    }
    return {"task": str(task + 1)} | numbers


def _couples(tasks: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(first, second) for first in tasks for second in tasks if first < second]


def _mean(values: list[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None


def format_number(value: float | None, digits: int) -> str:
    """Return a number as text, blank where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def _render(records: list[dict[str, str]]) -> str:
    return text_table(pd.DataFrame(records), stralign="right")
