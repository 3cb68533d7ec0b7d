"""Rows of a board beside those that do nothing against forgetting, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.publishing.board import LEADING, Board
from benchmark.publishing.collect import Row, row_method, run_key
from benchmark.publishing.grouping import REHEARSAL_FREE
from benchmark.publishing.headroom import FROZEN
from benchmark.publishing.tables import share
from benchmark.scoring.statistics import LEVEL, Runs, compare, student_p
from benchmark.scoring.statistics_ranks import holm

FLOORS = {
    FROZEN: "the frozen backbone, of which a head at most is trained",
    "seq-lora": "sequential LoRA",
}
"""Rows that do nothing against forgetting, in words."""


def describe_floors(board: Board, rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each floor: how many of a board's rows score more than it, and how many less.

    Where the tasks before the last give other numbers, it says these too: a row may lead by the task that it
    has just learned and have kept less of the others than a model that learned nothing.

    Args:
        rows: the first row of each method that competes with none.
    """
    if not board.compared or board.title != REHEARSAL_FREE:
        return []
    floors = {row_method(row.first): row for row in reversed(rows)}
    found = [_describe(board, floors[name], text) for name, text in FLOORS.items() if name in floors]
    return [f"{board.title}: {sentence} (Student over paired runs, Holm over rows)." for sentence in found]


def _describe(board: Board, floor: Row, text: str) -> str:
    count = len(board.rows)
    above, below = count_apart(board.rows, floor, lambda row: row.runs(LEADING))
    named = f"{text}, {share(floor.values(LEADING))}"
    rest = ""
    if floor.values(LEADING) and len(floor.first.tasks) > 1:
        old = count_apart(board.rows, floor, score_earlier_tasks)
        if old != (above, below):
            rest = f"; on the tasks before the last, {old[0]} more and {old[1]} less"
    return (
        f"{above} of {count} rows score significantly more than {named}, and {below} significantly less{rest}"
    )


def score_earlier_tasks(row: Row) -> Runs:
    """Return each run's mean score after the last task over all tasks before it, in 0..1."""
    found = {
        run_key(run): [score for score in run.matrix[-1][:-1] if score is not None] for run in row.results
    }
    return {key: sum(scores) / len(scores) for key, scores in found.items() if scores}


def count_apart(rows: Sequence[Row], floor: Row, score: Callable[[Row], Runs]) -> tuple[int, int]:
    """Return how many rows are above and how many below another on shared runs, at 5 % over all of them."""
    found = {row.label: compare(score(row), score(floor)) for row in rows}
    known = {label: p for label, each in found.items() if (p := student_p(each.differences)) is not None}
    apart = [found[label].difference or 0.0 for label, p in holm(known).items() if p <= 1 - LEVEL]
    return sum(each > 0 for each in apart), sum(each < 0 for each in apart)
