"""Tasks of a stream that a file describes: its rows read, gathered by task, checked and put in order."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.class_orders import chunks, of_classes, permutation, slices
from benchmark.data.findings import DataFaults, Finding, noted, settle
from benchmark.data.hub import Hub
from benchmark.data.part_sources import PartSource
from benchmark.data.stream_records import Reader
from benchmark.data.stream_schema import Cut, Layout, TaskRows, order_fault, source_of
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Task

# What a part says of its tasks that is in no row.
NOT_IN_ROWS = {"name", "group", "dataset", "instruction", "definition", "metric"}
LOCAL_COPY = "hub/<owner>/<name>/<config or default>/<split>.parquet"


def load(layout: Layout, path: Path, request: Request) -> LoadedStream:
    """Return a stream's tasks in the order asked for.

    Args:
        layout: what the file says.
        path: of the file; paths in it are relative to its folder.
        request: what is asked for.

    Raises:
        UserError: rows cannot be read, or are faulty; `DataFaults` has all that is wrong.
    """
    findings: list[Finding] = []
    revisions: dict[str, str] = {}
    tasks: list[Task] = []
    for part in layout.parts:
        own = part.name if isinstance(part, TaskRows) else layout.title
        task = own if part.columns.task is None else ""
        source = PartSource(part, path.parent, Hub(request.data_dir, LOCAL_COPY))
        with noted(findings):
            tasks += _tasks(layout.kind, task, source)
            revisions |= source.revisions
    try:
        settle(findings)
    except DataFaults:
        raise DataFaults(findings, f"bench data verify {path}") from None
    origin = f"{path.name}: {', '.join(dict.fromkeys(source_of(part) for part in layout.parts))}"
    value = layout.orders.get(request.order)
    if layout.cut is not None:
        if not tasks:
            return LoadedStream([], origin, revisions=revisions, checked=True)
        (whole,) = tasks
        order = permutation(len(whole.classes), value if isinstance(value, int) else None)
        parts = cut(whole, order, layout.cut)
        return LoadedStream(parts, origin, order, revisions, checked=True)
    if isinstance(value, list):
        by_name = {task.name: task for task in tasks}
        # Rows that could not be read may have been all of a task's, which then is not missing in the order.
        if not findings and (wrong := order_fault(value, list(by_name))):
            raise UserError(f"{path}: orders.{request.order}: {wrong}")
        tasks = [by_name[name] for name in value if name in by_name]
    return LoadedStream(tasks, origin, revisions=revisions, checked=True)


def cut(whole: Task, order: list[int], rule: Cut) -> list[Task]:
    """Return tasks `task 01` and on over consecutive slices of a class order.

    Raises:
        UserError: there are too few classes for so many tasks.
    """
    parts = chunks(order, rule.classes_per_task) if rule.classes_per_task else slices(order, rule.tasks or 1)
    return [of_classes(whole, f"task {number:02d}", classes) for number, classes in enumerate(parts, 1)]


def _tasks(kind: str, task: str, source: PartSource) -> list[Task]:
    """Return the tasks of a part in the order in which their names come: read once, mapped from then on.

    Raises:
        UserError: the hub cannot be reached, or the rows are faulty; `DataFaults` has all that is wrong.
    """
    from benchmark.data import part_rows, row_cache

    def build(arrays: row_cache.Arrays) -> None:
        findings: list[Finding] = []
        rows = part_rows.PartRows(arrays, kind, source.part)
        reader = Reader(kind, task, source, findings)
        for record in reader.records():
            rows.add(record)
        if not rows.tasks and not findings:
            findings.append(Finding(f"{source_of(source.part)}: no rows"))
        findings += rows.finish(lambda: Reader(kind, task, source, []).records(), reader.whole)
        settle(findings)

    identity = source.identity()
    if identity is None:
        return part_rows.tasks_of(row_cache.in_memory(build), source.part)
    key = [kind, task, source.part.model_dump_json(exclude=NOT_IN_ROWS), *identity, *_code(kind)]
    return part_rows.tasks_of(row_cache.cached_if_sound("rows", key, build), source.part)


def _code(kind: str) -> list[str]:
    """Return the part of a key that changes when what reads rows does."""
    from benchmark.data import files as data_files
    from benchmark.data import (
        hub_tables,
        image_decoding,
        image_files,
        mapped_rows,
        parsed_rows,
        part_faults,
        part_rows,
        part_sources,
        splits,
        stream_records,
        table_files,
    )
    from benchmark.data.row_cache import code_of

    reading = (part_faults, part_rows, part_sources, stream_records, table_files)
    code = [code_of(*reading, data_files, hub_tables, mapped_rows, parsed_rows, splits)]
    if kind == "image":
        import PIL

        code += [PIL.__version__, code_of(image_files, image_decoding)]
    return code
