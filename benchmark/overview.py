"""The overview of all streams: how much of the gap between the two ends each method closes on each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from benchmark.collect import Row, Section
from benchmark.gap import Closed, Gap, find_gap
from benchmark.grouping import by_needs
from benchmark.tables import markdown, plain, shown

INTRODUCTION = (
    "Normalised score: the share of the gap in average performance that a method closes, from the reference "
    "row that trains one adapter on every task in turn (0) to the one that learns all tasks at once (100), "
    "over the runs that all three share. In brackets: its 95 % interval over runs (Student), or the number "
    "of runs where there are fewer than three. Methods stand together only under the same head protocol and "
    "with the same needs. Scores, costs and tests of each stream are on its own page."
)

Ends = Sequence[tuple[Section, Gap]]


def overview(parts: Sequence[Section]) -> list[str]:
    """Return the blocks of the overview."""
    found = [(part, find_gap(part.rows)) for part in parts]
    ends = [(part, gap) for part, gap in found if isinstance(gap, Gap)]
    blocks = [INTRODUCTION]
    for head in sorted({part.head for part, _ in ends}):
        alike = [(part, gap) for part, gap in ends if part.head == head]
        blocks.append(f"## Normalised scores, {plain(head)}")
        titles = dict.fromkeys(title for part, _ in alike for title in by_needs(part.rows))
        for title in titles:
            blocks += [f"### {title}", _scores(title, alike)]
    return [*blocks, "## Streams", _streams(found)]


def _scores(title: str, ends: Ends) -> str:
    """Return the normalised scores of one group of rows, a column for each section that has the group."""
    columns: list[str] = []
    closed: dict[str, dict[str, Closed]] = defaultdict(dict)
    for part, gap in ends:
        rows: list[Row] = by_needs(part.rows).get(title, [])
        for row in rows:
            share = gap.closed(row)
            if share is not None:
                closed[shown(row)][_column(part, ends)] = share
        columns += [_column(part, ends)] if rows else []
    means = {
        name: sum(each.share for each in shares.values()) / len(columns)
        for name, shares in closed.items()
        if len(shares) == len(columns)  # a mean over fewer streams would not compare
    }
    records = []
    for name in sorted(closed, key=lambda name: (-means.get(name, float("-inf")), name)):
        record = {"method": name}
        record |= {column: _text(closed[name].get(column)) for column in columns}
        records.append(record | ({"mean ↑": _percent(means.get(name))} if len(columns) > 1 else {}))
    return markdown(pd.DataFrame(records))


def _column(part: Section, ends: Ends) -> str:
    """Return a link to a section's page; with what tells it from the stream's other sections."""
    several = sum(other.stream == part.stream for other, _ in ends) > 1
    apart = f" {part.protocol}, {part.backbone} {part.note}".rstrip() if several else ""
    return f"[{plain(part.stream + apart)}]({part.stream}.md) ↑"


def _text(closed: Closed | None) -> str:
    if closed is None:
        return ""
    low, high = closed.interval or (None, None)
    certainty = f"n = {closed.n}" if low is None else f"{_percent(low)} to {_percent(high)}"
    return f"{_percent(closed.share)} ({certainty})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{round(100 * share)}"


def _streams(found: Sequence[tuple[Section, Gap | str]]) -> str:
    records = []
    for part, gap in found:
        ends = f"{gap.floor.label}, {gap.ceiling.label}" if isinstance(gap, Gap) else gap
        records.append(
            {
                "stream": f"[{plain(part.stream)}]({part.stream}.md)",
                "protocol": plain(part.protocol + (f" ({part.note})" if part.note else "")),
                "backbone": plain(part.backbone),
                "head": plain(part.head),
                "methods": str(sum(not row.first.bound for row in part.rows)),
                "runs": str(len(part.results)),
                "reference rows": plain(ends),
            }
        )
    return markdown(pd.DataFrame(records))
