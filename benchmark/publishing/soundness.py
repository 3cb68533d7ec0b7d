"""Whether a result can be what a run wrote: its numbers, counts and key follow from what else it states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.row_scores import mean
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline


def check_sound(result: Result, path: Path | str) -> None:
    """Check that nothing in a result contradicts the rest of it.

    Raises:
        UserError: something does, as after an edit by hand.
    """
    for fault in contradictions(result):
        raise UserError(f"{path}: {fault}")


def contradictions(result: Result) -> Iterator[str]:
    """Yield everything in a result that does not follow from the rest of it."""
    for check in (_lengths, _numbers, _rows, _key):
        yield from check(result)


def _lengths(result: Result) -> Iterator[str]:
    counts, seconds, tasks = result.parameters, result.timing, len(result.tasks)
    lists: dict[str, Sequence[object]] = {
        "steps": result.steps,
        "forward_equivalents": result.forward_equivalents,
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


def _rows(result: Result) -> Iterator[str]:
    """Where the scores of rows are kept, each cell of a matrix is their mean, to the last bit."""
    for name, reading in result.readings.items():
        if not reading.rows:
            continue
        if [len(row) for row in reading.rows] != [len(row) for row in reading.matrix]:
            yield f"its {name} has row scores for other cells than its matrix"
            continue
        for t, (cells, packed) in enumerate(zip(reading.matrix, reading.rows, strict=True)):
            for cell, text, task in zip(cells, packed, result.tasks, strict=False):
                try:
                    found = mean(text, task.test, task.metric) if text else None
                except ValueError as error:
                    yield f"{name}, stage {t + 1}, task '{task.name}': {error}"
                    continue
                if found != cell:
                    yield (
                        f"it states a score of {cell} on '{task.name}' after task {t + 1} ({name}), but its "
                        f"rows give {found}: edited by hand? run it again"
                    )


def _key(result: Result) -> Iterator[str]:
    try:
        key = Run.of(result).key(result.provenance.data_fingerprint)
    except UserError as error:
        yield str(error)
        return
    if key != result.key:
        yield f"its key is {result.key}, but its settings and data give {key}: edited by hand? run it again"
