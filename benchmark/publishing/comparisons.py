"""What paired tests say about the methods of one table: differences from the first, and mean ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmark.publishing.collect import Row
from benchmark.publishing.tables import LEADING, markdown, shown, standing
from benchmark.scoring.statistics import FEWEST_RUNS, Ranking, compare, friedman, holm, tiers

DEFINITIONS = {
    "cells": "last scores of single tasks that both methods share (same seed, order, data and task). Those "
    "of one run come from one model and are not independent, so tests on cells find differences too readily; "
    "tiers rest on whole runs.",
    "behind": "mean AP of the first row of the table minus that of the method over shared runs, with its "
    "95 % interval (Student), not adjusted for the number of methods.",
    "Wilcoxon, Holm": "two-sided p of the signed-rank test against the first row over cells, and the same "
    "adjusted for all methods of the table (Holm).",
    "mean rank": "over the cells that all methods of the table share; 1 is the best.",
    "Friedman, Nemenyi": "whether mean ranks differ at all, and how far apart two must be at 5 %.",
    "order spread": "highest minus lowest mean AP of the orders.",
}


def compared(rows: Sequence[Row]) -> list[str]:
    """Return the blocks that compare competing rows, a table and a line; none below two rows with runs."""
    able = [row for row in rows if len(row.runs(LEADING)) >= FEWEST_RUNS]
    if len(able) < 2:
        return []
    ordered = standing(able, tiers({row.label: row.runs(LEADING) for row in able}))
    ranking = friedman({row.label: row.cells() for row in ordered})
    return [_table(ordered, ranking), *([_verdict(ranking)] if ranking else [])]


def _table(rows: Sequence[Row], ranking: Ranking | None) -> str:
    first, others = rows[0], rows[1:]
    cells = {row.label: compare(first.cells(), row.cells()) for row in others}
    p_values = {label: each.p for label, each in cells.items() if each.p is not None}
    adjusted = holm(p_values)
    records = []
    for row in rows:
        runs = compare(first.runs(LEADING), row.runs(LEADING))
        own = row is first
        records.append(
            {
                "method": shown(row),
                "mean rank ↓": f"{ranking.mean_ranks[row.label]:.1f}" if ranking else "",
                "behind ↓": "" if own or runs.difference is None else f"{100 * runs.difference:.1f}",
                "95 % interval": "" if own else _interval(runs.interval),
                "Wilcoxon p": "" if own else _p(p_values.get(row.label)),
                "Holm p": "" if own else _p(adjusted.get(row.label)),
                "cells": "" if own else str(cells[row.label].n),
                "order spread ↓": _points(order_spread(row)),
            }
        )
    frame = pd.DataFrame(records)
    return markdown(frame.loc[:, (frame != "").any()])


def order_spread(row: Row) -> float | None:
    """Return the highest minus the lowest mean AP of the orders; None for one order."""
    by_order: dict[str, list[float]] = defaultdict(list)
    for result, value in zip(row.results, row.values(LEADING), strict=False):
        by_order[result.order].append(value)
    means = [float(np.mean(values)) for values in by_order.values()]
    return max(means) - min(means) if len(means) > 1 else None


def _verdict(ranking: Ranking) -> str:
    return (
        f"Friedman over {ranking.blocks} cells shared by {len(ranking.mean_ranks)} methods: chi-squared "
        f"{ranking.statistic:.1f}, p {_p(ranking.p)}. Nemenyi: mean ranks less than "
        f"{ranking.critical_difference:.1f} apart are not told apart."
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
