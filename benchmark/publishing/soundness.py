"""Whether a result can be what a run wrote: its numbers, counts and key follow from what else it states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.row_scores import is_canonical, is_share, mean
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline

CLOCKS = timedelta(minutes=10)
"""By how much the clocks of two machines may differ."""


def check_sound(result: Result, path: Path | str) -> None:
    """Check that nothing in a result contradicts the rest of it.

    Raises:
        UserError: something does, as after an edit by hand.
    """
    for error in contradictions(result):
        raise UserError(f"{path}: {error}")


def contradictions(result: Result) -> Iterator[str]:
    """Yield everything in a result that does not follow from the rest of it."""
    for check in (_lengths, _not_negative, _check_finished, _numbers, _rows, _check_untrained, _key):
        yield from check(result)


def _lengths(result: Result) -> Iterator[str]:
    counts, seconds, tasks = result.parameters, result.timing, len(result.tasks)
    lists: dict[str, Sequence[object]] = {
        "steps": result.steps,
        "forward_equivalents": result.forward_equivalents,
        "parameters.trainable": counts.trainable,
        "parameters.adapters": counts.adapters,
        "parameters.active_adapters": counts.active_adapters,
        "parameters.head_trainable": counts.head_trainable,
        "report": result.report,
        "timing.train_seconds": seconds.train_seconds,
        "timing.score_seconds": seconds.score_seconds,
        "timing.samples_per_second": seconds.samples_per_second,
        "provenance.task_order": result.provenance.task_order,
    }
    for name, values in lists.items():
        if len(values) != tasks:
            yield f"{name} has {len(values)} entries for {tasks} tasks"


def _not_negative(result: Result) -> Iterator[str]:
    for block in ("parameters", "timing"):
        for name, value in getattr(result, block).model_dump().items():
            yield from _negative(f"{block}.{name}", value)
    yield from _negative("steps", result.steps)
    yield from _negative("forward_equivalents", result.forward_equivalents)
    for task in result.tasks:
        yield from _negative(f"train of '{task.name}'", task.train)
        yield from _negative(f"validation of '{task.name}'", task.validation)


def _negative(name: str, value: object) -> Iterator[str]:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, (int, float)) and number < 0:
            yield f"{name} is {number}; it counts from 0"
            return


def _check_finished(result: Result) -> Iterator[str]:
    stated = result.timing.finished
    try:
        at = datetime.fromisoformat(stated)
    except ValueError:
        yield f"it finished at '{stated}', which is no time in ISO 8601"
        return
    if at.tzinfo is None:
        yield f"it finished at '{stated}', which names no time zone"
    elif at > datetime.now(UTC) + CLOCKS:
        yield f"it finished at {stated}, which is yet to come"


def _numbers(result: Result) -> Iterator[str]:
    computed = headline(result.matrix, [task.test for task in result.tasks])
    for name, stated in result.headline.items():
        if name not in computed:
            yield f"it states '{name}', which is none of the metrics: {', '.join(computed)}"
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
                if text and not is_canonical(text, task.test, task.metric):
                    yield f"{name}, stage {t + 1}, task '{task.name}': its rows are what no scores give"
                if found != cell:
                    yield (
                        f"it states a score of {cell} on '{task.name}' after task {t + 1} ({name}), but its "
                        f"rows give {found}: edited by hand? run it again"
                    )


def _check_untrained(result: Result) -> Iterator[str]:
    """Scores whose rows are not kept are shares of the rows all the same; only a zero-shot run has them."""
    if (result.untrained is not None) != (result.config.get("zero_shot") is True):
        yield "scores of the untrained model and the setting zero_shot do not go together"
    for score, task in zip(result.untrained or [], result.tasks, strict=False):
        if score is not None and not is_share(score, task.test, task.metric):
            yield f"the untrained model scores {score} on '{task.name}', which {task.test} rows cannot give"
    ahead = [
        (name, t)
        for name, reading in result.readings.items()
        for t, row in enumerate(reading.matrix)
        if len(row) > t + 1 and result.config.get("zero_shot") is not True
    ]
    for name, t in ahead[:1]:
        yield f"{name} has scores on tasks after task {t + 1} before they were learned, without zero_shot"


def _key(result: Result) -> Iterator[str]:
    try:
        key = Run.of(result).key(result.provenance.data_fingerprint)
    except UserError as error:
        yield str(error)
        return
    if key != result.key:
        yield f"its key is {result.key}, but its settings and data give {key}: edited by hand? run it again"
