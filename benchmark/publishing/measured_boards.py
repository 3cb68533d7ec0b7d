"""Boards that are shown although adapters have too little room on them: what was measured, and no ranking.

A standard board without headroom is refused. Where its rows are worth showing all the same, as when a
stricter reading of the frozen backbone took its room away, `<root>/measured.toml` names it and says why:

    [[board]]
    stream = "shifts"
    protocol = "standard"
    why = "A probe that was trained ten times as long reads more than the one before."
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from benchmark.data.toml_file import read_checked
from benchmark.publishing.collect import Section, is_standard
from benchmark.publishing.headroom import judge

NAME = "measured.toml"


class Entry(BaseModel):
    """One board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str
    protocol: str
    why: str = Field(min_length=20)


class Listed(BaseModel):
    """The whole file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: list[Entry] = Field(default_factory=list)


def read(root: Path) -> dict[tuple[str, str], str]:
    """Return why each listed board is shown, by stream and protocol; empty where there is no file.

    Raises:
        UserError: the file is faulty.
    """
    path = root / NAME
    listed = read_checked(path, "list of boards", Listed) if path.exists() else Listed()
    return {(each.stream, each.protocol): each.why for each in listed.board}


def publishable(
    parts: Iterable[Section], measured: dict[tuple[str, str], str]
) -> tuple[list[Section], list[str]]:
    """Return the sections that may be shown, and a line for each that may not or is listed in vain.

    Args:
        measured: see `read`.
    """
    kept, refused, used = [], [], set()
    for part in parts:
        verdict = judge(part) if is_standard(part.protocol) else None
        key = part.stream, part.protocol
        if verdict is None or not verdict.refusal:
            kept.append(part)
        elif key in measured:
            kept.append(part)
            used.add(key)
        else:
            refused.append(f"adapters cannot be compared on {verdict.title}: {verdict.refusal}")
    vain = sorted(measured.keys() - used)
    return kept, refused + [
        f"{NAME} lists {stream}, {protocol}: that board has headroom or is none; take it out of the list"
        for stream, protocol in vain
    ]
