"""The picture of a study: score against the share of adapters dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.publishing.plot_style import COLOURS, figure, svg, text
from benchmark.results import Result
from benchmark.study.evidence import Evidence
from benchmark.study.stages import AS_MANY, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SINGLE = {
    "litelora, lambda 0": ("^", 0),
    "keep-random": ("x", 1),
    "sd-lora": ("s", 2),
    "shuffled gate": ("v", 3),
    "oracle": ("*", 4),
    "greedy (rehearsal)": ("P", 5),
    "gate on held-out rows": ("D", 6),
    "keep-first": ("<", 7),
    "keep-last": (">", 7),
    AS_MANY: ("X", 1),
}
"""Rows that are one point of the picture, with marker and colour; 0 and 1 are those of the two lines."""


def draw(evidence: Evidence) -> str:
    """Return the picture as SVG: mean AIA over mean reduction, with a band of one standard error over runs.

    LiteLoRA's line goes through its lambdas and keep-random's through the same numbers of adapters.
    """
    chart = figure(7.0, 4.6)
    axes = chart.add_subplot()
    taken = len(evidence.path_runs)
    lines = {
        f"litelora, path of lambda, {taken} runs": evidence.gate,
        f"keep-random, as many kept, {taken} runs": evidence.at_random,
    }
    if not evidence.path_runs:
        lines = {}
    for index, (label, found) in enumerate(lines.items()):
        _line(axes, list(found.values()), COLOURS[index], "-" if index == 0 else "--", label)
    star = evidence.rows["litelora"]
    scores = np.array([points(result) for result in star])
    axes.errorbar(
        [100 * _reduction(star)], [scores.mean()], yerr=[_error(scores)], marker="o", markersize=11,
        markerfacecolor="none", color=COLOURS[0], linestyle="",
        label=text(f"litelora, lambda* = {evidence.chosen:g}, {len(star)} runs"),
    )  # fmt: skip
    for name, (marker, colour) in SINGLE.items():
        if name in evidence.names:
            reached = evidence.scores(name)
            assert reached is not None
            results = [result for part in evidence.parts(name) for result in part]
            axes.errorbar(
                [100 * _reduction(results)], [reached.mean()], yerr=[_error(reached)],
                color=COLOURS[colour], marker=marker, linestyle="", label=text(name),
            )  # fmt: skip
    axes.set(xlabel="adapters dropped, %", ylabel="average incremental accuracy x 100")
    chart.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return svg(chart)


def _line(axes: Axes, groups: Sequence[Sequence[Result]], colour: str, line: str, label: str) -> None:
    found = []
    for results in groups:
        scores = np.array([points(result) for result in results])
        found.append((100 * _reduction(results), scores.mean(), _error(scores)))
    places, means, errors = map(np.array, zip(*sorted(found), strict=True))
    axes.plot(places, means, color=colour, linestyle=line, marker=".", label=text(label))
    axes.fill_between(places, means - errors, means + errors, color=colour, alpha=0.15, linewidth=0)


def _reduction(results: Sequence[Result]) -> float:
    return float(np.mean([result.reduction or 0.0 for result in results]))


def _error(scores: np.ndarray) -> float:
    """Return the standard error of a mean; 0 where one score tells none."""
    return float(scores.std(ddof=1) / len(scores) ** 0.5) if len(scores) > 1 else 0.0
