"""The pieces of a report's page: its style, tables and pictures as HTML, with every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from benchmark.publishing import heat_map
from benchmark.publishing.in_words import InWords
from benchmark.publishing.plot_style import data_uri

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STYLE = (
    """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #8886; text-align: right; white-space: nowrap; }
.words, th:first-child, td:first-child { white-space: normal; }
th:first-child, td:first-child, .words { text-align: left; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
.wide { overflow-x: auto; }
dt { font-weight: 600; }
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
    + heat_map.style()
    + "\n"
)


WORDS = ("definition", "used by")
"""Columns of texts, which start on one line."""


def table(caption: str, frame: pd.DataFrame) -> str:
    """Return a table that scrolls sideways in itself where it is too wide, by keyboard too."""
    # Two columns of one name differ in a space at the end.
    columns = [str(title).strip() for title in frame.columns]
    sides = [' class="words"' if column in WORDS else "" for column in columns]
    titles = zip(sides, columns, strict=True)
    head = "".join(f'<th scope="col"{side}>{escape(column)}</th>' for side, column in titles)
    lines = (zip(sides, row, strict=True) for row in frame.to_numpy().tolist())
    cells = ("".join(f"<td{side}>{escape(cell)}</td>" for side, cell in line) for line in lines)
    body = "\n".join(f"<tr>{line}</tr>" for line in cells)
    name = escape(caption)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{name}"><table>\n'
        f"<caption>{name}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def words(said: InWords) -> str:
    """Return what a board says and may not claim."""
    blocks = [f"<p>{escape(said.room)}</p>"]
    for heading, sentences in said.lists:
        lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        blocks.append(f"<h3>{heading}</h3>\n<ul>{lines}</ul>")
    return "\n".join([*blocks, f"<p>{escape(said.headroom)}</p>"])


def gallery(figures: Sequence[str]) -> str:
    """Return pictures side by side, as many as fit."""
    return '<div class="pictures">\n' + "\n".join(figures) + "\n</div>"


def figure(caption: str, chart: Figure) -> str:
    """Return a picture inside the page."""
    return (
        f'<figure>\n<img alt="{escape(caption)}" src="{data_uri(chart)}">\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def wrap_in_figure(caption: str, table: str) -> str:
    """Return a table that stands among pictures, such as a heat map's."""
    return f"<figure>\n{table}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"
