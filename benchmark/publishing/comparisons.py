"""What tests over whole runs say about the rows of one table: how far behind the first, and mean ranks."""

from __future__ import annotations

import pandas as pd

from benchmark.publishing.board import LEADING, Board
from benchmark.publishing.tables import drop_blank_columns, markdown, name_in_markdown
from benchmark.scoring.statistics import compare
from benchmark.scoring.statistics_ranks import Ranking, friedman, holm, signed_rank

FEWEST_FOR_P = 6
"""With fewer runs no signed-rank p can be below 5 %."""

DEFINITIONS = {
    "behind": "AP of the first row of the table minus that of the row, over the shared runs, with the "
    "interval that holds for all rows at once (Tukey, 95 %). Where it leaves out 0 the row is not the best.",
    "signed-rank p, Holm p": "two-sided exact p of the signed-rank test against the first row over runs, and "
    "the same adjusted for all rows of the table (Holm). With n runs p cannot be below 2^(1 - n): both stand "
    "from 6 runs on.",
    "mean rank": "over runs; 1 is the best.",
    "Friedman, Nemenyi": "whether mean ranks over runs differ at all, and how far apart two must be at 5 %.",
}


def compare_rows(board: Board) -> list[str]:
    """Return the blocks that compare a board's rows, a table and a line; none where nothing is compared."""
    if not board.compared:
        return []
    ranking = friedman({row.label: row.runs(LEADING) for row in board.rows})
    return [_table(board, ranking), *([_verdict(ranking)] if ranking else [])]


def _table(board: Board, ranking: Ranking | None) -> str:
    first = board.rows[0].runs(LEADING)
    reach = board.within_noise or 0.0
    behind = {row.label: compare(first, row.runs(LEADING)) for row in board.rows[1:]}
    p_values = {label: signed_rank(each.differences) for label, each in behind.items()}
    adjusted = holm({label: p for label, p in p_values.items() if p is not None})
    records = []
    for row in board.rows:
        found = behind[row.label].difference if row.label in behind else None
        records.append(
            {
                "method": name_in_markdown(row),
                "mean rank ↓": f"{ranking.mean_ranks[row.label]:.1f}" if ranking else "",
                "behind ↓": "" if found is None else f"{100 * found:.1f}",
                "95 % interval": ""
                if found is None
                else f"{100 * (found - reach):.1f} to {100 * (found + reach):.1f}",
            }
            | (
                {"signed-rank p": _p(p_values.get(row.label)), "Holm p": _p(adjusted.get(row.label))}
                if board.runs >= FEWEST_FOR_P
                else {}
            )
        )
    return markdown(drop_blank_columns(pd.DataFrame(records)))


def _verdict(ranking: Ranking) -> str:
    return (
        f"Friedman over {ranking.blocks} runs of {len(ranking.mean_ranks)} rows: chi-squared "
        f"{ranking.statistic:.1f}, p {_p(ranking.p)}. Nemenyi: mean ranks less than "
        f"{ranking.critical_difference:.1f} apart do not differ significantly by ranks alone. That "
        "test sees less than the mark's, which goes by the sizes of differences and one pooled noise."
    )


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
