"""The README: short, with the generated table. What it prints is held to what exists in `test_docs`."""

from __future__ import annotations

from tests.command import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BEGIN, END = "<!-- leaderboard:shifts -->", "<!-- /leaderboard:shifts -->"


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_the_tables_are_the_generated_ones() -> None:
    block = TEXT.split(BEGIN)[1].split(END)[0]
    board = ROOT / "leaderboards" / "shifts.md"
    page = board.read_text(encoding="utf-8").splitlines()
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) >= 6
    assert [row for row in rows if row not in page] == []
    # What it says and may not claim stands above them, as on the board.
    words = [line for line in block.split("Rehearsal-free:\n")[0].splitlines() if line]
    assert len(words) >= 5 and [line for line in words if line not in page] == []
