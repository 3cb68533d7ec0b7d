"""What the site's first page opens with: one board as a picture, and its result in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.publishing import plots
from benchmark.publishing.board import LEADING, Board, mean_score
from benchmark.publishing.collect import STANDARD, Row, Section
from benchmark.publishing.grouping import reference_kind
from benchmark.publishing.headroom import judge
from benchmark.publishing.in_words import InWords, in_words, short_names
from benchmark.publishing.plot_style import MOST_DRAWN, data_uri


@dataclass(frozen=True)
class Opening:
    """A board to begin with.

    Attributes:
        setting: tasks and model, in words.
        words: what it says and may not claim.
        address: of the picture; "" where none is drawn.
    """

    stream: str
    setting: str
    words: InWords
    caption: str
    address: str


def opening(parts: Sequence[Section], laid: Mapping[int, Sequence[Board]], pictures: bool) -> Opening | None:
    """Return the opening: of a board with headroom where there is one, then of the one with most rows.

    None where no board of several runs has two rows.

    Args:
        laid: the boards of each section, by its identity; they keep what they computed.
    """
    found = [(part, board) for part in parts for board in laid[id(part)] if board.compared]
    if not found:
        return None

    def weight(each: tuple[Section, Board]) -> tuple[bool, bool, int, int]:
        part, board = each
        return not judge(part).refusal, part.protocol == STANDARD, len(board.rows), board.runs

    part, board = max(found, key=weight)
    references = _references(part)
    shown = board.rows[:MOST_DRAWN]
    ends = list(references.values())
    chart = data_uri(plots.standing(shown, ends, board.intervals, short_names)) if pictures else ""
    which = "" if len(shown) == len(board.rows) else f", the best {len(shown)} of {len(board.rows)}"
    what = "95 % intervals over runs and test rows" if board.intervals else "the lowest to the highest run"
    caption = f"{part.stream}, {board.title.lower()}{which}: mean AP over {board.runs} runs, with {what}"
    setting = f"{len(part.results[0].tasks)} tasks one after the other, {part.backbone}"
    return Opening(part.stream, setting, in_words(part, laid[id(part)]), caption, chart)


def _references(part: Section) -> dict[str, Row]:
    """Return the highest floor and the highest ceiling of a section, if it can be without the task id."""
    kept: dict[str, Row] = {}
    scored = [row for row in part.rows if row.first.reference and row.values(LEADING)]
    for row in sorted(scored, key=lambda row: ("task_id" not in row.needs, mean_score(row))):
        kept[reference_kind(row)] = row
    return kept
