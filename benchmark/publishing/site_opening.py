"""What the site's first page opens with: one board as a picture, and its result in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.publishing import plots
from benchmark.publishing.board import LEADING, Board, boards, mean_score
from benchmark.publishing.collect import STANDARD, Row, Section
from benchmark.publishing.grouping import reference_kind
from benchmark.publishing.plot_style import MOST_DRAWN, data_uri
from benchmark.publishing.tables import named, share


@dataclass(frozen=True)
class Opening:
    """A board to begin with.

    Attributes:
        stream: whose it is.
        words: its result in a few sentences.
        caption: of the picture.
        address: of the picture; "" where none is drawn.
    """

    stream: str
    words: str
    caption: str
    address: str


def opening(parts: Sequence[Section], pictures: bool) -> Opening | None:
    """Return the opening: of the board with most rows, of a standard protocol where there is one.

    None where no board of several runs has two rows.
    """
    found = [(part, board) for part in parts for board in boards(part.rows) if board.compared]
    if not found:
        return None

    def weight(each: tuple[Section, Board]) -> tuple[bool, int, int]:
        return each[0].protocol == STANDARD, len(each[1].rows), each[1].runs

    part, board = max(found, key=weight)
    references = _references(part)
    shown = board.rows[:MOST_DRAWN]
    drawn = data_uri(plots.standing(shown, list(references.values()), board.intervals)) if pictures else ""
    which = "" if len(shown) == len(board.rows) else f", the best {len(shown)} of {len(board.rows)}"
    what = "95 % intervals over runs and test rows" if board.intervals else "the lowest to the highest run"
    caption = f"{part.stream}, {board.title.lower()}{which}: mean AP over {board.runs} runs, with {what}"
    return Opening(part.stream, _words(part, board, references), caption, drawn)


def _references(part: Section) -> dict[str, Row]:
    """Return the highest floor and the highest ceiling of a section, if it can be without the task id."""
    kept: dict[str, Row] = {}
    scored = [row for row in part.rows if row.first.reference and row.values(LEADING)]
    for row in sorted(scored, key=lambda row: ("task_id" not in row.needs, mean_score(row))):
        kept[reference_kind(row)] = row
    return kept


def _words(part: Section, board: Board, references: dict[str, Row]) -> str:
    best, could = board.rows[0], len(board.best)
    where = f"{len(part.results[0].tasks)} tasks, {part.head}, {part.backbone}"
    text = (
        f"On {part.stream} ({where}), {best.name} has the highest mean of the rows under "
        f"“{board.title.lower()}”: AP {share(best.values(LEADING))} over {board.runs} runs."
    )
    if could > 1:
        text += f" {could} of {len(board.rows)} rows could be best: the test does not tell them apart."
    else:
        text += f" It is told from all {len(board.rows) - 1} others."
    if board.visible is not None:
        text += f" Differences below {100 * board.visible:.1f} points cannot be seen with these runs."
    ends = [
        f"the {kind} {named(row)} reaches {share(row.values(LEADING))}" for kind, row in references.items()
    ]
    return text + (f" For comparison, {' and '.join(ends)}." if ends else "")
