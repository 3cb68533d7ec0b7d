"""What removing each adapter does to a finished run: its scores, and whether the reported count is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.lora.stack import AdapterStack
from benchmark.method import Method
from benchmark.results import Result, read
from benchmark.running.readings import find_scored_examples
from benchmark.running.rebuilding import rebuild_with_data
from benchmark.running.training import evaluate
from benchmark.stream import LoadedStream
from benchmark.text_table import text_table


@dataclass(frozen=True)
class Removal:
    """The run without one adapter.

    Attributes:
        change: by task, the score without the adapter minus the score with it.
        predictions_changed: how many test rows are answered differently.
    """

    task: int
    change: list[float]
    predictions_changed: int

    @property
    def mean_change(self) -> float:
        """The change of the average performance."""
        return sum(self.change) / len(self.change)


@dataclass(frozen=True)
class LeaveOneOut:
    """All removals of one result.

    Attributes:
        reproduced: whether the full model gives the last row of the matrix again.
    """

    result: Result
    removals: tuple[Removal, ...]
    reproduced: bool
    rows: int

    @property
    def active(self) -> int:
        """How many adapters change at least one prediction of the test rows when they are removed."""
        return sum(each.predictions_changed > 0 for each in self.removals)

    @property
    def reported(self) -> int:
        """The number of active adapters that the method reported."""
        return self.result.active_adapters[-1]

    def as_data(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return {
            "removals": [asdict(each) for each in self.removals],
            "reproduced": self.reproduced,
            "test_rows": self.rows,
            "active_by_removal": self.active,
            "active_reported": self.reported,
        }


def remove_each(path: Path, data_dir: Path | None, stream_files: Sequence[Path] = ()) -> LeaveOneOut:
    """Score a finished run without each of its adapters in turn.

    Args:
        stream_files: that describe streams, where the result's is not a registered one.
    """
    result = read(path)
    method, stack, loaded = with_stack(result, path, data_dir, "there is none to remove", stream_files)
    scores, answers = _score(method, loaded)
    removals = []
    tasks = stack.tasks()
    for place, task in enumerate(tasks):
        with mask_adapter(stack, place):
            left, others = _score(method, loaded)
        changed = sum(one != other for one, other in zip(answers, others, strict=True))
        change = [less - full for less, full in zip(left, scores, strict=True)]
        removals.append(Removal(task, change, changed))
    stated = result.matrix[-1]
    same = all(run is None or abs(run - score) < 1e-6 for run, score in zip(stated, scores, strict=True))
    return LeaveOneOut(result, tuple(removals), same, len(answers))


def with_stack(
    result: Result, path: Path, data_dir: Path | None, without: str, stream_files: Sequence[Path] = ()
) -> tuple[Method, AdapterStack, LoadedStream]:
    """Return the method of a finished run as it was after its last task, its stack, and the run's data.

    Args:
        without: what it means that a method keeps no stack, for the message.
        stream_files: that describe streams, where the result's is not a registered one.

    Raises:
        UserError: the adapters or the data are not those of the result, or the method keeps no adapter stack.
    """
    method, loaded = rebuild_with_data(result, path, data_dir, *stream_files)
    stack = getattr(method, "stack", None)
    if not isinstance(stack, AdapterStack):
        raise UserError(f"{result.method} keeps no low-rank adapters: {without}")
    return method, stack, loaded


@contextmanager
def mask_adapter(stack: AdapterStack, place: int) -> Iterator[None]:
    """Within the context, let the stack answer without one of its adapters.

    Args:
        place: among the past adapters, or after them for the current one.
    """
    own = stack.learned_scales
    count, layers = len(stack.frozen_tasks), len(stack.layers)

    def masked() -> tuple[Tensor | None, Tensor | None]:
        past, current = own() if own else (None, None)
        if place == count:
            ones = torch.ones(layers) if current is None else current
            return past, ones * 0
        kept = torch.ones(count)
        kept[place] = 0
        return (kept.expand(layers, -1) if past is None else past * kept.to(past)), current

    stack.learned_scales = masked
    try:
        yield
    finally:
        stack.learned_scales = own


def _score(method: Method, loaded: LoadedStream) -> tuple[list[float], list[Any]]:
    """Return the score on every task and the answer to every test row."""
    answers: list[Any] = []
    predict = method.predict

    def recording(batch: Batch, task: int | None) -> list[Any]:
        found = predict(batch, task)
        answers.extend(found)
        return found

    method.predict = recording  # type: ignore[method-assign]
    try:
        scores = []
        for index, task in enumerate(loaded.tasks):
            examples = find_scored_examples(task, method.protocol.score_on)
            assert examples is not None  # or the run could not have been scored
            rows = method.task_model.encode(task, examples)
            scores.append(evaluate(method, index, rows, examples))
        return scores, answers
    finally:
        del method.predict  # the class's own again


def table(found: LeaveOneOut) -> str:
    """Return the changes x 100 by task, and what they say about the reported count."""
    records = []
    for each in found.removals:
        record = {"removed": f"task {each.task + 1}", "AP": f"{100 * each.mean_change:+.1f}"}
        record |= {f"task {i + 1}": f"{100 * value:+.1f}" for i, value in enumerate(each.change)}
        records.append(record | {"answers changed": f"{each.predictions_changed} of {found.rows}"})
    lines = [] if found.reproduced else ["The full model does not give the scores of the result again."]
    held = len(found.removals)
    agrees = "agrees" if found.active == found.reported else "does not agree"
    lines.append(
        f"Removing {found.active} of {held} adapters changes an answer; the method reports {found.reported} "
        f"active, which {agrees}."
    )
    text = text_table(pd.DataFrame(records), stralign="right")
    return "\n\n".join([text, "\n".join(lines)])
