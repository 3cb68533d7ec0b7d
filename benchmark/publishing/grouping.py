"""Which rows of a section may be ranked with each other: those that ask for the same things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmark.publishing.collect import Row

REFERENCES = "Reference rows"
ASKS = {
    "task_id": "are given the task id at inference",
    "rehearsal": "rehearse old data",
    "stored_statistics": "store class statistics",
    "test_batch": "look at a whole test batch",
}


def by_needs(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows by the title of their group: competitors by needs, the fewest first, then the bounds."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.first.reference:
            groups[row.needs].append(row)
    titled = {_title(needs): groups[needs] for needs in sorted(groups, key=lambda needs: (len(needs), needs))}
    bounds = [row for row in rows if row.first.reference]
    return titled | ({REFERENCES: bounds} if bounds else {})


def _title(needs: tuple[str, ...]) -> str:
    asks = [ASKS.get(need, f"need {need.replace('_', ' ')}") for need in needs]
    return f"Methods that {' and '.join(asks)}" if asks else "Methods"
