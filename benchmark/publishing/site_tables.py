"""What the pages of the site show, before it is HTML: cells that know their value and its detail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmark.publishing.board import LEADING, READING_COLUMNS, Board
from benchmark.publishing.collect import Row, Section
from benchmark.publishing.comparisons import DEFINITIONS as COMPARED
from benchmark.publishing.gap import Closed
from benchmark.publishing.overview import Standings, name_apart
from benchmark.publishing.tables import (
    COSTS,
    DEFINITIONS,
    INTERVAL,
    PROOF,
    PROOF_SENTENCE,
    SCORES,
    cost,
    interval,
    name_row,
    share,
)
from benchmark.results import Result
from benchmark.scoring.statistics import spread
from benchmark.scoring.statistics_normalised import Summary
from benchmark.text_table import write_count

Link = Callable[[Result], str]
"""From a result to the address of its file, as seen from the page."""
SUMMARY = (
    ("mean ↑", "higher", "mean over all boards of the table; blank where one is missing or has few runs."),
    ("median ↑", "higher", "median over all boards of the table."),
    ("without one board", "lower", "the lowest and the highest mean when one board is left out."),
)

EXPLAINED = DEFINITIONS | {name: COMPARED[name] for name in ("mean rank", "Friedman, Nemenyi")}


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        better: `higher`, `lower`, or empty where neither is; the first click brings the best up.
    """

    title: str
    better: str = ""
    explanation: str = ""


@dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
        text: the number as it stands in the markdown tables; empty where it was not measured.
        spread: what follows it in smaller letters.
        detail: shown to a reader who points at the cell or moves to it.
        value: what the column is sorted by.
    """

    text: str = ""
    spread: str = ""
    detail: str = ""
    value: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Run:
    """One result of a row."""

    text: str
    link: str


@dataclass(frozen=True)
class Picture:
    """A picture as a page holds it."""

    caption: str
    address: str


@dataclass(frozen=True)
class Line:
    """A row: its name, its cells in the order of the columns, the files behind it, and its method's key."""

    name: str
    cells: tuple[Cell, ...]
    runs: tuple[Run, ...] = ()
    method: str = ""


@dataclass(frozen=True)
class Table:
    """A table, what is said below it, and the column whose order the lines have at first."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""
    sorted_by: str = ""


def scores(board: Board, link: Link) -> Table:
    """Return the scores of a board, the best first, with a mark on what could be best."""
    note = " ".join(board.notes()) if board.ranked else "Not competitors, and not compared."
    return _scores(board, board.rows, link, board.title, note)


def scores_apart(board: Board, link: Link) -> Table:
    """Return the scores of the rows that lack some of the board's runs."""
    note = "Rows that lack some of the runs of the table above; not compared with it."
    return _scores(board, board.apart, link, f"{board.title}: with fewer runs", note)


def _scores(board: Board, rows: Sequence[Row], link: Link, title: str, note: str) -> Table:
    return _drop_blank_columns(
        Table(title, _score_columns(board), _score_lines(board, rows, link), note, "AP ↑")
    )


def _drop_blank_columns(table: Table) -> Table:
    """Return a table without the columns that are blank throughout, but for that of marks."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if column.title == "could be best" or any(line.cells[place].text for line in table.lines)
    ]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        lines=tuple(replace(line, cells=tuple(line.cells[place] for place in kept)) for line in table.lines),
    )


def _score_columns(board: Board) -> tuple[Column, ...]:
    first = board.marked_by
    columns = [Column(first, "higher" if board.ranked else "", EXPLAINED[first])] if first else []
    columns += [_column(name) for name in SCORES]
    columns += [_column(title) for title in board.readings]
    columns += [Column(INTERVAL, "", EXPLAINED[INTERVAL])] if board.intervals else []
    last = [Column(name, "higher", EXPLAINED[name]) for name in ("AP worst", "n")]
    last += [Column(PROOF, "", PROOF_SENTENCE)] if board.proven else []
    return (*columns, *last)


def _score_lines(board: Board, rows: Sequence[Row], link: Link) -> tuple[Line, ...]:
    lines = []
    for row in rows:
        first = [_mark(text == "yes") if board.ranked else Cell(text) for text in board.mark(row).values()]
        strong = row.label == board.winner
        cells = first + [_score(row, metric, metric == LEADING and strong) for metric in SCORES.values()]
        cells += [_mean(row.values(LEADING, READING_COLUMNS[title])) for title in board.readings]
        cells += [Cell(interval(row, board))] if board.intervals else []
        cells += [_worst(row), Cell(str(len(row.results)), value=len(row.results))]
        cells += [Cell(row.proof)] if board.proven else []
        runs = tuple(Run(f"{identify_run(result)}{_ap(result)}", link(result)) for result in row.results)
        lines.append(Line(name_row(row), tuple(cells), runs, row.first.method))
    return tuple(lines)


def costs(rows: Sequence[Row], link: Link) -> Table:
    """Return what each row costs."""
    lines = []
    for row in sorted(rows, key=lambda row: row.label):
        runs = tuple(Run(identify_run(result), link(result)) for result in row.results)
        lines.append(Line(name_row(row), tuple(_cost(row, title) for title in COSTS), runs, row.first.method))
    return _drop_blank_columns(Table("Costs", tuple(_column(title) for title in COSTS), tuple(lines)))


def build_normalised(group: Standings, parts: Sequence[Section]) -> Table:
    """Return the normalised scores of one group, a column for each section that has it.

    A board on which no row has two runs is left out, and so is a row without two runs on some board.

    Args:
        parts: every section, to tell those of one stream apart.

    Returns:
        the table, without lines where nothing is left.
    """
    kept = [
        column
        for column in range(len(group.sections))
        if any(_is_certain(closed.get(column)) for closed in group.closed.values())
    ]
    names = [
        name for name in group.names if all(_is_certain(group.closed[name].get(column)) for column in kept)
    ]
    left_out = len(group.names) - len(names)
    columns = [Column(f"{name_apart(group.sections[column], parts)} ↑", "higher") for column in kept]
    several = len(group.sections) > 1 and all(group.summary(name) for name in names)
    lines = []
    for name in names if kept else []:
        cells = [_format_closed(group.closed[name].get(column)) for column in kept]
        lines.append(Line(name, (*cells, *(_summary(group.summary(name)) if several else []))))
    summary = [Column(title, side, about) for title, side, about in SUMMARY] if several else []
    rows = write_count(left_out, "row")
    note = f"{rows} with one run alone, or none, on some board: see the streams' pages." if left_out else ""
    return Table(group.title, (*columns, *summary), tuple(lines), note)


def _is_certain(closed: Closed | None) -> bool:
    return closed is not None and closed.n > 1


def groups(part: Section, found: Sequence[Board], link: Link) -> list[Table]:
    """Return the tables of a section: scores, one for each of its boards, and costs."""
    tables = []
    for board in found:
        tables += [scores(board, link)] if board.rows else []
        tables += [scores_apart(board, link)] if board.apart else []
    return [*tables, costs(part.rows, link)]


def _column(title: str) -> Column:
    name, _, arrow = title.rpartition(" ")
    better = {"↑": "higher", "↓": "lower"}.get(arrow)
    return Column(title, better or "", EXPLAINED.get(name if better else title, ""))


def _mark(could: bool) -> Cell:
    return Cell("yes" if could else "", value=int(could))


def _score(row: Row, metric: str, strong: bool) -> Cell:
    values = row.values(metric)
    mean = _mean(values)
    if not values:
        return mean
    about = f"standard deviation {mean.spread[2:]}, n = {len(values)}" if mean.spread else "n = 1"
    runs = [
        f"{identify_run(result)}: {100 * value:.1f}"
        for result, value in zip(row.results, values, strict=True)
    ]
    return replace(mean, detail="\n".join([about, *runs]), strong=strong)


def _mean(values: Sequence[float]) -> Cell:
    text, sign, deviation = share(values).partition(" ± ")
    return Cell(text, f"± {deviation}" if sign else "", value=spread(values)[0] if values else None)


def _worst(row: Row) -> Cell:
    values = row.values(LEADING)
    if not values:
        return Cell()
    worst = min(values)
    return Cell(f"{100 * worst:.1f}", "", identify_run(row.results[values.index(worst)]), worst)


def _cost(row: Row, title: str) -> Cell:
    values = [COSTS[title](run) for run in row.results]
    mean = spread(values)[0]
    if math.isnan(mean):
        return Cell()
    least, most = min(values), max(values)
    differ = f"mean of n = {len(values)}, from {least:,.4g} to {most:,.4g}" if least != most else ""
    return Cell(cost(row, title), "", differ, mean)


def _format_closed(closed: Closed | None) -> Cell:
    if closed is None:
        return Cell()
    low, high = closed.interval or (None, None)
    text = str(round(100 * closed.share))
    if low is None or high is None:
        return Cell(text, f"(n = {closed.n})", f"n = {closed.n}: too few runs for an interval", closed.share)
    reach = f"{round(100 * low)} to {round(100 * high)}"
    return Cell(text, f"({reach})", f"95 % interval {reach}, n = {closed.n}", closed.share)


def _summary(found: Summary | None) -> list[Cell]:
    if found is None:
        return [Cell()] * len(SUMMARY)
    spread_of_means = f"{round(100 * found.low)} to {round(100 * found.high)}"
    shares = [Cell(str(round(100 * share)), value=share) for share in (found.mean, found.median)]
    return [*shares, Cell(spread_of_means, value=found.high - found.low)]


def identify_run(result: Result) -> str:
    """Return which of a row's runs a result is."""
    return f"order {result.order}, seed {result.seed}"


def _ap(result: Result) -> str:
    value = result.headline.get(LEADING)
    return "" if value is None else f": AP {100 * value:.1f}"
