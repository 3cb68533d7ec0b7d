"""What was found out about rows before: whether they are sound, which of them a run sees, their fingerprint.

To find it out, every row has to be looked at. But rows that come from the cache are what they were, so an
outcome is kept beside them, under what it depends on and the code that finds it. About few rows, and about
those that come from elsewhere, it is found out each time; it is the same either way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np

from benchmark.data import checks, mapped_rows, splits
from benchmark.data import fingerprint as prints
from benchmark.data.mapped_rows import MappedImages, Ragged
from benchmark.data.row_cache import Arrays, cached, code_of
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task

# Fewer rows are looked at sooner than an outcome is looked up and read.
MANY = 50_000
# What of a protocol decides which rows a run sees, and what it says where it may see none.
CHOOSING = ("name", "validation", "train_limit", "test_limit", "score_on", "selection")
ABSENT = -1


def check(name: str, tasks: list[Task]) -> None:
    """Check what every stream must deliver, as `benchmark.data.checks.check` does.

    Raises:
        UserError: as it does.
    """

    def found() -> str:
        checks.check(name, tasks)
        return "sound"

    _remembered("sound", state_of(tasks), code_of(checks), found)


def prepare(tasks: list[Task], protocol: Protocol, seed: int) -> list[Task]:
    """Return tasks with the rows that a protocol and a seed give a run, each as by `splits.prepare`.

    Raises:
        UserError: as it does.
    """
    state = state_of(tasks)
    if state is None:
        return [splits.prepare(task, protocol, seed) for task in tasks]

    def build(arrays: Arrays) -> None:
        arrays.append("rows", np.zeros(0, np.int64))
        for task in tasks:
            chosen = splits.prepare(_numbered(task), protocol, seed)
            for rows in (chosen.train, chosen.validation, chosen.test):
                arrays.append("counts", np.array([ABSENT if rows is None else len(rows)], np.int64))
                if rows is not None:
                    arrays.append("rows", np.asarray(rows.inputs, np.int64))

    asked = protocol.model_dump_json(include=set(CHOOSING))
    found = cached("outcomes", ["rows seen", state, asked, str(seed), code_of(splits)], build)
    counts = found["counts"].reshape(len(tasks), -1).tolist()
    ends = np.maximum(found["counts"], 0).cumsum().reshape(len(tasks), -1).tolist()
    return [_chosen(*one, found["rows"]) for one in zip(tasks, counts, ends, strict=True)]


def fingerprint(tasks: list[Task]) -> str:
    """Return the fingerprint of tasks, see `benchmark.data.fingerprint.fingerprint`."""
    return _remembered("fingerprint", state_of(tasks), code_of(prints), lambda: prints.fingerprint(tasks))


def fingerprint_of(rows: Examples) -> str:
    """Return the fingerprint of one split, see `benchmark.data.fingerprint.fingerprint_of`."""
    state = _state([rows]) if len(rows) >= MANY else None
    return _remembered("fingerprint of rows", state, code_of(prints), lambda: prints.fingerprint_of(rows))


def state_of(tasks: Sequence[Task]) -> str | None:
    """Return what differs where tasks do; None for few rows and for rows that are not from the cache."""
    rows = [part for task in tasks for part in (task.train, task.validation, task.test) if part is not None]
    if sum(map(len, rows)) < MANY:
        return None
    state = _state(rows)
    if state is None:
        return None
    facts = [[task.name, task.classes, asdict(task.wording), task.validation is None] for task in tasks]
    return hashlib.sha256(json.dumps([state, facts]).encode()).hexdigest()


def _state(parts: Sequence[Examples]) -> str | None:
    digest = hashlib.sha256()
    for part in parts:
        for column in (part.inputs, part.references, part.ids):
            if isinstance(column, (Ragged, MappedImages)) and column.identity is not None:
                rows = "all" if column.rows is None else _printed(column.rows)
                digest.update(json.dumps([column.identity, len(column), rows]).encode())
            elif column is None or len(column) == 0:
                digest.update(b"none")
            else:
                return None
        digest.update(b"none" if part.labels is None else _printed(part.labels).encode())
    return digest.hexdigest()


def _printed(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers, np.int64).data).hexdigest()


def _remembered(kind: str, state: str | None, code: str, find: Callable[[], str]) -> str:
    """Return what `find` does; it is asked once for a state, and each time where there is none."""
    if state is None:
        return find()

    def build(arrays: Arrays) -> None:
        arrays.append("text", np.frombuffer(find().encode(), np.uint8))

    return cached("outcomes", [kind, state, code, code_of(mapped_rows)], build)["text"].tobytes().decode()


def _numbered(task: Task) -> Task:
    """Return a task with the numbers of rows in their place."""

    def numbers(rows: Examples) -> Examples:
        return Examples(np.arange(len(rows)), rows.labels)

    held = None if task.validation is None else numbers(task.validation)
    return Task(task.name, numbers(task.train), numbers(task.test), held)


def _chosen(task: Task, counts: list[int], ends: list[int], numbers: np.ndarray) -> Task:
    """Return a task with some of its rows.

    Args:
        counts: of the rows of train, validation and test; validation may be `ABSENT`.
        ends: where their numbers end among all.
        numbers: of the rows of all tasks.
    """
    # Where the source has no rows for validation, they are held out of train.
    sources = (task.train, task.validation if task.validation else task.train, task.test)
    parts = [
        source.take(numbers[end - max(count, 0) : end])
        for source, count, end in zip(sources, counts, ends, strict=True)
    ]
    train, held, test = parts
    return replace(task, train=train, test=test, validation=None if counts[1] == ABSENT else held)
