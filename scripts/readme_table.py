"""Writes the README's table from the published results: the rows of one board, in few columns.

    python -m scripts.readme_table

What is replaced stands between `<!-- leaderboard:STREAM -->` and its closing mark; the section is that of the
stream's `standard` protocol. Every column and what holds for it is explained on the stream's page.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmark.errors import UserError
from benchmark.publishing.board import Board
from benchmark.publishing.collect import STANDARD, Section, load, sections
from benchmark.publishing.grouping import REFERENCES
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.in_words import in_words, short_names
from benchmark.publishing.leaderboard import sentences
from benchmark.publishing.tables import active, markdown, plain, score_frame
from benchmark.results import atomic_write

ROOT = Path(__file__).resolve().parents[1]
SCORES = ("AP ↑", "could be best", "AP, class means ↑", "AP, task id ↑", "forgetting ↓")
_BLOCK = re.compile(
    r"(?P<begin><!-- leaderboard:(?P<stream>[\w-]+) -->\n).*?(?P<end><!-- /leaderboard:(?P=stream) -->)", re.S
)


def excerpt(part: Section) -> str:
    """Return a section's rows in one table, and what it says.

    Those that need the task id at test stand on the stream's page alone.
    """
    found = boards_of(part)
    rows = [row for board in found for row in _records(board)]
    frame = pd.DataFrame(rows)
    table = markdown(frame.loc[:, (frame != "").any()], frozenset(["group"]))
    *said, _ = sentences(in_words(part, found))
    return "\n\n".join([table, *said])


def _records(board: Board) -> list[dict[str, str]]:
    group = board.title if board.title != REFERENCES else None
    # Both are in the order of the board, the best mean first.
    texts, names = score_frame(board).to_dict("records"), short_names(board.rows)
    return [
        {"group": group or text["reference"], "method": plain(name)}
        | {title: text.get(title, "") for title in SCORES}
        | {"active ↓": active(row), "n": text["n"]}
        for row, name, text in zip(board.rows, names, texts, strict=True)
        if "task_id" not in row.needs
    ]


def fill(text: str, root: Path) -> str:
    """Return a text with the blocks between its marks written anew from the results under `root`.

    Raises:
        UserError: a mark names a stream that has no board of a standard protocol.
    """
    results, _ = load(root)
    standard = {part.stream: part for part in sections(results) if part.protocol == STANDARD}

    def block(found: re.Match[str]) -> str:
        stream = found["stream"]
        if stream not in standard:
            known = ", ".join(sorted(standard))
            raise UserError(f"the README names the board of {stream}; there are {known}")
        return f"{found['begin']}{excerpt(standard[stream])}\n{found['end']}"

    return _BLOCK.sub(block, text)


def main() -> None:
    """Write the README."""
    path = ROOT / "README.md"
    atomic_write(path, fill(path.read_text(encoding="utf-8"), ROOT / "leaderboards").encode())


if __name__ == "__main__":
    main()
