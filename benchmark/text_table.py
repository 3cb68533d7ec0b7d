"""Frames as tables for a terminal."""

from __future__ import annotations

from typing import Any

import pandas as pd


def text_table(frame: pd.DataFrame, **layout: Any) -> str:
    """Return a frame as text, its cells as they are written, without the index.

    Args:
        frame: cells are texts.
        layout: further arguments of `tabulate.tabulate`.
    """
    return str(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True, **layout))
