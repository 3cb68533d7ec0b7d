"""One self-contained HTML page for a run or a folder of runs: tables and pictures, no outside request."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from benchmark.analysis.run_analysis import Depth
from benchmark.analysis.translator import frame, of_result
from benchmark.errors import Incomplete
from benchmark.publishing import plots
from benchmark.publishing.board import Board
from benchmark.publishing.collect import Row, Section, row_method, sections, usable
from benchmark.publishing.figures import draw_ranks
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.heat_map import score_map
from benchmark.publishing.in_words import in_words
from benchmark.publishing.plot_style import MOST_DRAWN, PAGE, looking
from benchmark.publishing.plots_decisions import decisions, find_decisions
from benchmark.publishing.report_parts import STYLE, figure, gallery, table, words, wrap_in_figure
from benchmark.publishing.report_redundancy import Paths, redundancy
from benchmark.publishing.tables import SCORES, active, drop_blank_columns, name_row, share
from benchmark.publishing.terminal import show
from benchmark.result_files import find, require
from benchmark.results import Result, atomic_write


def build(source: Path, out: Path, depth: Depth | None = None) -> Path:
    """Write a page about a result file, or about all result files under a folder.

    Args:
        source: a result, or a folder that is searched with its subfolders.
        depth: what to compute of the adapters that lie beside results, beyond their overlaps.

    Raises:
        UserError: there is no result that can be used.
        Incomplete: some files cannot be used; the page of the others is written.
    """
    found, problems = usable(find(source))
    require(found, problems, source)
    text, unusable = page(found, str(source.name), depth or Depth())
    atomic_write(out, text.encode())
    problems += unusable
    if problems:
        raise Incomplete(str(out), problems)
    return out


def page(found: Sequence[tuple[Path, Result]], name: str, depth: Depth) -> tuple[str, list[str]]:
    """Return the page's text, and a line for each file of adapters that cannot be used."""
    title = f"Report: {name}"
    paths = {id(result): path for path, result in found}
    results = [result for _, result in found]
    with looking(PAGE):
        if len(results) == 1:
            parts = [_run(results[0], paths, depth)]
        else:
            parts = [_section(part, paths, depth) for part in sections(results)]
    body = "\n".join(text for text, _ in parts)
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )
    return text, [problem for _, problems in parts for problem in problems]


def _run(result: Result, paths: Paths, depth: Depth) -> tuple[str, list[str]]:
    """Return everything about one run: pictures, all conventions, its adapters, and the file's text."""
    row = Row(row_method(result), (result,))
    pictures = [
        wrap_in_figure("Score on each task after each task", score_map(result)),
        figure("Active adapters after each task", plots.active_over_tasks([row])),
        *(figure(caption, chart) for caption, chart in _decisions([result])),
    ]
    overlaps, problems = redundancy([row], paths, depth, level=2)
    text = "\n".join(
        [
            gallery(pictures),
            table("Numbers x 100", frame(of_result(result))),
            overlaps,
            f"<h2>The result</h2>\n<pre tabindex='0'>{escape(show(result))}</pre>",
        ]
    )
    return text, problems


def _decisions(results: Sequence[Result]) -> list[tuple[str, plots.Figure]]:
    """Return the picture of what was kept beside what was needed, where both are known."""
    found = find_decisions(results)
    return [("Adapters kept beside those needed", decisions(found))] if found else []


def _section(part: Section, paths: Paths, depth: Depth) -> tuple[str, list[str]]:
    tables, pictures = [], []
    found = boards_of(part)
    for board in found:
        tables += _scores(board)
        if (ranks := draw_ranks(board)) is not None:
            pictures.append(figure(ranks.caption, ranks.figure))
    for start in range(0, len(part.rows), MOST_DRAWN):
        shown = part.rows[start : start + MOST_DRAWN]
        anytime = [row for row in shown if row.values("average_anytime")]
        if anytime:
            pictures.append(figure("Mean score of the tasks seen", plots.accuracy_over_tasks(anytime)))
            if len(part.results[0].tasks) > 1:
                pictures.append(figure("Forgetting of each task", plots.forgetting_per_task(anytime)))
        pictures.append(figure("Active adapters", plots.active_over_tasks(shown)))
    pictures += [figure(caption, chart) for caption, chart in _decisions(part.results)]
    pictures.append(figure("Score against stored parameters", plots.score_against_stored(part.rows)))
    for row in part.rows:
        pictures.append(wrap_in_figure(f"{row.name}: scores of its first run", score_map(row.first)))
    heading = f"<h2>{escape(part.stream)}: {escape(part.title)}</h2>\n{words(in_words(part, found))}"
    overlaps, problems = redundancy(part.rows, paths, depth)
    return "\n".join([heading, *tables, gallery(pictures), overlaps]), problems


def _scores(board: Board) -> list[str]:
    """Return the tables of a board, the best rows first, and what holds for them."""
    blocks = [_table(board.title, board, board.rows)] if board.rows else []
    blocks += [f"<p>{escape(note)}</p>" for note in board.notes()]
    if board.apart:
        title = f"{board.title}: with fewer runs, not compared"
        blocks.append(_table(title, board, board.apart))
    return blocks


def _table(title: str, board: Board, rows: Sequence[Row]) -> str:
    """Return a table of scores without the columns in which nothing was measured."""
    return table(title, drop_blank_columns(pd.DataFrame([_record(row, board) for row in rows])))


def _record(row: Row, board: Board) -> dict[str, str]:
    record = {"method": name_row(row)} | board.mark(row)
    record |= {title: share(row.values(metric)) for title, metric in SCORES.items()}
    return record | {"active": active(row), "n": str(len(row.results))}
