"""The tables of a leaderboard: pandas frames of one section's rows, rendered as markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import pandas as pd

from benchmark.publishing.collect import Row
from benchmark.results import CLASS_MEANS, READINGS, TASK_INCREMENTAL, TRAINED_HEAD, Result
from benchmark.scoring.statistics import FEWEST_RUNS, spread, tiers

SCORES = {
    "AP ↑": "average_performance",
    "AAA ↑": "average_anytime",
    "forgetting ↓": "forgetting",
    "BWT ↑": "backward_transfer",
}
LEADING = "average_performance"


def _mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


COSTS: dict[str, Callable[[Result], float]] = {
    "trainable ↓": lambda run: max(run.parameters.trainable, default=0),
    "stored ↓": lambda run: run.parameters.on_disk,
    "resident ↓": lambda run: run.parameters.in_memory,
    "auxiliary bytes ↓": lambda run: run.parameters.auxiliary_bytes,
    "active ↓": lambda run: next(reversed(run.active_adapters), math.nan),
    "reduction ↑": lambda run: math.nan if run.reduction is None else run.reduction,
    "forward-equivalents a task ↓": lambda run: _mean_of(run.forward_equivalents),
    "passes ↓": lambda run: run.parameters.passes_per_prediction,
    "seconds ↓": lambda run: run.timing.total_seconds,
}
"""What each column of the cost table takes from a run; NaN where nothing was counted."""

DEFINITIONS = {
    "scores": "x 100; mean ± sample standard deviation over all runs of a row; blank where not measured.",
    "classifier alignment": "after each task but the first the head learns from Gaussians of the features of "
    "all classes seen (SLCA); an option of any method, which then keeps statistics of old data.",
    "tier": "the best AP leads tier 1; a method joins its leader's tier unless 0 lies outside both 95 % "
    "intervals, Student's and bootstrap, of their mean paired AP difference (same seed, order and data); "
    "blank below three runs. Rows stand by tier, then by AP; those without a tier last.",
    "AP": "average performance, the mean over tasks of the score after the last task (GEM).",
    "AP, class means": READINGS[CLASS_MEANS] + ".",
    "AP, task id": READINGS[TASK_INCREMENTAL] + ".",
    "AP worst": "the lowest AP of the row's runs.",
    "AAA": "average anytime performance, the mean over stages of the mean over the tasks seen by then.",
    "forgetting": "best score after an earlier task minus the score after the last one, mean over the first "
    "T-1 tasks (Chaudhry); negative where the last is the best.",
    "BWT": "backward transfer, the score after the last task minus the score right after learning, mean over "
    "the first T-1 tasks (GEM).",
    "n": "number of runs, that is pairs of seed and order.",
    "selected on test": "the epoch that counts was chosen by its score on TEST rows, as some papers do.",
    "bold": "the best AP, where it is alone in its tier and no row without a tier is above it.",
    "trainable": "adapter numbers under an optimiser, the task with the most; the head comes on top.",
    "stored": "adapter numbers kept on disk after the last task.",
    "resident": "adapter numbers in memory while predicting.",
    "auxiliary bytes": "state kept between tasks beside adapters and head.",
    "active": "adapters whose removal can change the prediction of some row, after the last task, and of how "
    "many learned. An adapter is what is learned as one piece: a pair over all layers, a prompt, a "
    "component. Adapters merged into one change are one active adapter; changed weights are none.",
    "reduction": "active-adapter reduction, 1 - active / learned; blank where tasks add no adapters. A task "
    "for which a method chose to learn none counts as one learned and saved.",
    "forward-equivalents a task": "forward passes of the backbone on one row, or what costs as much; a "
    "gradient through a block counts twice its forward pass.",
    "passes": "passes through the backbone for one prediction.",
    "seconds": "wall time of one run, training and scoring; on the machine of that run.",
}


LEFT = (
    "stream",
    "protocol",
    "backbone",
    "head",
    "reference rows",
    "order",
    "number",
    "verdict",
    "on task",
    "metric",
)
"""Further columns of names."""


def plain(text: str) -> str:
    """Return a text that markdown shows as it is, also inside a table."""
    for mark in "\\|*`<[":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def link(text: str, stream: str) -> str:
    """Return a link to a stream's page, from which no name can break out."""
    shown = plain(text).replace("]", "\\]")
    return f"[{shown}]({quote(stream)}.md)"


READING_COLUMNS = {"AP, class means ↑": CLASS_MEANS, "AP, task id ↑": TASK_INCREMENTAL}
"""Further readings of the same runs beside the first, where a run has them."""


def main_table(rows: Sequence[Row], ranked: bool = True, sort_by: str = TRAINED_HEAD) -> str:
    """Return scores and tiers, the best tier first.

    Args:
        rows: rows that compete with each other, or reference rows.
        ranked: whether to put the rows in tiers.
        sort_by: the reading whose AP sorts the rows; by another than the first, they stand without tiers.
    """
    ranked = ranked and sort_by == TRAINED_HEAD
    places = tiers({row.label: row.runs(LEADING) for row in rows}) if ranked else {}
    ordered = standing(rows, places, sort_by)
    further = {
        title: name
        for title, name in READING_COLUMNS.items()
        if any(row.values(LEADING, name) for row in rows)
    }
    best = winner(rows, places)
    records = []
    for row in ordered:
        record = {"method": shown(row), "tier": str(places.get(row.label) or "")}
        record |= {title: share(row.values(metric)) for title, metric in SCORES.items()}
        record |= {title: share(row.values(LEADING, name)) for title, name in further.items()}
        if row.label == best:
            record["AP ↑"] = f"**{record['AP ↑']}**"
        values = row.values(LEADING)
        record |= {"AP worst": f"{100 * min(values):.1f}" if values else "", "n": str(len(row.results))}
        records.append(record)
    frame = pd.DataFrame(records)
    return markdown(frame if ranked else frame.drop(columns="tier"))


def standing(rows: Sequence[Row], places: Mapping[str, int | None], sort_by: str = TRAINED_HEAD) -> list[Row]:
    """Return rows by tier, then by mean; with other seeds, a row of a lower tier may have more."""
    by_mean = sorted(rows, key=lambda row: _by_mean(row, sort_by))
    return sorted(by_mean, key=lambda row: places.get(row.label) or len(rows) + 1)


def unranked(rows: Sequence[Row]) -> str | None:
    """Return in words which of some competing rows have no tier, and why; None where all have one."""
    few = [row.name for row in sorted(rows, key=_by_mean) if len(row.runs(LEADING)) < FEWEST_RUNS]
    if few:
        return f"Too few runs to rank, {FEWEST_RUNS} are needed: {plain(', '.join(few))}."
    return "One method alone is not ranked." if len(rows) == 1 else None


def cost_table(rows: Sequence[Row]) -> str:
    """Return what each row costs; a number that differs between runs is their mean."""
    records = [
        {"method": shown(row)} | {title: cost(row, title) for title in COSTS}
        for row in sorted(rows, key=lambda row: row.label)
    ]
    return markdown(pd.DataFrame(records))


def cost(row: Row, title: str) -> str:
    """Return one cost of a row, named by its column; blank where it was not counted."""
    mean, _ = spread([COSTS[title](run) for run in row.results])
    if math.isnan(mean):
        return ""
    if title == "reduction ↑":
        return f"{100 * mean:.0f} %"
    return _number(mean) + (f" / {_learned(row)}" if title == "active ↓" else "")


def _learned(row: Row) -> str:
    return _number(spread([run.parameters.adapters[-1] for run in row.results])[0])


def markdown(frame: pd.DataFrame) -> str:
    """Render a frame of texts as a markdown table: names to the left, numbers to the right."""
    left = {"method", *LEFT}
    sides = ["left" if column in left else "right" for column in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=sides))


def share(values: Sequence[float]) -> str:
    """Return scores in 0..1 as `mean ± deviation` x 100; without the deviation for one, blank for none."""
    if not values:
        return ""
    mean, deviation = spread(values)
    return _signless(100 * mean) + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def active(row: Row) -> str:
    """Return the active adapters after the last task, `3 / 10`; blank where none were counted."""
    return cost(row, "active ↓")


def _signless(value: float) -> str:
    """Format with one decimal and without the sign of a rounded zero."""
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text


def named(row: Row) -> str:
    """Return a row's name; a reference row with what it needs, as it has no section by needs."""
    needs = ", ".join(name.replace("_", " ") for name in row.needs)
    return row.name + (f" ({needs})" if row.first.reference and needs else "")


def shown(row: Row) -> str:
    """Return a row's name for a markdown table."""
    return plain(named(row))


def _by_mean(row: Row, reading: str = TRAINED_HEAD) -> tuple[float, str]:
    return -_mean(row, reading), row.label


def _mean(row: Row, reading: str) -> float:
    """Return the mean a row is sorted by; below every score where there is none."""
    values = row.values(LEADING, reading)
    return spread(values)[0] if values else -1.0


def winner(rows: Sequence[Row], places: Mapping[str, int | None]) -> str | None:
    """Return the label of the row to print in bold: the highest mean, if it has tier 1 for itself."""
    ordered = sorted(rows, key=_by_mean)
    if not ordered:
        return None
    alone = [label for label, tier in places.items() if tier == 1] == [ordered[0].label]
    return ordered[0].label if alone else None


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
