"""Whether a result can be what a run wrote: its numbers, counts and key follow from what else it states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.running.cell import Cell
from benchmark.scoring.metrics import headline


def check_sound(result: Result, path: Path) -> None:
    """Check that nothing in a result contradicts the rest of it.

    Raises:
        UserError: something does, as after an edit by hand.
    """
    for fault in contradictions(result):
        raise UserError(f"{path}: {fault}")


def contradictions(result: Result) -> Iterator[str]:
    """Yield everything in a result that does not follow from the rest of it."""
    for check in (_lengths, _numbers, _key):
        yield from check(result)


def _lengths(result: Result) -> Iterator[str]:
    counts, seconds, tasks = result.parameters, result.timing, len(result.tasks)
    lists: dict[str, Sequence[object]] = {
        "steps": result.steps,
        "parameters.trainable": counts.trainable,
        "parameters.adapters": counts.adapters,
        "parameters.active_adapters": counts.active_adapters,
        "timing.train_seconds": seconds.train_seconds,
        "provenance.task_order": result.provenance.task_order,
    }
    for name, values in lists.items():
        if len(values) != tasks:
            yield f"{name} has {len(values)} entries for {tasks} tasks"


def _numbers(result: Result) -> Iterator[str]:
    computed = headline(result.matrix, [task.test for task in result.tasks])
    for name, stated in result.headline.items():
        if name not in computed:
            continue
        value = computed[name]
        if stated is None or value is None:
            same = stated is value
        else:
            same = math.isclose(stated, value, abs_tol=1e-9)
        if not same:
            yield f"it states {name} {stated}, but its matrix gives {value}: edited by hand? run it again"


def _key(result: Result) -> Iterator[str]:
    try:
        key = Cell.of(result).key(result.provenance.data_fingerprint)
    except UserError as error:
        yield str(error)
        return
    if key != result.key:
        yield f"its key is {result.key}, but its settings and data give {key}: edited by hand? run it again"
