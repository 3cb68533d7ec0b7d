"""The README: short, with the generated table. What it prints is held to what exists in `test_docs`."""

from __future__ import annotations

import pytest

from benchmark.errors import UserError
from scripts.readme_table import fill
from tests.command import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BEGIN, END = "<!-- leaderboard:cifar100 -->", "<!-- /leaderboard:cifar100 -->"
BOARDS = ROOT / "leaderboards"


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_its_table_is_made_from_the_published_results() -> None:
    emptied = TEXT.split(BEGIN)[0] + f"{BEGIN}\n{END}" + TEXT.split(END)[1]
    assert fill(emptied, BOARDS) == TEXT


def test_its_words_and_scores_stand_on_the_board() -> None:
    block = TEXT.split(BEGIN)[1].split(END)[0]
    page = (BOARDS / "cifar100.md").read_text(encoding="utf-8")
    table, words = block.lstrip().split("\n\n", maxsplit=1)
    lines = [line for line in words.splitlines() if line]
    assert len(lines) >= 5 and [line for line in lines if line not in page.splitlines()] == []
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert len(rows) >= 5
    for _, method, ap, *_ in rows:
        # The board sets a row in bold that alone could be best; the README has a column for that.
        assert any(
            f"| {method}" in line and f" {ap} " in line for line in page.replace("**", "").splitlines()
        )


def test_a_mark_without_a_board_is_refused() -> None:
    text = "<!-- leaderboard:cifr -->\n<!-- /leaderboard:cifr -->"
    with pytest.raises(UserError, match="the board of cifr; there are cifar100"):
        fill(text, BOARDS)
