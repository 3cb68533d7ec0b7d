"""Two methods compared run by run, by the tests that stand beside a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.errors import UserError, unknown
from benchmark.publishing.board import LEADING
from benchmark.publishing.collect import Row, Section
from benchmark.scoring.statistics import Comparison
from benchmark.scoring.statistics import compare as compare_runs
from benchmark.scoring.statistics_ranks import signed_rank


@dataclass(frozen=True)
class PairedComparison(Comparison):
    """Average performance of `first` minus that of `second`, in 0..1, over the runs that both have.

    Attributes:
        first, second: the rows compared.
        unlike: what one needs beyond a task's data and the other does not; boards do not rank such rows.
    """

    first: str = ""
    second: str = ""
    unlike: tuple[str, ...] = ()

    @property
    def p(self) -> float | None:
        """Two-sided exact p of the signed-rank test, None below two runs; at least 2^(1 - n)."""
        return signed_rank(self.differences)

    def __str__(self) -> str:
        """Return the comparison in one line, in points."""
        difference, interval = self.difference or 0.0, self.interval
        text = f"{self.first} minus {self.second}: {100 * difference:+.1f} points"
        if interval is not None:
            text += f", 95 % interval {100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
        text += f", n = {self.n}" + ("" if self.p is None else f", signed-rank p = {self.p:.3f}")
        return text + (f"; not alike in {', '.join(self.unlike)}" if self.unlike else "")


def compare(sections: Sequence[Section], first: str, second: str) -> PairedComparison:
    """Compare two methods, or two rows by their full names, within the one section that has both.

    Raises:
        UserError: see `benchmark.api.results.Results.compare`.
    """
    names = {name for part in sections for row in part.rows for name in (row.label, row.first.method)}
    for name in (first, second):
        if name not in names:
            raise unknown("method", name, names, "results.leaderboard()")
    both = [part for part in sections if _rows(part, first) and _rows(part, second)]
    if not both:
        raise UserError(f"{first} and {second} share no table: other stream, protocol or backbone")
    if len(both) > 1:
        titles = "; ".join(f"{part.stream}: {part.title}" for part in both)
        raise UserError(f"{first} and {second} stand in {len(both)} tables ({titles}); choose with select()")
    one, other = (_only(both[0], name) for name in (first, second))
    found = compare_runs(one.runs(LEADING), other.runs(LEADING))
    if not found.n:
        raise UserError(f"{first} and {second} have no run in common: other orders, seeds or data")
    unlike = tuple(sorted(set(one.needs) ^ set(other.needs)))
    return PairedComparison(found.differences, one.name, other.name, unlike)


def _rows(part: Section, name: str) -> list[Row]:
    exact = [row for row in part.rows if row.label == name]
    return exact or [row for row in part.rows if row.first.method == name]


def _only(part: Section, name: str) -> Row:
    rows = _rows(part, name)
    if len(rows) > 1:
        labels = ", ".join(f"'{row.label}'" for row in rows)
        raise UserError(f"{name} has {len(rows)} configurations; name one of {labels}")
    return rows[0]
