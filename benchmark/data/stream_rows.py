"""Tasks of a stream that a file describes: its rows read, gathered by task, checked and put in order."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path

from benchmark.data.class_orders import cut_order, of_classes, permutation
from benchmark.data.data_errors import DataError, InvalidData, collect_into, raise_or_collect
from benchmark.data.hub import Hub
from benchmark.data.part_sources import PartSource
from benchmark.data.stream_records import Reader
from benchmark.data.stream_schema import Cut, StreamFile, TaskTable, order_error, source_of
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Task

# What a part says of its tasks that is in no row.
NOT_IN_ROWS = {"name", "group", "dataset", "instruction", "definition", "metric"}
LOCAL_COPY = "hub/<owner>/<name>/<config or default>/<split>.parquet"


def load(layout: StreamFile, path: Path, request: Request) -> LoadedStream:
    """Return a stream's tasks in the order asked for.

    Args:
        path: of the file; paths in it are relative to its folder.

    Raises:
        UserError: rows cannot be read, or are faulty; `InvalidData` has all that is wrong.
    """
    errors: list[DataError] = []
    revisions: dict[str, str] = {}
    tasks: list[Task] = []
    notes: list[str] = []
    for part in layout.parts:
        own = part.name if isinstance(part, TaskTable) else layout.title
        task = own if part.columns.task is None else ""
        source = PartSource(part, path.parent, Hub(request.data_dir, LOCAL_COPY))
        with collect_into(errors):
            tasks += _tasks(layout.kind, task, source)
            revisions |= source.revisions
            notes += source.notes
    try:
        raise_or_collect(errors)
    except InvalidData:
        raise InvalidData(errors, f"bench data verify {path}") from None
    origin = f"{path.name}: {', '.join(dict.fromkeys(source_of(part) for part in layout.parts))}"
    value = layout.orders.get(request.order)
    if layout.cut is not None:
        if not tasks:
            return LoadedStream([], origin, revisions=revisions, notes=tuple(notes), checked=True)
        (whole,) = tasks
        order = permutation(len(whole.classes), value if isinstance(value, int) else None)
        parts = cut(whole, order, layout.cut)
        return LoadedStream(parts, origin, order, revisions, tuple(notes), checked=True)
    if isinstance(value, list):
        by_name = {task.name: task for task in tasks}
        # Rows that could not be read may have been all of a task's, which then is not missing in the order.
        if not errors and (wrong := order_error(value, list(by_name))):
            raise UserError(f"{path}: orders.{request.order}: {wrong}")
        tasks = [by_name[name] for name in value if name in by_name]
    return LoadedStream(tasks, origin, revisions=revisions, notes=tuple(notes), checked=True)


def cut(whole: Task, order: list[int], rule: Cut) -> list[Task]:
    """Return tasks `task 01` and on over consecutive slices of a class order."""
    parts = cut_order(order, rule.tasks or 1, rule.classes_per_task, rule.first_classes)
    return [of_classes(whole, f"task {number:02d}", classes) for number, classes in enumerate(parts, 1)]


def _tasks(kind: str, task: str, source: PartSource) -> list[Task]:
    """Return the tasks of a part in the order in which their names come: read once, mapped from then on.

    Raises:
        UserError: the hub cannot be reached, or the rows are faulty; `InvalidData` has all that is wrong.
    """
    from benchmark.data import part_rows, row_cache

    def build(arrays: row_cache.Arrays) -> None:
        errors: list[DataError] = []
        rows = part_rows.PartRows(arrays, kind, source.part)
        reader = Reader(kind, task, source, errors)
        for record in reader.records():
            rows.add(record)
        if not rows.tasks and not errors:
            errors.append(DataError(f"{source_of(source.part)}: no rows"))
        errors += rows.finish(lambda: Reader(kind, task, source, []).records(), reader.whole)
        raise_or_collect(errors)

    identity = source.identity()
    if identity is None:
        return part_rows.tasks_of(row_cache.in_memory(build), source.part)
    key = [kind, task, source.part.model_dump_json(exclude=NOT_IN_ROWS), *identity, _code()]
    return part_rows.tasks_of(row_cache.map_if_sound("rows", key, build), source.part)


@functools.cache
def _code() -> str:
    """Return a hash of all code of this room, and of Pillow: what reads rows is among it."""
    digest = hashlib.sha256(importlib.metadata.version("pillow").encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
