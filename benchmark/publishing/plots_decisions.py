"""The picture of decisions: which adapters each run kept beside those that its tasks needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.publishing.plot_style import COLOURS, figure, text
from benchmark.results import Result
from benchmark.scoring.decisions import Decisions, read_decisions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_RUNS = 30
"""Runs drawn in one picture, a line each."""
RIGHT, WRONG = COLOURS[2], COLOURS[1]


def find_decisions(results: Sequence[Result]) -> dict[str, Decisions]:
    """Return by run's name the decisions that can be judged, of the first `MOST_RUNS` that have any."""
    found: dict[str, Decisions] = {}
    for result in results:
        decisions = read_decisions(result.needs_adapter, result.report)
        if decisions is not None and len(found) < MOST_RUNS:
            name = f"{result.method}, order {result.order}, seed {result.seed}"
            # Of a method with several settings each run is told apart by its key.
            found[f"{name}, {result.key[:4]}" if name in found else name] = decisions
    return found


def decisions(found: dict[str, Decisions]) -> Figure:
    """Draw a line for each run and a place for each task.

    A square marks a task that needs an adapter, a disc one whose adapter was kept: green where these agree,
    red where not. The first task, which no gate is asked about, is grey. Below a mark stands the gate's final
    logit, where there is one.
    """
    chart = figure(height=1.4 + 0.42 * len(found))
    axes = chart.add_subplot()
    for line, each in enumerate(found.values()):
        for t, (need, kept) in enumerate(zip(each.needed, each.kept, strict=True), 1):
            colour = "0.5" if t == 1 else RIGHT if need == kept else WRONG
            if need:
                ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": colour}
                axes.plot([t], [line], marker="s", markersize=13, linestyle="", **ring)
            marker, size = ("o", 7) if kept else ("x", 7) if need else (".", 3)
            axes.plot([t], [line], marker=marker, markersize=size, color=colour, linestyle="")
            if each.confidence is not None and t > 1:
                axes.text(
                    t, line + 0.38, f"{each.confidence[t - 1]:.1f}", ha="center", va="center", fontsize=6
                )
    axes.set_yticks(range(len(found)), [text(name) for name in found], fontsize=7)
    axes.set_ylim(len(found) - 0.3, -0.6)
    axes.set_xticks(range(1, 1 + max(len(each.needed) for each in found.values())))
    axes.set_xlabel("task")
    axes.set_title("square: needed, disc: kept, cross: needed and dropped, red: wrong", fontsize=8)
    return chart
