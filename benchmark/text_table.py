"""Frames as tables for a terminal, numbers as texts, and the names of the other forms of tables."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class TableFormat(StrEnum):
    """How a table is written, see `benchmark.publishing.paper_tables`."""

    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    json = "json"


def text_table(frame: pd.DataFrame, **layout: Any) -> str:
    """Return a frame as text, its cells as they are written, without the index."""
    return str(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True, **layout))


def write_count(number: int, what: str) -> str:
    """Return "1 run", or "2 runs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def write_percent(share: float | None) -> str:
    """Return a share in percent without the sign; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.0f}"
