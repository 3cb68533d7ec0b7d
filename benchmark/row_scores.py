"""The score of every test row, packed into a short text, and the task's score as exactly their mean.

A row is right or wrong where the metric compares (accuracy, exact-match, first-letter): one bit a row. Every
other metric grades: one unsigned 16-bit number a row, in steps of 1 / `LEVELS`, little-endian. Both are
written in base64, rows in the order of the split. A task's score is the sum of these whole numbers over
their largest possible sum, so that it follows from the text to the last bit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEVELS = 10_000
COMPARING = frozenset({"accuracy", "exact-match", "first-letter"})
"""Metrics that give a row 0 or 1 and nothing between."""


def pack(scores: Sequence[float], metric: str) -> str:
    """Return the scores of n rows, in 0..1, as base64; grades are rounded to 1 / `LEVELS`."""
    import numpy as np

    levels = np.rint(np.asarray(scores, np.float64) * _steps(metric))
    data = np.packbits(levels.astype(bool)) if metric in COMPARING else levels.astype("<u2")
    return base64.b64encode(data.tobytes()).decode()


def unpack(text: str, count: int, metric: str) -> np.ndarray:
    """Return the scores `(count,)` of a task's rows, float64 in 0..1.

    Raises:
        ValueError: the text is not that of so many rows.
    """
    return _levels(_data(text, count, metric), count, metric) / _steps(metric)


def mean(text: str, count: int, metric: str) -> float:
    """Return the task's score: the mean of its rows' scores, the same wherever it is computed."""
    return _total(_data(text, count, metric), count, metric) / (count * _steps(metric))


def is_canonical(text: str, count: int, metric: str) -> bool:
    """Whether `pack` writes this text for some scores in 0..1; the bits after the last row are 0."""
    data = _data(text, count, metric)
    if base64.b64encode(data).decode() != text:
        return False
    if metric in COMPARING:
        return int.from_bytes(data) % (1 << _spare(count)) == 0
    return int(_levels(data, count, metric).max(initial=0)) <= LEVELS


def is_share(score: float, count: int, metric: str) -> bool:
    """Whether some scores of so many rows have this mean."""
    total = score * count * _steps(metric)
    return abs(total - round(total)) <= 1e-6 * max(1.0, total)


def _data(text: str, count: int, metric: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("the packed scores of its rows are not base64") from None
    expected = -(-count // 8) if metric in COMPARING else 2 * count
    if len(data) != expected:
        raise ValueError(
            f"the packed scores have {len(data)} bytes; {count} rows of {metric} take {expected}"
        )
    return data


def _levels(data: bytes, count: int, metric: str) -> np.ndarray:
    import numpy as np

    if metric in COMPARING:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(np.int64)
    return np.frombuffer(data, "<u2").astype(np.int64)


def _total(data: bytes, count: int, metric: str) -> int:
    if metric in COMPARING:  # Boards read tens of thousands of these: ten times as fast as by arrays.
        return (int.from_bytes(data) >> _spare(count)).bit_count()
    return int(_levels(data, count, metric).sum())


def _spare(count: int) -> int:
    """Return how many bits of the last byte stand after the last row."""
    return -count % 8


def _steps(metric: str) -> int:
    return 1 if metric in COMPARING else LEVELS
