"""Orders of classes, and how they are cut into tasks."""

from __future__ import annotations

from benchmark.errors import UserError


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
    """Cut a class order in consecutive slices of `size` classes; the last holds what is left."""
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
