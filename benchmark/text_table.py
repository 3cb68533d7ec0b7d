"""Frames as tables for a terminal, and the names of the other forms that tables are written in."""

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
