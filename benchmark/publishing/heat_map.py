"""A matrix as an HTML table with coloured cells: no plotting library, and readable without seeing it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from benchmark.analysis.redundancy import Redundancy
from benchmark.results import Result
from benchmark.scoring.metrics import as_array

MOST_NUMBERS = 12
"""Maps of more tasks have no numbers in their cells: they could not be read."""
STEPS = 50
ENDS = ((0, 32, 77), (124, 123, 120), (255, 234, 70))
"""Dark blue for the least, grey for the middle, yellow for the most: told apart by colour-blind readers, and
growing lighter throughout, so that they stay in order in print without colours."""


def colour(level: int) -> tuple[int, int, int]:
    """Return red, green and blue in 0..255 of a level from 0 to `STEPS`, on lines between the `ENDS`."""
    place = 2 * level / STEPS
    low = ENDS[:2] if place <= 1 else ENDS[1:]
    share = place if place <= 1 else place - 1
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(*low, strict=True))
    return red, green, blue


def luminance(rgb: Sequence[int]) -> float:
    """Return the relative luminance, 0 to 1, of red, green and blue in 0..255, as WCAG 2.1 defines it."""
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (value / 255 for value in rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink(rgb: Sequence[int]) -> str:
    """Return the colour of a text on a ground: the one of the higher contrast, which is then at least 4.5."""
    return "#000" if (luminance(rgb) + 0.05) / 0.05 >= 1.05 / (luminance(rgb) + 0.05) else "#fff"


def style() -> str:
    """Return the rules of all levels and of the table."""
    levels = (
        f".l{level}{{background:#{bytes(colour(level)).hex()};color:{ink(colour(level))}}}"
        for level in range(STEPS + 1)
    )
    return (
        ".map{margin:.5rem .75rem;font-size:.8rem;line-height:1.2}"
        ".map th,.map td{border:0;padding:.15rem;min-width:1.1rem;text-align:center;font-weight:400}"
        ".map td{height:1.1rem}.map.many th,.map.many td{padding:0;min-width:.2rem;height:.3rem;"
        "font-size:.4rem}" + "".join(levels)
    )


def heat_map(
    cells: np.ndarray, tasks: Sequence[int], title: str, corner: str, limits: tuple[float, float], digits: int
) -> str:
    """Return a square matrix as a table; a cell that was not measured stays without colour.

    Args:
        cells: `(T, T)`, NaN where nothing was measured.
        tasks: numbers of the rows and columns, counted from 0; shown from 1.
        corner: what a row and a column are.
        limits: values of the first and of the last colour; beyond them the colours do not change.
        digits: after the point, of the numbers shown up to `MOST_NUMBERS` tasks.
    """
    count, (least, most) = len(cells), limits
    shares = np.clip((cells - least) / (most - least), 0, 1)
    levels = np.rint(np.nan_to_num(shares) * STEPS).astype(int)
    numbers = count <= MOST_NUMBERS

    def cell(t: int, i: int) -> str:
        if np.isnan(cells[t, i]):
            return "<td></td>"
        return f'<td class="l{levels[t, i]}">{f"{cells[t, i]:.{digits}f}" if numbers else ""}</td>'

    heads = "".join(f'<th scope="col">{task + 1}</th>' for task in tasks)
    lines = []
    for t, task in enumerate(tasks):
        known = np.flatnonzero(~np.isnan(cells[t]))
        end = known[-1] + 1 if len(known) else 0
        row = f'<th scope="row">{task + 1}</th>' if numbers else ""
        lines.append(f"<tr>{row}{''.join(cell(t, i) for i in range(end))}</tr>")
    kind = "map" if numbers else "map many"
    head = f"<thead><tr><th>{escape(corner)}</th>{heads}</tr></thead>\n" if numbers else ""
    scale = "".join(f'<td class="l{level}"></td>' for level in range(0, STEPS + 1, 5))
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<table class="{kind}">\n{head}<tbody>\n' + "\n".join(lines) + "\n</tbody></table>"
        f'<table class="map" role="presentation"><tr><td>{least:g}</td>{scale}<td>{most:g}</td></tr></table>'
        "</div>"
    )


def score_map(result: Result) -> str:
    """Return R[t][i] x 100: a row for each stage, a column for each task."""
    cells = 100 * as_array(result.matrix)
    name = f"{result.name}: score x 100 on each task after each task"
    return heat_map(cells, range(len(cells)), name, "after / on task", (0, 100), 0)


def overlap_maps(found: Redundancy) -> dict[str, str]:
    """Return the overlap of every two tasks' adapters, by title; empty below two adapters."""
    if len(found.tasks) < 2:
        return {}
    maps = {}
    for side in ("rows", "columns"):
        title = f"overlap of every two tasks, {side[:-1]} spaces"
        name = f"{found.result.name}: {title}"
        maps[title] = heat_map(found.matrix(side), found.tasks, name, "task", (0, 1), 2)
    return maps
