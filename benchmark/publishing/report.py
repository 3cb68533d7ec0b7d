"""One self-contained HTML page for a run or a folder of runs: tables and pictures, no outside request."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmark.analysis.translator import of_result
from benchmark.errors import UserError
from benchmark.publishing import plots
from benchmark.publishing.collect import Row, Section, row_method, sections
from benchmark.publishing.grouping import REFERENCES, by_needs
from benchmark.publishing.plots import MOST_DRAWN
from benchmark.publishing.tables import SCORES, active, share
from benchmark.publishing.terminal import show
from benchmark.results import Result, atomic_write, read
from benchmark.scoring.statistics import friedman
from benchmark.tuning.tuning_file import is_tuning_file

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child, .words { text-align: left; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
.wide { overflow-x: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1rem;
  align-items: start; }
figure { margin: 0; background: #fff; color: #000; border: 1px solid #d9dce2; border-radius: 4px; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { padding: .25rem .75rem; font-size: .9rem; }
pre { overflow-x: auto; font-size: .85rem; }
/* Pictures are drawn on white: turned over, their hues are kept. */
@media (prefers-color-scheme: dark) {
  figure { filter: invert(.9) hue-rotate(180deg); border-color: #c9c4bb; }
}
"""


WORDS = ("definition", "used by")
"""Columns of texts, which start on one line."""


def build(source: Path, out: Path) -> Path:
    """Write a page about a result file, or about all result files under a folder.

    Args:
        source: a result, or a folder that is searched with its subfolders.
        out: the page.

    Raises:
        UserError: there is no result, or some files cannot be used; the page of the others is written.
    """
    results, problems = _gather(source)
    if not results:
        raise UserError("; ".join(problems) or f"no results in {source}; `bench run` writes them")
    atomic_write(out, page(results, str(source.name)).encode())
    if problems:
        raise UserError(f"left out of {out}: {'; '.join(problems)}")
    return out


def _gather(source: Path) -> tuple[list[Result], list[str]]:
    paths = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    results, problems = [], []
    for path in paths:
        # Unfinished work and searches lie beside results in folders of their own.
        if path.parent.suffix == ".partial" or (source.is_dir() and is_tuning_file(path, source)):
            continue
        try:
            results.append(read(path))
        except UserError as error:
            problems.append(str(error))
    return results, problems


def page(results: Sequence[Result], name: str) -> str:
    """Return the page's text."""
    title = f"Report: {name}"
    parts = [_run(results[0])] if len(results) == 1 else [_section(part) for part in sections(results)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _run(result: Result) -> str:
    """Return everything about one run: pictures, all conventions, and the file's text."""
    numbers = [
        [
            each.rule.name.replace("_", " "),
            "" if each.value is None else f"{100 * each.value:.2f}",
            each.missing or each.rule.title,
            each.rule.users,
        ]
        for each in of_result(result)
    ]
    row = Row(row_method(result), (result,))
    pictures = [
        ("Score on each task after each task", plots.score_matrix(result)),
        ("Active adapters after each task", plots.active_over_tasks([row])),
    ]
    return "\n".join(
        [
            _gallery([_figure(caption, drawn) for caption, drawn in pictures]),
            _table("Numbers x 100", ["number", "value", "definition", "used by"], numbers),
            f"<h2>The result</h2>\n<pre>{escape(show(result))}</pre>",
        ]
    )


def _section(part: Section) -> str:
    tables, pictures = [], []
    for title, rows in by_needs(part.rows).items():
        tables.append(_scores(title, rows))
        ranking = friedman({row.name: row.cells() for row in rows}) if title != REFERENCES else None
        if ranking is not None:
            pictures.append(_figure(f"{title}: mean ranks", plots.critical_difference(ranking)))
    for start in range(0, len(part.rows), MOST_DRAWN):
        drawn = part.rows[start : start + MOST_DRAWN]
        anytime = [row for row in drawn if row.values("average_anytime")]
        if anytime:
            pictures.append(_figure("Mean score of the tasks seen", plots.accuracy_over_tasks(anytime)))
            if len(part.results[0].tasks) > 1:
                pictures.append(_figure("Forgetting of each task", plots.forgetting_per_task(anytime)))
        pictures.append(_figure("Active adapters", plots.active_over_tasks(drawn)))
    pictures.append(_figure("Score against stored parameters", plots.score_against_stored(part.rows)))
    for row in part.rows:
        pictures.append(_figure(f"{row.name}: scores of its first run", plots.score_matrix(row.first)))
    heading = f"<h2>{escape(part.stream)}: {escape(part.title)}</h2>"
    return "\n".join([heading, *tables, _gallery(pictures)])


def _scores(title: str, rows: Sequence[Row]) -> str:
    def order(row: Row) -> float:
        values = row.values("average_performance")
        return -sum(values) / len(values) if values else 1.0

    records = [
        [
            row.name,
            *(share(row.values(metric)) for metric in SCORES.values()),
            active(row),
            str(len(row.results)),
        ]
        for row in sorted(rows, key=order)
    ]
    return _table(title, ["method", *SCORES, "active", "n"], records)


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    sides = [' class="words"' if column in WORDS else "" for column in columns]
    titles = zip(sides, columns, strict=True)
    head = "".join(f'<th scope="col"{side}>{escape(column)}</th>' for side, column in titles)
    lines = (zip(sides, row, strict=True) for row in rows)
    cells = ("".join(f"<td{side}>{escape(cell)}</td>" for side, cell in line) for line in lines)
    body = "\n".join(f"<tr>{line}</tr>" for line in cells)
    return (
        f'<div class="wide"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _gallery(figures: Sequence[str]) -> str:
    return '<div class="pictures">\n' + "\n".join(figures) + "\n</div>"


def _figure(caption: str, drawn: plots.Figure) -> str:
    """Return a picture inside the page."""
    return (
        f'<figure>\n<img alt="{escape(caption)}" src="{plots.data_uri(drawn)}">\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )
