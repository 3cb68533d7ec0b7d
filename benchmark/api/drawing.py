"""Pictures of results, for a notebook: the figures of the report, which a notebook shows by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.publishing import plots
from benchmark.publishing.collect import Row
from benchmark.publishing.plot_style import MOST_DRAWN, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.api.results import Results


@dataclass(frozen=True)
class Plots:
    """What can be drawn of results. Every function returns a matplotlib figure, without opening a window."""

    results: Results

    def curves(self) -> Figure:
        """Draw the mean score of the tasks seen after each task, with the deviation over runs.

        Raises:
            UserError: the runs stand in several tables, are of too many methods, or lack scores.
        """
        rows = [row for row in self._rows() if row.values("average_anytime")]
        if not rows:
            raise UserError("no run was scored after each task, which curves need; see score_at")
        if len(rows) > MOST_DRAWN:
            raise UserError(f"{len(rows)} rows are too many to draw; select at most {MOST_DRAWN}")
        return _show_as_svg(plots.accuracy_over_tasks(rows))

    def pareto(self) -> Figure:
        """Draw average performance against stored adapter parameters, and the Pareto front.

        Raises:
            UserError: the runs stand in several tables.
        """
        return _show_as_svg(plots.score_against_stored(self._rows()))

    def matrix(self, run: int | None = None) -> Figure:
        """Draw the score matrix of one run.

        Args:
            run: its row in `to_frame()`; None: the only one.

        Raises:
            UserError: there are several runs and none is named, or there is no such row.
        """
        count = len(self.results)
        if run is None and count != 1:
            raise UserError(f"a matrix is of one run and here are {count}; give run=0 to run={count - 1}")
        if run is not None and not 0 <= run < count:
            raise UserError(f"run={run} is none of the {count} runs, which count from 0")
        return _show_as_svg(plots.score_matrix(self.results[run or 0]))

    def _rows(self) -> Sequence[Row]:
        parts = self.results.sections()
        if len(parts) != 1:
            titles = "; ".join(f"{part.stream}: {part.title}" for part in parts)
            raise UserError(f"a picture is of one table and here are {len(parts)} ({titles}): select() one")
        return parts[0].rows


def _show_as_svg(chart: Figure) -> Figure:
    # A notebook shows what has this attribute; figures made without pyplot have none.
    setattr(chart, "_repr_svg_", partial(svg, chart))  # noqa: B010
    return chart
