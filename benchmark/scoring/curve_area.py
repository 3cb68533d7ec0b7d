"""Curves of score against reduction: the mean height of one over another, where both are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Points = Sequence[tuple[float, float]]
"""Of a curve, in any order: reduction and score."""


def curve(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return abscissas in rising order, none twice, with the mean ordinate of the points at each."""
    places = sorted({x for x, _ in points})
    heights = [np.mean([y for x, y in points if x == place]) for place in places]
    return np.array(places, dtype=float), np.array(heights, dtype=float)


def mean_height(points: Points, low: float, high: float) -> float:
    """Return the area under the straight lines between points from `low` to `high`, over the width.

    Raises:
        ValueError: the points do not span the range, or it has no width.
    """
    places, heights = curve(points)
    if not low < high or not places[0] <= low or not high <= places[-1]:
        raise ValueError(f"the curve from {places[0]} to {places[-1]} has no mean height on {low} to {high}")
    inner = places[(places > low) & (places < high)]
    at = np.array([low, *inner, high])
    values = np.interp(at, places, heights)
    return float(((values[1:] + values[:-1]) / 2 * np.diff(at)).sum() / (high - low))


def height_difference(first: Points, second: Points) -> float | None:
    """Return the mean height of the first curve minus that of the second over the range that both span.

    None where that range has no width.
    """
    low = max(min(x for x, _ in points) for points in (first, second))
    high = min(max(x for x, _ in points) for points in (first, second))
    if not low < high:
        return None
    return mean_height(first, low, high) - mean_height(second, low, high)
