"""What every stream must deliver, checked before each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.data.data_errors import DataError
from benchmark.data.names import difference, fold_name
from benchmark.errors import UserError
from benchmark.printable import control_character
from benchmark.stream import Examples, Task


def check(name: str, tasks: list[Task]) -> None:
    """Check what every stream must deliver.

    Raises:
        UserError: the first of `validation_errors`.
    """
    for error in validation_errors(tasks):
        raise UserError(f"the stream '{name}': {error.line}")


def validation_errors(tasks: list[Task]) -> Iterator[DataError]:
    """Yield what no stream may deliver, cheap enough to look for before every run.

    No tasks or two of one name; a name with a control character; in a task an empty train or test split, or
    two classes whose names are equal or differ only by case; in a split parts of different length, a label
    outside the classes, a row without an accepted answer, or an id twice.
    """
    if not tasks:
        yield DataError("there are no tasks")
    for name in find_repeated([task.name for task in tasks]):
        yield DataError("two tasks of one name", name)
    for task in tasks:
        yield from _class_errors(task)
        for what, names in (
            ("task", (task.name,)),
            ("class", task.classes),
            ("metric", (task.metric or "",)),
        ):
            if mark := control_character(names):
                yield DataError(f"the name of a {what} holds the control character {mark}", task.name)
        for split, rows in task.splits.items():
            if len(rows):
                yield from _row_errors(task, split, rows)
            elif split != "validation":
                yield DataError(f"no {split} rows", task.name, split)


def check_domains(name: str, tasks: list[Task]) -> None:
    """Check that all tasks share their classes, as domains must."""
    shared = set(tasks[0].classes)
    for task in tasks:
        other = sorted(shared.symmetric_difference(task.classes))
        if other:
            raise UserError(
                f"the head domain-incremental needs the same classes in every task, but '{task.name}' and "
                f"'{tasks[0].name}' of the stream '{name}' differ in {', '.join(other[:3])}; use the head "
                "class-incremental or task-incremental"
            )


def find_repeated(names: Sequence[str]) -> dict[str, list[int]]:
    """Return each name that occurs more than once, with its places, counted from 1."""
    import numpy as np

    # Eight bytes a name, not the names themselves, while they all differ.
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return {}
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names, 1):
        places.setdefault(name, []).append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def _class_errors(task: Task) -> Iterator[DataError]:
    for name in find_repeated(list(task.classes)):
        yield DataError(f"two classes of one name, '{name}'", task.name)
    for name in task.classes:
        if not isinstance(name, str):
            yield DataError(f"the class {name!r} is no text; read labels as text", task.name)
            return
    different = list(dict.fromkeys(task.classes))
    for places in find_repeated([fold_name(name) for name in different]).values():
        alike = [different[place - 1] for place in places]
        names = " and ".join(f"'{name}'" for name in alike)
        yield DataError(f"the classes {names} differ only by {difference(*alike[:2])}", task.name)


def parts_agree(rows: Examples) -> bool:
    """Return whether labels, references and ids are as many as the inputs, as far as there are any."""
    parts = [part for part in (rows.labels, rows.references, rows.ids or None) if part is not None]
    return all(len(part) == len(rows) for part in parts)


def _row_errors(task: Task, split: str, rows: Examples) -> Iterator[DataError]:
    if not parts_agree(rows):
        yield DataError("inputs, labels, references and ids differ in number", task.name, split)
    if not task.classes and rows.references is None:
        yield DataError("a task without classes needs references", task.name, split)
    if task.classes and rows.labels is None:
        yield DataError(f"every row needs a label from 0 to {len(task.classes) - 1}", task.name, split)
    if task.classes and rows.labels is not None:
        wrong = ((rows.labels < 0) | (rows.labels >= len(task.classes))).nonzero()[0]
        for row in wrong:
            message = f"row {row + 1} has no label from 0 to {len(task.classes) - 1}: {rows.labels[row]}"
            yield DataError(message, task.name, split, (int(row) + 1,))
    for place, accepted in enumerate(rows.references or [], 1):
        if not accepted:
            yield DataError(f"row {place} has no reference", task.name, split, (place,))
    for name, places in find_repeated(rows.ids).items():
        message = f"rows {', '.join(map(str, places))} have the same id '{name}'"
        yield DataError(message, task.name, split, tuple(places))
