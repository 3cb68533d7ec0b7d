"""One table of a section: which rows stand on which runs, which are one and the same, which could be best."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmark.publishing.collect import Row, is_searched, is_standard
from benchmark.publishing.grouping import REFERENCES, by_needs, reference_kind
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL, TRAINED_HEAD
from benchmark.scoring.statistics import FEWEST_RUNS, Runs, common_runs, find_twins, spread
from benchmark.scoring.statistics_best import (
    could_be_best,
    critical_difference,
    row_deviations,
    smallest_visible,
)
from benchmark.scoring.statistics_ranks import half_correlation
from benchmark.scoring.statistics_rows import number_rows, row_interval
from benchmark.text_table import write_count

LEADING = "average_performance"
FEWEST_NOISES = 3
"""Rows whose noises can be told apart, see `row_deviations`."""
READING_COLUMNS = {"AP, class means ↑": CLASS_MEANS, "AP, task id ↑": TASK_INCREMENTAL}
"""Further readings of the same runs, whose leading score stands beside that of the trained head."""


@dataclass(frozen=True)
class Board:
    """Rows that stand together.

    Attributes:
        title: what the rows have in common.
        rows: on the same runs, twins merged, the best mean first.
        apart: rows that lack some of these runs, with the runs they have, the best mean first.
        twins: the names of rows that were merged, a tuple for each merged row.
        runs: how many runs `rows` stand on.
        untuned: rows of a standard board whose values no search of it chose; they are not ranked.
        room: whether adapters have room on the board; where they have none, no row is marked or tested.
    """

    title: str
    rows: tuple[Row, ...]
    apart: tuple[Row, ...]
    twins: tuple[tuple[str, ...], ...]
    runs: int
    untuned: tuple[Row, ...] = ()
    room: bool = True

    @property
    def ranked(self) -> bool:
        """Whether the rows compete with each other."""
        return self.title != REFERENCES

    @property
    def marked_by(self) -> str | None:
        """The title of the column of marks; None where adapters have no room and nothing is marked."""
        if not self.ranked:
            return "reference"
        return "could be best" if self.room else None

    def mark(self, row: Row) -> dict[str, str]:
        """Return what stands first of a row in a table: its mark, or which end a reference is."""
        if self.marked_by is None:
            return {}
        text = ("yes" if row.label in self.best else "") if self.ranked else reference_kind(row)
        return {self.marked_by: text}

    @property
    def compared(self) -> bool:
        """Whether there are rows and runs enough to say which could be best."""
        return self.ranked and self.room and len(self.rows) > 1 and self.runs >= FEWEST_RUNS

    @cached_property
    def scores(self) -> np.ndarray:
        """The leading score of each row on each run, `(rows, runs)`, in 0..1."""
        return _by_run([row.runs(LEADING) for row in self.rows])

    @cached_property
    def best(self) -> frozenset[str]:
        """The labels of the rows that could be best; empty where that cannot be said."""
        if not self.compared:
            return frozenset()
        kept = could_be_best(self.scores)
        return frozenset(row.label for row, could in zip(self.rows, kept, strict=True) if could)

    @property
    def winner(self) -> str | None:
        """The label of the one row that could be best, where there is one alone."""
        return next(iter(self.best)) if len(self.best) == 1 else None

    @cached_property
    def visible(self) -> float | None:
        """The smallest difference in the leading score that the table can see, in 0..1."""
        return float(smallest_visible(self.scores)) if self.compared else None

    @cached_property
    def within_noise(self) -> float | None:
        """How far behind the highest mean a row may be and still be marked, in 0..1."""
        return float(critical_difference(self.scores)) if self.compared else None

    def could_be_best_by(self, reading: str) -> int | None:
        """Return how many rows could be best by another reading; None where some run lacks it."""
        runs = [row.runs(LEADING, reading) for row in self.rows]
        if not self.compared or any(len(each) != self.runs for each in runs):
            return None
        return int(could_be_best(_by_run(runs)).sum())

    @cached_property
    def halves(self) -> float | None:
        """The correlation of the ranks in two halves of the runs."""
        return half_correlation(self.scores) if self.compared else None

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of the leading score over runs and test rows, by label, where rows were kept."""
        found = {}
        for row in self.rows:
            scores = row.row_scores()
            if scores is not None and len(scores) > 1:
                low, high = row_interval(scores, number_rows(row.results))
                # A score lies in 0..1, and Student's reach of few runs may not.
                found[row.label] = max(low, 0.0), min(high, 1.0)
        return found

    @cached_property
    def readings(self) -> list[str]:
        """The titles of `READING_COLUMNS` that some row was read by."""
        rows = (*self.rows, *self.apart)
        names = READING_COLUMNS.items()
        return [title for title, name in names if any(row.values(LEADING, name) for row in rows)]

    @property
    def proven(self) -> bool:
        """Whether some row was scored again from its adapters."""
        return any(row.proof != "attested" for row in (*self.rows, *self.apart))

    def notes(self) -> list[str]:
        """Return what a reader has to know of the table, a sentence or two each."""
        return list(filter(None, [self._caption(), self._twins(), self._why_unmarked(), self._unranked()]))

    def _caption(self) -> str:
        if self.visible is None or self.within_noise is None:
            return f"All rows stand on the same {write_count(self.runs, 'run')}." if self.rows else ""
        ranks = (
            ""
            if self.halves is None
            else f" Ranks in two halves of the runs correlate with {self.halves:.2f}."
        )
        return (
            f"All rows stand on the same {self.runs} runs. Rows more than {100 * self.within_noise:.1f} "
            f"points of AP below the highest are not marked; of rows truly {100 * self.visible:.1f} points "
            f"worse than the best, 80 % are found so.{self._noises()}{ranks}"
        )

    def _noises(self) -> str:
        """Return what the noise of single rows is; of two rows it is not known."""
        if len(self.rows) < FEWEST_NOISES:
            return ""
        ends = [f"{100 * noise(row_deviations(self.scores)):.1f}" for noise in (np.min, np.max)]
        noise = " to ".join(dict.fromkeys(ends))
        return f" The mark takes all rows to have one noise; that of single rows is about {noise} points."

    def _twins(self) -> str:
        merged = "; ".join(" = ".join(names) for names in self.twins)
        return f"Equal in every score of every shared run, and hence one row: {merged}." if merged else ""

    def _unranked(self) -> str:
        names = ", ".join(f"{row.name} (n = {len(row.results)})" for row in self.untuned)
        return f"Not tuned here, and hence not ranked: {names}." if names else ""

    def _why_unmarked(self) -> str:
        if self.compared or not self.ranked or not self.rows:
            return ""
        if not self.room:
            return "With so little room no row is marked as best."
        if len(self.rows) == 1:
            return "One row alone is not compared."
        return f"Too few runs to say which could be best: {FEWEST_RUNS} are needed."


def boards(rows: Sequence[Row], room: bool = True) -> list[Board]:
    """Return the tables of a section: competitors by what they need, then the references.

    One set of runs holds for all tables of the section, so that a method may be read beside a reference.

    Args:
        room: see `benchmark.publishing.headroom.boards_of`, which finds it out.
    """
    searched = [row for row in rows if not _is_untuned(row)]
    competing = [row.label for row in searched if not row.first.reference]
    runs = common_runs({row.label: row.runs(LEADING) for row in searched}, competing)
    found = []
    for title, group in by_needs(rows).items():
        board = lay_out(title, [row for row in group if not _is_untuned(row)], runs)
        untuned = by_mean([row for row in group if _is_untuned(row)])
        found.append(replace(board, untuned=untuned, room=room))
    return found


def _is_untuned(row: Row) -> bool:
    return is_standard(row.first.protocol) and not all(map(is_searched, row.results))


def lay_out(title: str, rows: Sequence[Row], runs: frozenset[Hashable]) -> Board:
    """Return the table of some rows on given runs; what lacks one of them, or its score, stands apart."""
    complete, apart = [], []
    for row in rows:
        if runs and runs <= row.runs(LEADING).keys():
            complete.append(row.on(runs))
        else:
            apart.append(row)
    merged, twins = _merge_twins(complete)
    return Board(title, by_mean(merged), by_mean(apart), twins, len(runs))


def _merge_twins(rows: Sequence[Row]) -> tuple[list[Row], tuple[tuple[str, ...], ...]]:
    groups = find_twins({row.label: row.matrices() for row in rows})
    other = {label: group[0] for group in groups for label in group[1:]}
    named = {group[0]: " = ".join(group) for group in groups}
    kept = [row for row in rows if row.label not in other]
    return [replace(row, label=named.get(row.label, row.label)) for row in kept], tuple(map(tuple, groups))


def by_mean(rows: Sequence[Row], reading: str = TRAINED_HEAD) -> tuple[Row, ...]:
    """Return rows with the best mean first, by one of `benchmark.results.READINGS`."""
    return tuple(sorted(rows, key=lambda row: (-mean_score(row, reading), row.label)))


def mean_score(row: Row, reading: str = TRAINED_HEAD) -> float:
    """Return the mean a row is sorted by; below every score where there is none."""
    values = row.values(LEADING, reading)
    return spread(values)[0] if values else -1.0


def _by_run(runs: Sequence[Runs]) -> np.ndarray:
    """Return the score of each row on each run, `(rows, runs)`, runs in one order."""
    keys = sorted(runs[0], key=str) if runs else []
    return np.array([[each[key] for key in keys] for each in runs])
