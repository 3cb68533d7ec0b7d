"""Pictures of results: matplotlib figures, readable at 600 pixels or at one column of a paper.

Their colours, sizes and files are those of `benchmark.publishing.plot_style`; heatmaps use cividis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.publishing.collect import Row
from benchmark.publishing.plot_style import COLOURS, add_legend, figure, looks, numbers_size, text
from benchmark.results import Result
from benchmark.scoring.metrics import as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmark.analysis.redundancy import Redundancy
    from benchmark.scoring.statistics_ranks import Ranking

REDUNDANCY = {"overlap": "overlap of every two tasks", "residual": "what a fit by earlier tasks leaves"}
"""What the pictures of `redundancy` show."""
MAP = "cividis"
MOST_NUMBERS = 12
"""Heatmaps of more tasks have no numbers in their cells: they could not be read."""


def score_matrix(result: Result) -> Figure:
    """Draw R[t][i] x 100: a row for each stage, a column for each task."""
    cells = 100 * as_array(result.matrix)
    chart = figure(5.2, 4.4)
    axes = chart.add_subplot()
    _fill(axes, cells, "score x 100", (0, 100), 0, [str(i + 1) for i in range(len(cells))])
    axes.set(xlabel="on task", ylabel="after task", title=text(result.name))
    return chart


def redundancy(found: Redundancy) -> dict[str, Figure]:
    """Return by name what can be drawn of a result's adapters: nothing below two of them."""
    if len(found.tasks) < 2:
        return {}
    return dict(zip(REDUNDANCY, (overlaps(found), residuals(found)), strict=True))


def overlaps(found: Redundancy) -> Figure:
    """Draw the overlap of the row spaces and of the column spaces of every two tasks' adapters."""
    chart = figure(8.0, 3.6)
    for place, side in enumerate(("rows", "columns"), 1):
        axes = chart.add_subplot(1, 2, place)
        names = [str(task + 1) for task in found.tasks]
        _fill(axes, found.matrix(side), "overlap", (0, 1), 2, names)
        axes.set(xlabel="task", title=f"{side[:-1]} spaces")
    chart.axes[0].set_ylabel("task")
    chart.suptitle(text(found.result.name))
    return chart


def residuals(found: Redundancy) -> Figure:
    """Draw what the fit by earlier adapters leaves of each task's, and what random ones would leave."""
    from matplotlib.ticker import MaxNLocator

    chart = figure()
    axes = chart.add_subplot()
    kinds = ["residual", *(["effect_residual"] if found.has_effects else [])]
    for index, kind in enumerate(kinds):
        for name, line in ((kind, "-"), (f"{kind}_random", ":")):
            left = {task: found.shape(task, name) for task in found.tasks}
            points = [(task + 1, value) for task, value in left.items() if value is not None]
            label = ("update" if kind == "residual" else "effect") + (
                " by random adapters" if line == ":" else ""
            )
            style: dict[str, Any] = {"color": COLOURS[index], "marker": "os"[index], "linestyle": line}
            axes.plot(*np.array(points).reshape(-1, 2).T, **style, markersize=4, label=label)
    axes.set(
        xlabel="task", ylabel="residual after the fit by earlier adapters", title=text(found.result.name)
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(chart, axes)
    return chart


def accuracy_over_tasks(rows: Sequence[Row]) -> Figure:
    """Draw the mean score of the tasks seen after each task, with the deviation over runs."""

    def stages(run: Result) -> np.ndarray:
        scores = as_array(run.matrix)
        return np.array([100 * scores[t, : t + 1].mean() for t in range(len(scores))])

    return _curves(rows, stages, "after task", "mean score of tasks seen x 100")


def active_over_tasks(rows: Sequence[Row]) -> Figure:
    """Draw the active adapters after each task, with the deviation over runs."""
    chart = _curves(
        rows,
        lambda run: np.array(run.active_adapters, dtype=float),
        "after task",
        "active adapters",
        apart=0.03,
    )
    chart.axes[0].set_ylim(bottom=0)
    return chart


def forgetting_per_task(rows: Sequence[Row]) -> Figure:
    """Draw, for each task but the last, its best earlier score minus its last one, with the deviation."""

    def lost(run: Result) -> np.ndarray:
        scores = 100 * as_array(run.matrix)
        last = len(scores) - 1
        return np.array([scores[i:last, i].max() - scores[last, i] for i in range(last)])

    chart = _curves(rows, lost, "task, by position", "forgetting x 100")
    chart.axes[0].axhline(0, color="0.6", linewidth=0.8, zorder=0)
    return chart


def score_against_stored(rows: Sequence[Row]) -> Figure:
    """Draw average performance against stored adapter parameters, and the Pareto front as a step.

    The front is that of the methods without needs; what needs more, and the reference rows, are hollow.
    """
    chart = figure()
    axes = chart.add_subplot()
    free, held = [], []
    scored = [row for row in rows if row.values("average_performance")]
    for row, look in zip(scored, looks(scored), strict=True):
        stored = float(np.mean([run.parameters.on_disk for run in row.results]))
        score = 100 * float(np.mean(row.values("average_performance")))
        held.append(stored)
        style = look | {"linestyle": ""}
        if row.first.reference or row.needs:
            style["markerfacecolor"] = "none"
        else:
            free.append((stored, score))
        axes.plot([stored], [score], **style, label=text(_describe_row(row)))
    if free:
        costs, scores = zip(*sorted(free[index] for index in pareto(free)), strict=True)
        axes.step(costs, scores, where="post", color="0.5", linewidth=1, zorder=0, label="Pareto front")
    # Linear near 0, where a row that stores no adapter stands, and by powers of ten beyond.
    powers = [int(np.log10(stored)) for stored in held if stored >= 1] or [0]
    linear = 10.0 ** min(powers)
    axes.set_xscale("symlog", linthresh=linear)
    axes.set_xticks([0, *(10.0**power for power in range(min(powers), max(powers) + 1))])
    # Ticks alone would put the edge through the outermost points.
    axes.set_xlim(-linear / 4, 1.5 * max([linear, *held]))
    axes.set(xlabel="stored adapter parameters", ylabel="average performance x 100")
    add_legend(chart, axes)
    return chart


@dataclass(frozen=True)
class TriedRate:
    """One trial of a search: its learning rate, its score x 100, and whether it learned all its tasks."""

    rate: float
    score: float
    complete: bool = True


def sensitivity(trials: Mapping[str, Sequence[TriedRate]], chosen: float | None) -> Figure:
    """Draw the validation scores of trials over the learning rate, a line for each optimiser.

    A trial that ended early is hollow, and on no line: its score is one of fewer tasks.

    Args:
        trials: by optimiser, "" where a method has one alone.
        chosen: the rate that the search took.
    """
    chart = figure(5.2, 3.0)
    axes = chart.add_subplot()
    for colour, (name, points) in zip(COLOURS, trials.items(), strict=False):
        whole = {point.rate: point.score for point in points if point.complete}
        cut = [(point.rate, point.score) for point in points if not point.complete]
        axes.plot(list(whole), list(whole.values()), color=colour, marker="o", markersize=5, label=name)
        if cut:
            axes.plot(*zip(*cut, strict=True), linestyle="", marker="o", color=colour, fillstyle="none")
    if chosen is not None:
        axes.axvline(chosen, color="0.4", linestyle="--", linewidth=1)
    if any(trials):
        axes.legend()
    axes.set_xscale("log")
    axes.set(xlabel="learning rate (dashed: chosen)", ylabel="validation score x 100")
    return chart


def standing(
    rows: Sequence[Row],
    references: Sequence[Row],
    intervals: Mapping[str, tuple[float, float]],
    names: Callable[[Sequence[Row]], list[str]],
) -> Figure:
    """Draw the mean AP of rows, the best on top, with an interval each, between lines for the references.

    Args:
        references: whose means are the lines; a band says nothing of them.
        intervals: in 0..1 by label; of a row without one the lowest and highest run are drawn.
    """
    # Narrow, so that its text can be read where it is as wide as a phone.
    chart = figure(3.9, 1.4 + 0.3 * len(rows), scale_height=False)
    axes = chart.add_subplot()
    for place, row in enumerate(rows):
        values = [100 * value for value in row.values("average_performance")]
        low, high = intervals.get(row.label, (min(values) / 100, max(values) / 100))
        colour = looks([row])[0]["color"]
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2)
        axes.plot([float(np.mean(values))], [place], marker="o", color=colour, markersize=7)
    for row, name in zip(references, names(references), strict=True):
        mean = 100 * float(np.mean(row.values("average_performance")))
        axes.axvline(mean, color="0.45", linestyle=":", linewidth=1)
        axes.annotate(
            text(f"{name} {mean:.1f}"),
            (mean, 1),
            xytext=(0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
        )
    axes.set_yticks(range(len(rows)), [text(name) for name in names(rows)])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="average performance (AP) x 100")
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    return chart


def critical_difference(ranking: Ranking) -> Figure:
    """Draw mean ranks, the best on top; methods in the band do not differ from it significantly (Nemenyi)."""
    names = sorted(ranking.mean_ranks, key=lambda name: (ranking.mean_ranks[name], name))
    # Rows of equal scores share a name, which would leave the picture no width in one line.
    labels = [text(name).replace(" = ", "\n= ") for name in names]
    chart = figure(height=1.2 + 0.25 * sum(label.count("\n") + 1 for label in labels), scale_height=False)
    axes = chart.add_subplot()
    ranks = [ranking.mean_ranks[name] for name in names]
    reach = ranking.critical_difference
    axes.axvspan(ranks[0], ranks[0] + reach, color=COLOURS[5], alpha=0.3, linewidth=0)
    axes.plot(ranks, range(len(names)), linestyle="", marker="o", color=COLOURS[0])
    axes.set_yticks(range(len(names)), labels)
    axes.invert_yaxis()
    title = f"{ranking.blocks} runs, critical difference {reach:.1f}"
    axes.set(xlabel="mean rank, 1 is the best", title=title)
    return chart


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of points (cost, score) that no other point equals in both and beats in one."""
    return [
        index
        for index, (cost, score) in enumerate(points)
        if not any(
            other_cost <= cost and other >= score and (other_cost, other) != (cost, score)
            for other_cost, other in points
        )
    ]


def _curves(rows: Sequence[Row], values: Any, xlabel: str, ylabel: str, apart: float = 0.0) -> Figure:
    """Draw one line for each row: the mean over its runs, and a band of one deviation.

    Args:
        values: from a result to an array, equally long for all results of a row.
        apart: how far to shift each line from the one before, where several would lie on each other.
    """
    from matplotlib.ticker import MaxNLocator

    chart = figure()
    axes = chart.add_subplot()
    for index, (row, look) in enumerate(zip(rows, looks(rows), strict=True)):
        table = np.stack([values(run) for run in row.results])
        positions, mean = np.arange(1, table.shape[1] + 1) + apart * index, table.mean(axis=0)
        axes.plot(positions, mean, **look, markersize=4, label=text(row.name))
        if len(table) > 1:
            spread = table.std(axis=0, ddof=1)
            band = {"color": look["color"], "alpha": 0.1, "linewidth": 0}
            axes.fill_between(positions, mean - spread, mean + spread, **band)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(chart, axes)
    return chart


def _describe_row(row: Row) -> str:
    needs = [need.replace("_", " ") for need in row.needs]
    marks = [*(["reference"] if row.first.reference else []), *needs]
    return row.name + (f" ({', '.join(marks)})" if marks else "")


def _fill(
    axes: Axes, cells: np.ndarray, label: str, limits: tuple[float, float], digits: int, names: Sequence[str]
) -> None:
    """Draw a square matrix with its numbers; a cell that was not measured stays white."""
    image = axes.imshow(np.ma.masked_invalid(cells), cmap=MAP, vmin=limits[0], vmax=limits[1])
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    if len(cells) <= MOST_NUMBERS:
        middle, size = (limits[0] + limits[1]) / 2, numbers_size(len(cells))
        for (t, i), value in np.ndenumerate(cells):
            if not np.isnan(value):
                ink = "black" if value > middle else "white"
                shown = f"{value:.{digits}f}"
                axes.text(i, t, shown, ha="center", va="center", color=ink, fontsize=size)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.85)
