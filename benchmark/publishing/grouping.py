"""Which rows of a section may be compared with each other: those that ask for the same things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmark.publishing.collect import Row

REFERENCES = "References: floor and ceiling"
REHEARSAL_FREE = "Rehearsal-free"
ASKS = {
    "stored_statistics": "stored class statistics",
    "rehearsal": "rehearsal-based",
    "task_id": "task-incremental (task id at inference)",
    "test_batch": "whole test batch at inference",
}
"""What a method may ask for beyond the data of the current task, in the order of the tables."""


def by_needs(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows by the title of their group: competitors by needs, the fewest first, then references."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.first.reference:
            groups[row.needs].append(row)
    titled = {_title(needs): groups[needs] for needs in sorted(groups, key=_position)}
    references = [row for row in rows if row.first.reference]
    return titled | ({REFERENCES: references} if references else {})


def reference_kind(row: Row) -> str:
    """Return which end a reference row is: a ceiling asks for what no competitor of the first table has."""
    return "ceiling" if row.needs else "floor"


def _position(needs: tuple[str, ...]) -> tuple[int, list[int], tuple[str, ...]]:
    known = list(ASKS)
    return len(needs), [known.index(need) if need in ASKS else len(known) for need in needs], needs


def _title(needs: tuple[str, ...]) -> str:
    if not needs:
        return REHEARSAL_FREE
    known = [need for need in ASKS if need in needs] + [need for need in needs if need not in ASKS]
    words = " and ".join(ASKS.get(need, f"needs {need.replace('_', ' ')}") for need in known)
    return words[0].upper() + words[1:]
