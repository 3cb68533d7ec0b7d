"""Tasks of a stream that a file describes: its rows read, gathered by task, checked and put in order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.class_orders import chunks, permutation, slices
from benchmark.errors import UserError
from benchmark.findings import DataFaults, Finding
from benchmark.hub import Hub
from benchmark.splits import hold_out
from benchmark.stream import Examples, LoadedStream, Request, Task, Wording
from benchmark.stream_file import Cut, Layout, Rows, TaskRows, order_fault
from benchmark.stream_records import SPLITS, Reader, Record

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
        hub = Hub(request.data_dir, LOCAL_COPY)
        reader = Reader(layout.kind, part, task, path.parent, hub, findings)
        try:
            tasks += _gather(layout.kind, part, reader.records(), findings)
        except UserError as error:
            findings.append(Finding(str(error)))
        revisions |= reader.revisions
    if findings:
        raise DataFaults(findings, f"bench data verify {path}")
    origin = f"{path.name}: {', '.join(dict.fromkeys(source_of(part) for part in layout.parts))}"
    value = layout.orders.get(request.order)
    if layout.cut is not None:
        (whole,) = tasks
        order = permutation(len(whole.classes), value if isinstance(value, int) else None)
        return LoadedStream(cut(whole, order, layout.cut), origin, order, revisions)
    if isinstance(value, list):
        by_name = {task.name: task for task in tasks}
        if wrong := order_fault(value, list(by_name)):
            raise UserError(f"{path}: orders.{request.order}: {wrong}")
        tasks = [by_name[name] for name in value]
    return LoadedStream(tasks, origin, revisions=revisions)


def source_of(part: Rows) -> str:
    """Return where a part's rows come from, as the file writes it."""
    source = part.source
    files = ", ".join(source.files.values())
    return source.path or files or source.folder or f"{source.hub} of the Hugging Face hub"


def cut(whole: Task, order: list[int], rule: Cut) -> list[Task]:
    """Return tasks `task 01` and on over consecutive slices of a class order.

    Raises:
        UserError: there are too few classes for so many tasks.
    """
    parts = chunks(order, rule.classes_per_task) if rule.classes_per_task else slices(order, rule.tasks or 1)
    return [_slice(whole, f"task {number:02d}", classes) for number, classes in enumerate(parts, 1)]


def _slice(whole: Task, name: str, classes: list[int]) -> Task:
    import numpy as np

    place = np.full(len(whole.classes), -1)
    place[classes] = np.arange(len(classes))

    def part(rows: Examples) -> Examples:
        chosen = rows.take(np.flatnonzero(place[rows.labels] >= 0))
        return Examples(chosen.inputs, place[chosen.labels], None, chosen.ids)

    validation = None if whole.validation is None else part(whole.validation)
    names = tuple(whole.classes[c] for c in classes)
    return Task(name, part(whole.train), part(whole.test), validation, names, whole.wording, whole.metric)


def _gather(kind: str, part: Rows, records: Iterable[Record], findings: list[Finding]) -> list[Task]:
    """Return the tasks of a part in the order in which their names come."""
    found: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        splits = found.setdefault(record.task, {split: [] for split in SPLITS})
        splits[record.split].append(record)
    if not found and not findings:
        findings.append(Finding(f"{source_of(part)}: no rows"))
    findings += _case_faults("task", {name: source_of(part) for name in found})
    tasks = []
    for name, splits in found.items():
        classes: tuple[str, ...] = ()
        if kind != "text-to-text":
            classes = part.classes or _classes(splits, findings)
        before = len(findings)
        findings += _task_faults(part, name, classes, splits)
        if kind == "image" and part.size is None:
            findings += _size_faults(splits)
        if len(findings) == before:
            tasks.append(_task(part, name, classes, splits, findings))
    return tasks


def _task(
    part: Rows, name: str, classes: tuple[str, ...], splits: dict[str, list[Record]], findings: list[Finding]
) -> Task:
    made = {split: _examples(records, classes) for split, records in splits.items()}
    if part.test_share is not None:
        # Seed 0 for every run: test rows never change.
        made["train"], made["test"] = hold_out(made["train"], part.test_share, seed=0)
        if len(set(made["test"].labels if made["test"].labels is not None else ())) < len(classes):
            message = f"{source_of(part)}: test_share {part.test_share} leaves a class without test rows"
            findings.append(Finding(message, name))
    words = Wording(part.group, part.dataset or name, part.instruction, part.definition)
    validation = made["validation"] if splits["validation"] else None
    return Task(name, made["train"], made["test"], validation, classes, words, part.metric)


def _classes(splits: dict[str, list[Record]], findings: list[Finding]) -> tuple[str, ...]:
    """Return the labels of train, sorted; another label elsewhere, or one of other case, is a fault."""
    first: dict[str, str] = {}
    for record in splits["train"]:
        first.setdefault(record.label or "", record.place)
    for record in (*splits["validation"], *splits["test"]):
        if record.label not in first and splits["train"]:
            message = f"{record.place}: the label '{record.label}' is that of no training row"
            findings.append(Finding(message))
            first[record.label or ""] = record.place
    findings += _case_faults("label", first)
    return tuple(sorted(first))


def _case_faults(what: str, places: dict[str, str]) -> list[Finding]:
    """Return a fault for each name that differs from an earlier one only by case.

    Args:
        what: what is named.
        places: each name with where it comes first.
    """
    seen: dict[str, str] = {}
    faults = []
    for name, place in places.items():
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            before = f" ({places[other]})" if places[other] != place else ""
            faults.append(f"{place}: the {what} '{name}' differs only by case from '{other}'{before}")
    return [Finding(fault) for fault in faults]


def _task_faults(
    part: Rows, name: str, classes: tuple[str, ...], splits: dict[str, list[Record]]
) -> list[Finding]:
    """Return what is wrong with a task as a whole: an empty split, a class without rows, an id twice."""
    where, faults = source_of(part), []
    for split in ("train",) if part.test_share is not None else ("train", "test"):
        if not splits[split]:
            faults.append(Finding(f"{where}: no {split} rows", name, split))
            continue
        # Where classes are the labels of train, another label elsewhere is told with its row.
        expected = classes if part.classes or split == "test" else ()
        missing = set(expected) - {record.label for record in splits[split]}
        faults += [
            Finding(f"{where}: no {split} rows of the class '{label}'", name, split)
            for label in sorted(missing)
        ]
    taken: dict[str, str] = {}
    for record in (record for records in splits.values() for record in records):
        before = taken.setdefault(record.id, record.place) if record.id is not None else record.place
        if before != record.place:
            faults.append(Finding(f"{record.place}: the id '{record.id}' is that of {before}"))
    return faults


def _size_faults(splits: dict[str, list[Record]]) -> list[Finding]:
    """Return a fault for the first image of another size than the first one."""
    every = [record for records in splits.values() for record in records]
    for record in every:
        (height, width), (first_height, first_width) = record.content.shape[:2], every[0].content.shape[:2]
        if (height, width) != (first_height, first_width):
            sizes = f"{width}x{height} pixels, others {first_width}x{first_height}"
            return [Finding(f"{record.place}: {sizes}; set `size` to scale all to one")]
    return []


def _examples(records: list[Record], classes: tuple[str, ...]) -> Examples:
    import numpy as np

    inputs: Any = [record.content for record in records]
    if records and not isinstance(inputs[0], str):
        inputs = np.stack(inputs)
    ids = [record.id or f"{record.split}-{number}" for number, record in enumerate(records)]
    if not classes:
        return Examples(inputs, None, [record.references or [] for record in records], ids)
    place = {name: number for number, name in enumerate(classes)}
    labels = np.array([place[record.label or ""] for record in records], np.int64)
    return Examples(inputs, labels, None, ids)
