"""Fingerprints of rows, found out once: to make one, every row has to be read, image by image.

But rows that come from the cache are what they were, so theirs is kept beside them, under what it depends on
and the code that makes it; and so is that of images that are made when they are read. That of few rows, and
of rows from elsewhere, is made each time; it is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from benchmark.data import fingerprint as prints
from benchmark.data import mapped_rows
from benchmark.data.mapped_rows import MappedImages, Ragged
from benchmark.data.row_cache import Arrays, code_of, map_cached
from benchmark.stream import Examples, Task

# Fewer rows are looked at sooner than an outcome is looked up and read.
MANY = 50_000


def fingerprint(tasks: list[Task]) -> str:
    """Return the fingerprint of tasks, see `benchmark.data.fingerprint.fingerprint`."""
    return _find_once("fingerprint", state_of(tasks), code_of(prints), lambda: prints.fingerprint(tasks))


def fingerprint_of(rows: Examples) -> str:
    """Return the fingerprint of one split, see `benchmark.data.fingerprint.fingerprint_of`."""
    state = _state([rows]) if _worth_keeping([rows]) else None
    return _find_once("fingerprint of rows", state, code_of(prints), lambda: prints.fingerprint_of(rows))


def state_of(tasks: Sequence[Task]) -> str | None:
    """Return what differs where tasks do; None for few rows and for rows that are not from the cache."""
    rows = [part for task in tasks for part in task.splits.values()]
    if not _worth_keeping(rows):
        return None
    state = _state(rows)
    if state is None:
        return None
    facts = [[task.name, task.classes, asdict(task.wording), task.validation is None] for task in tasks]
    return hashlib.sha256(json.dumps([state, facts]).encode()).hexdigest()


def _worth_keeping(parts: Sequence[Examples]) -> bool:
    made = any(isinstance(part.inputs, MappedImages) and part.inputs.costly for part in parts)
    return made or sum(map(len, parts)) >= MANY


def _state(parts: Sequence[Examples]) -> str | None:
    digest = hashlib.sha256()
    for part in parts:
        for column in (part.inputs, part.references, part.ids):
            if isinstance(column, (Ragged, MappedImages)) and column.identity is not None:
                rows = "all" if column.rows is None else _hash_numbers(column.rows)
                digest.update(json.dumps([column.identity, len(column), rows]).encode())
            elif column is None or len(column) == 0:
                digest.update(b"none")
            elif column is part.ids and isinstance(part.inputs, MappedImages):
                digest.update(json.dumps(list(column)).encode())
            else:
                return None
        digest.update(b"none" if part.labels is None else _hash_numbers(part.labels).encode())
    return digest.hexdigest()


def _hash_numbers(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers, np.int64).data).hexdigest()


def _find_once(kind: str, state: str | None, code: str, find: Callable[[], str]) -> str:
    """Return what `find` does; it is asked once for a state, and each time where there is none."""
    if state is None:
        return find()

    def build(arrays: Arrays) -> None:
        arrays.append("text", np.frombuffer(find().encode(), np.uint8))

    return map_cached("outcomes", [kind, state, code, code_of(mapped_rows)], build)["text"].tobytes().decode()
