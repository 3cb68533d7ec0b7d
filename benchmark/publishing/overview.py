"""The overview of all streams: how much of the gap between the two ends each method closes on each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from benchmark.publishing.collect import Row, Section, is_searched, tuning_mark
from benchmark.publishing.gap import Closed, Gap, find_gap
from benchmark.publishing.grouping import by_needs
from benchmark.publishing.headroom import describe_lack_of_room
from benchmark.publishing.tables import link, markdown, name_row, plain
from benchmark.scoring.statistics_normalised import (
    FEWEST_ERRORS,
    FEWEST_RUNS,
    SMALLEST_GAP,
    Summary,
    summarise,
)

INTRODUCTION = (
    "Normalised score: the share of the gap in average performance that a method closes, from the floor (0), "
    "the better of one adapter trained on every task in turn and the frozen backbone, its head alone trained "
    "where it has one, to the "
    "reference row that learns all tasks at once (100), over the runs that all three share. In brackets: its "
    "95 % interval over runs (Student), or the number of runs where there are fewer than three. A board "
    "counts where adapters have room, both reference rows are tuned, share "
    f"{FEWEST_RUNS} runs or more, and stand {100 * SMALLEST_GAP:.0f} points and {FEWEST_ERRORS} standard "
    "errors apart; the last column of the streams says why one does not. Means, medians, and the range "
    f"of the mean when one board is left out, ask for {FEWEST_RUNS} runs or more on every board of a table. "
    "Methods stand together only under the same head protocol and with the same needs; where a row does not "
    "say untuned, a search chose its values on every board, or there are none to choose. Scores, costs and "
    "tests of each stream are on its own page."
)

SUMMARY = ("mean ↑", "median ↑", "without one board")
Ends = Sequence[tuple[Section, Gap]]


@dataclass(frozen=True)
class Standings:
    """The normalised scores of methods that may stand together.

    Attributes:
        head: the head protocol of every section.
        title: of the group by needs.
        sections: one column each.
        closed: by a row's name on all boards and the column's position; a row may miss columns.
    """

    head: str
    title: str
    sections: tuple[Section, ...]
    closed: dict[str, dict[int, Closed]]

    def summary(self, name: str) -> Summary | None:
        """Return a row's mean over boards; None where it misses one, or has few runs there."""
        enough = [each.share for each in self.closed[name].values() if each.n >= FEWEST_RUNS]
        return summarise(enough) if len(enough) == len(self.sections) else None

    @property
    def names(self) -> list[str]:
        """The rows, the best mean first; without one, by their mean over the boards they have, last."""

        def place(name: str) -> tuple[bool, float, str]:
            shares = [each.share for each in self.closed[name].values()]
            return self.summary(name) is None, -sum(shares) / len(shares), name

        return sorted(self.closed, key=place)


def standings(parts: Sequence[Section]) -> list[Standings]:
    """Return the normalised scores of every head protocol and group by needs that has any."""
    found = [(part, gap_of(part)) for part in parts]
    ends = [(part, gap) for part, gap in found if isinstance(gap, Gap)]
    groups = []
    for head in sorted({part.head for part, _ in ends}):
        alike = [(part, gap) for part, gap in ends if part.head == head]
        titles = dict.fromkeys(title for part, _ in alike for title in by_needs(part.rows))
        groups += [_standings(head, title, alike) for title in titles]
    return groups


def gap_of(part: Section) -> Gap | str:
    """Return the gap of a section, or in words why none of it is shown."""
    return describe_lack_of_room(part) or find_gap(part.rows)


def _standings(head: str, title: str, ends: Ends) -> Standings:
    having = [(part, gap) for part, gap in ends if title in by_needs(part.rows)]
    closed: dict[str, dict[int, Closed]] = defaultdict(dict)
    for column, (part, gap) in enumerate(having):
        rows: list[Row] = by_needs(part.rows)[title]
        for row in rows:
            share = gap.measure_closed(row)
            if share is not None:
                closed[_name_on_all_boards(row)][column] = share
    return Standings(head, title, tuple(part for part, _ in having), dict(closed))


def _name_on_all_boards(row: Row) -> str:
    """Return a row's name without its number of trials, which is another one on each board."""
    if is_searched(row.first):
        return name_row(replace(row, label=row.setup))
    return name_row(row) + ("" if tuning_mark(row.first) else " (untuned)")


def overview(parts: Sequence[Section]) -> list[str]:
    """Return the blocks of the overview."""
    blocks, head = [INTRODUCTION], None
    for group in standings(parts):
        if group.head != head:
            head = group.head
            blocks.append(f"## Normalised scores, {plain(head)}")
        blocks += [f"### {plain(group.title)}", _table(group, parts)]
    return [*blocks, "## Streams", _streams([(part, gap_of(part)) for part in parts])]


def _table(group: Standings, parts: Sequence[Section]) -> str:
    records = []
    for name in group.names:
        record = {"method": plain(name)}
        for column, part in enumerate(group.sections):
            record[f"{link(name_apart(part, parts), part.stream)} ↑"] = _text(group.closed[name].get(column))
        records.append(record | (_summary(group.summary(name)) if len(group.sections) > 1 else {}))
    return markdown(pd.DataFrame(records))


def _summary(found: Summary | None) -> dict[str, str]:
    if found is None:
        return dict.fromkeys(SUMMARY, "")
    texts = (_percent(found.mean), _percent(found.median), f"{_percent(found.low)} to {_percent(found.high)}")
    return dict(zip(SUMMARY, texts, strict=True))


def name_apart(part: Section, parts: Sequence[Section]) -> str:
    """Return a section's stream; with what tells it from the stream's other sections with this head."""
    several = sum((other.stream, other.head) == (part.stream, part.head) for other in parts) > 1
    return part.stream + (f" {part.protocol}, {part.backbone} {part.note}".rstrip() if several else "")


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
                "stream": link(part.stream, part.stream),
                "protocol": plain(part.protocol + (f" ({part.note})" if part.note else "")),
                "backbone": plain(part.backbone),
                "head": plain(part.head),
                "methods": str(sum(not row.first.reference for row in part.rows)),
                "runs": str(len(part.results)),
                "reference rows": plain(ends),
            }
        )
    return markdown(pd.DataFrame(records))
