"""The boards' table of some results as one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from benchmark.errors import unknown
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.tables import score_frame
from benchmark.results import READINGS

if TYPE_CHECKING:
    from benchmark.api.results import Results


def leaderboard(results: Results, sort_by: str) -> pd.DataFrame:
    """Return the rows of every board, each with its stream, section and board, see `Results.leaderboard`.

    Raises:
        UserError: there is no such reading.
    """
    if sort_by not in READINGS:
        raise unknown("reading", sort_by, READINGS, "bench leaderboard --help")
    frames, notes = [], []
    for part in results.sections():
        for board in boards_of(part):
            place = {"stream": part.stream, "section": part.title}
            for rows, title in ((board.rows, board.title), (board.apart, f"{board.title}, with fewer runs")):
                if rows:
                    shown = score_frame(board, sort_by, apart=rows is board.apart)
                    frames.append(pd.DataFrame([place | {"board": title}] * len(rows)).join(shown))
            notes += [f"{part.stream}, {part.title}, {board.title}: {note}" for note in board.notes()]
    frame = pd.concat(frames, ignore_index=True).fillna("") if frames else pd.DataFrame()
    frame.attrs["notes"] = notes
    return frame
