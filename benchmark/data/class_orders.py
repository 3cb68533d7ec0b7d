"""Orders of classes, and how they are cut into tasks."""

from __future__ import annotations

from dataclasses import replace

from benchmark.errors import UserError
from benchmark.stream import Examples, Task


def permutation(count: int, seed: int | None) -> list[int]:
    """Return the order of `count` classes: numpy's legacy permutation of a seed, or as numbered for None.

    The same numbers as the global `np.random.seed(seed); np.random.permutation(count)` of PyCIL and its
    descendants, without touching the global generator.
    """
    import numpy as np

    if seed is None:
        return list(range(count))
    return [int(c) for c in np.random.RandomState(seed).permutation(count)]


def chunks(order: list[int], size: int) -> list[list[int]]:
    """Cut a list, such as a class order, in consecutive slices of one size; the last holds what is left."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def slices(order: list[int], tasks: int) -> list[list[int]]:
    """Cut a class order in consecutive slices of equal size; the last holds what is left.

    Raises:
        UserError: there are too few classes for so many slices.
    """
    size = -(-len(order) // tasks)
    if (tasks - 1) * size >= len(order):
        raise UserError(f"{len(order)} classes cannot be cut into {tasks} tasks of {size} classes each")
    return chunks(order, size)


def cut_order(
    order: list[int], tasks: int, classes_per_task: int | None = None, first_classes: int | None = None
) -> list[list[int]]:
    """Cut a class order in consecutive slices, the first of a size of its own where one is given.

    With `classes_per_task` as PILOT cuts: `first_classes` (its init_cls), then `classes_per_task` (its
    increment) each, the last what is left. Otherwise all slices, or all after the first, are of equal size.

    Args:
        tasks: number of slices; not used with `classes_per_task`.
        classes_per_task: of every slice, or of every slice after the first; none: as `tasks` has it.
        first_classes: of the first slice; none: as many as the others have.

    Raises:
        UserError: there are too few classes for the slices asked for.
    """
    if first_classes is None:
        return chunks(order, classes_per_task) if classes_per_task else slices(order, tasks)
    first, rest = order[:first_classes], order[first_classes:]
    if first_classes > len(order) or (not classes_per_task and (tasks == 1) != (not rest)):
        after = f"{tasks} tasks" if not classes_per_task else f"tasks of {classes_per_task}"
        raise UserError(f"{len(order)} classes cannot be cut into {after}, the first of {first_classes}")
    if not rest:
        return [first]
    return [first, *(chunks(rest, classes_per_task) if classes_per_task else slices(rest, tasks - 1))]


def of_classes(whole: Task, name: str, classes: list[int]) -> Task:
    """Return the task of some classes of another, numbered in the given order; rows keep theirs.

    Args:
        classes: places in the classes of `whole`.
    """
    import numpy as np

    place = np.full(len(whole.classes), -1)
    place[classes] = np.arange(len(classes))

    def part(rows: Examples) -> Examples:
        chosen = rows.take(np.flatnonzero(place[rows.labels] >= 0))
        return replace(chosen, labels=place[chosen.labels])

    return replace(
        whole,
        name=name,
        train=part(whole.train),
        test=part(whole.test),
        validation=None if whole.validation is None else part(whole.validation),
        classes=tuple(whole.classes[c] for c in classes),
    )
