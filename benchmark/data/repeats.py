"""Streams that come again: after the last task the first returns, and so on, as often as the protocol says.

A visit brings new training rows of the same classes: those of each class are dealt out to the visits, so that
no row is trained on twice and what a visit needs is not that it knows its rows. A class with fewer rows than
visits gives a row to several. Test rows, and validation rows of the source, are the same at every visit.

Classes keep their names, so a return has the head rows of the first visit and trains them again. The first
visit of a task needs an adapter where the stream says so, or where it says nothing; no return needs one.
"""

from __future__ import annotations

from dataclasses import replace

from benchmark.stream import Examples, LoadedStream, Task


def repeat(loaded: LoadedStream, visits: int) -> LoadedStream:
    """Return the stream's tasks in their order, `visits` times over, with what each needs.

    The first visit keeps the tasks' names; a later one adds its number: `apples, visit 2`.
    """
    if visits == 1:
        return loaded
    parts = [deal(task.train, visits) for task in loaded.tasks]
    tasks = [
        _visit(task, number, parts[place][number])
        for number in range(visits)
        for place, task in enumerate(loaded.tasks)
    ]
    count = len(loaded.tasks)
    first = loaded.needs_adapter or (True,) * count
    return replace(loaded, tasks=tasks, needs_adapter=(*first, *[False] * (count * (visits - 1))))


def deal(rows: Examples, visits: int) -> list[Examples]:
    """Return the rows in `visits` parts, each with rows of every class, in the rows' order.

    Row j of a class goes to visit j modulo `visits`, counted from 0.
    """
    import numpy as np

    labels = np.zeros(len(rows), np.int64) if rows.labels is None else np.asarray(rows.labels)
    parts: list[list[int]] = [[] for _ in range(visits)]
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        for visit, part in enumerate(parts):
            part += own[visit::visits].tolist() or [int(own[visit % len(own)])]
    return [rows.take(sorted(part)) for part in parts]


def _visit(task: Task, number: int, train: Examples) -> Task:
    return replace(task, name=f"{task.name}, visit {number + 1}" if number else task.name, train=train)
