"""Tables for a paper or a program: boards and scores by task, as markdown, LaTeX, CSV or JSON.

A LaTeX table needs the package booktabs. Its best mean of each column is bold, and a dagger marks the rows
that could be best; the caption says over how many runs, and what stands behind the sign ±.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.analysis.pairing import Pairing
from benchmark.analysis.translator import Translation, as_data, frame
from benchmark.publishing.board import LEADING, READING_COLUMNS, Board
from benchmark.publishing.collect import Row, Section
from benchmark.publishing.grouping import reference_kind
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.tables import LEFT, SCORES, markdown, name_row, plain, score_frame, share
from benchmark.results import READINGS, TRAINED_HEAD
from benchmark.scoring.statistics import spread
from benchmark.text_table import TableFormat

SPREAD = "mean ± sample standard deviation"
DAGGER = "†"
WIDE = 8
"""Tables of more columns span both columns of a page (`table*`)."""
SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    DAGGER: r"$^{\dagger}$",
}


@dataclass(frozen=True)
class PaperTable:
    """A table in every form.

    Attributes:
        title: what the table is of, in one line.
        texts: the cells as people read them.
        records: the same as plain numbers in 0..1, a row each, for CSV and JSON.
        note: what a reader has to know of it.
        bold: positions (row, column) of cells that stand out in LaTeX.
        marked: numbers of the rows that could be best.
        words: further columns that start on one line.
    """

    title: str
    texts: pd.DataFrame
    records: Sequence[dict[str, Any]]
    note: str = ""
    bold: frozenset[tuple[int, int]] = frozenset()
    marked: frozenset[int] = frozenset()
    words: frozenset[str] = frozenset()


def frame_table(title: str, frame: pd.DataFrame, note: str = "", **places: Any) -> PaperTable:
    """Return a frame as a table: its cells as texts, and as they are for CSV and JSON.

    Args:
        frame: None and NaN are blank cells.
        places: further columns for CSV and JSON alone, the same in each row, such as the run's name.
    """
    blank = frame.astype(object).where(frame.notna(), None)
    records = [places | {str(name): cell for name, cell in row.items()} for row in blank.to_dict("records")]
    texts = blank.map(lambda cell: "" if cell is None else str(cell))
    words = frozenset(str(name) for name in texts if texts[name].str.contains("[^\\W\\d_]", regex=True).any())
    return PaperTable(title, texts, records, note, words=words)


def write_frame(title: str, frame: pd.DataFrame, form: TableFormat, note: str = "") -> str:
    """Return one frame in a form, as `write_tables` does."""
    return write_tables([frame_table(title, frame, note)], form)


def write_tables(tables: Sequence[PaperTable], form: TableFormat) -> str:
    """Return tables in one form: one text for a document, or all rows as CSV or JSON."""
    if form is TableFormat.json:
        data = [{"title": each.title, "note": each.note, "rows": each.records} for each in tables]
        return json.dumps(data, indent=1, ensure_ascii=False)
    if form is TableFormat.csv:
        rows = [record for each in tables for record in each.records]
        if not rows:
            return ",".join(dict.fromkeys(str(name) for each in tables for name in each.texts))
        return str(pd.DataFrame(rows).to_csv(index=False)).rstrip("\n")
    if form is TableFormat.latex:
        return "\n".join(["% Needs \\usepackage{booktabs}.", *map(latex, tables)])
    return "\n\n".join(_markdown(each) for each in tables)


def board_tables(parts: Iterable[Section], sort_by: str = TRAINED_HEAD) -> list[PaperTable]:
    """Return the tables of all boards of some sections, those of rows with fewer runs behind their board."""
    found = []
    for part in parts:
        for board in boards_of(part):
            for rows, apart in ((board.rows, False), (board.apart, True)):
                if rows:
                    found.append(_of_board(part, board, sort_by, apart))
    return found


def task_tables(parts: Iterable[Section]) -> list[PaperTable]:
    """Return for each section the score of every row on each task after the last one."""
    return [_by_task(part) for part in parts]


def convention_tables(runs: Iterable[tuple[str, Sequence[Translation]]]) -> list[PaperTable]:
    """Return for each run, given by its name, its numbers by every convention."""
    return [
        PaperTable(name, frame(found), [{"run": name} | each for each in as_data(found)])
        for name, found in runs
    ]


def comparison_table(paired: Pairing) -> PaperTable:
    """Return two results compared task by task."""
    records: list[dict[str, Any]] = []
    for each in paired.tasks:
        low, high = each.interval or (None, None)
        scores = {"first": each.first, "second": each.second, "difference": each.difference}
        records.append({"task": each.task} | scores | {"low": low, "high": high, "rows": each.rows})
    return PaperTable(" against ".join(paired.names), paired.frame(), records, paired.note())


def _of_board(part: Section, board: Board, sort_by: str, apart: bool) -> PaperTable:
    texts = score_frame(board, sort_by, apart)
    by_name = {name_row(row): row for row in (board.apart if apart else board.rows)}
    rows = [by_name[name] for name in texts["method"]]
    marked = frozenset(number for number, row in enumerate(rows) if row.label in board.best and not apart)
    title = f"{part.stream}, {part.title}: {board.title}" + (", with fewer runs" if apart else "")
    columns = list(texts.columns)
    means = {
        columns.index(name): [_mean(row, metric, reading) for row in rows]
        for name, metric, reading in _find_measured()
        if name in columns
    }
    ranked = board.ranked and not apart and len(rows) > 1
    bold = {
        (number, column)
        for column, values in means.items()
        for number in (_best(values, columns[column].endswith("↑")) if ranked else ())
    }
    places = {"stream": part.stream, "section": part.title, "board": board.title, "with_fewer_runs": apart}
    records = [places | _record(row, board, apart) for row in rows]
    note = [_spread_note(rows), *([] if apart else board.notes())]
    return PaperTable(title, texts, records, " ".join(note), frozenset(bold), marked)


def _find_measured() -> Iterator[tuple[str, str, str]]:
    """Yield title, metric and reading of each column of scores."""
    for name, metric in SCORES.items():
        yield name, metric, TRAINED_HEAD
    for name, reading in READING_COLUMNS.items():
        yield name, LEADING, reading


def _mean(row: Row, metric: str, reading: str) -> float | None:
    values = row.values(metric, reading)
    return spread(values)[0] if values else None


def _best(values: Sequence[float | None], higher: bool) -> list[int]:
    """Return the places of the best value; as it is printed, so that what looks equal is treated as such."""
    shown = {place: round(100 * value, 1) for place, value in enumerate(values) if value is not None}
    best = (max if higher else min)(shown.values(), default=None)
    return [place for place, value in shown.items() if value == best]


def _record(row: Row, board: Board, apart: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"method": name_row(row), "n": len(row.results)}
    if board.ranked and not apart:
        record["could_be_best"] = row.label in board.best if board.compared else None
    elif not board.ranked:
        record["reference"] = reference_kind(row)
    for reading in READINGS:
        for metric in SCORES.values() if reading == TRAINED_HEAD else (LEADING,):
            name = metric if reading == TRAINED_HEAD else f"{metric}_{reading}"
            values = row.values(metric, reading)
            record[name], record[f"{name}_std"] = spread(values) if values else (None, None)
    return record | ({"proof": row.proof} if board.proven else {})


def _by_task(part: Section) -> PaperTable:
    first = part.results[0].tasks
    alike = all([task.name for task in run.tasks] == [task.name for task in first] for run in part.results)
    count = max(len(run.tasks) for run in part.results)
    names = [task.name for task in first] if alike else [f"task {number + 1}" for number in range(count)]
    texts, records = [], []
    for row in part.rows:
        cells: dict[str, str] = {"method": row.name}
        last = [run.matrix[-1] for run in row.results]
        for number, name in enumerate(names):
            found = [scores[number] for scores in last if number < len(scores)]
            values = [] if None in found or len(found) < len(last) else [x for x in found if x is not None]
            cells[name] = share(values)
            mean, deviation = spread(values) if values else (None, None)
            places = {"stream": part.stream, "section": part.title, "method": row.name, "task": name}
            records.append(places | {"n": len(last), "score": mean, "score_std": deviation})
        cells["AP ↑"] = share(row.values(LEADING))
        texts.append(cells | {"n": str(len(last))})
    note = f"Scores after the last task. {_spread_note(part.rows)}"
    return PaperTable(f"{part.stream}, {part.title}", pd.DataFrame(texts), records, note)


def _spread_note(rows: Sequence[Row]) -> str:
    counts = sorted({len(row.results) for row in rows})
    n = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    if counts == [1]:
        return "Scores × 100 of one run (n = 1)."
    return f"Scores × 100, {SPREAD} over runs ({n}), each with its own order or seed."


def _markdown(table: PaperTable) -> str:
    texts = table.texts.rename(columns=plain).map(plain)
    shown = markdown(texts, frozenset(map(plain, table.words)))
    return "\n\n".join(filter(None, [f"**{plain(table.title)}**", shown, plain(table.note)]))


def latex(table: PaperTable) -> str:
    """Return a table as LaTeX ruled by booktabs, inside a float with caption and label."""
    cells = [[latex_text(str(cell)) for cell in row] for row in table.texts.to_numpy()]
    names = [str(name) for name in table.texts.columns]
    for row, column in table.bold:
        cells[row][column] = rf"\textbf{{{cells[row][column]}}}"
    for row in table.marked:
        cells[row][names.index("method")] += SIGNS[DAGGER]
    texts = pd.DataFrame(cells, columns=names).drop(columns="could be best", errors="ignore")
    left = {"method", "task", "definition", "used by", *LEFT, *table.words}
    sides = "".join("l" if name in left else "r" for name in texts.columns)
    texts.columns = pd.Index([latex_text(str(name)) for name in texts.columns])
    words = [f"{table.title}.", table.note]
    words += ["Bold: the best mean of a column."] if table.bold else []
    words += [
        f"{DAGGER}: could be best, AP not significantly below the highest by a test over all rows."
    ] * bool(table.marked)
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
    return str(
        texts.style.hide(axis="index").to_latex(
            hrules=True,
            column_format=sides,
            caption=latex_text(" ".join(filter(None, words))),
            label=f"tab:{label}",
            position="t",
            position_float="centering",
            environment="table*" if texts.shape[1] > WIDE else None,
        )
    )


def latex_text(text: str) -> str:
    """Return a text that LaTeX sets as it is."""
    return "".join(SIGNS.get(letter, letter) for letter in " ".join(text.split()))
