"""The tables of a leaderboard: pandas frames of one section's rows, rendered as markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from urllib.parse import quote

import pandas as pd

from benchmark.publishing.board import LEADING, READING_COLUMNS, Board, by_mean
from benchmark.publishing.claims import ATTESTED_SENTENCE
from benchmark.publishing.collect import Row
from benchmark.results import CLASS_MEANS, READINGS, TASK_INCREMENTAL, TRAINED_HEAD, Result
from benchmark.scoring.statistics import spread

SCORES = {
    "AP ↑": "average_performance",
    "AIA (AAA) ↑": "average_anytime",
    "forgetting ↓": "forgetting",
    "BWT ↑": "backward_transfer",
    "learning acc. ↑": "learning_accuracy",
}


def _mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


COSTS: dict[str, Callable[[Result], float]] = {
    "trainable ↓": lambda run: max(run.parameters.trainable, default=0),
    "on disk ↓": lambda run: run.parameters.on_disk,
    "in memory ↓": lambda run: run.parameters.in_memory,
    "auxiliary bytes ↓": lambda run: run.parameters.auxiliary_bytes,
    "active ↓": lambda run: next(reversed(run.active_adapters), math.nan),
    "reduction ↑": lambda run: math.nan if run.reduction is None else run.reduction,
    "steps a task ↓": lambda run: _mean_of(run.steps),
    "forward-equivalents a task ↓": lambda run: _mean_of(run.forward_equivalents),
    "passes a prediction ↓": lambda run: run.parameters.passes_per_prediction,
    "seconds": lambda run: run.timing.total_seconds,
}
"""What each column of the cost table takes from a run; NaN where nothing was counted."""

DEFINITIONS = {
    "scores": "x 100; mean ± sample standard deviation over all runs of a row; blank where not measured; a "
    "column in which nothing was measured is left out.",
    "classifier alignment": "after each task but the first the head learns from Gaussians of the features of "
    "all classes seen (SLCA); an option of any method, which then stores class statistics.",
    "attested": ATTESTED_SENTENCE,
    "could be best": "rows whose AP is not significantly below the highest by Tukey's studentised range over "
    "all rows of the table at once (residuals of the two-way layout of rows and runs, pooled; 5 % "
    "family-wise, for these test rows). Rows with the mark are not shown to be equal.",
    "order of rows": "by AP, or by that of the reading that `bench leaderboard --sort-by` names; marks, "
    "captions and tests are of AP in either case.",
    "AP": "average performance, the mean over tasks of the score after the last task (GEM).",
    "AP, class means": READINGS[CLASS_MEANS] + ".",
    "AP, task id": READINGS[TASK_INCREMENTAL] + ".",
    "AP, 95 %": "Student's interval of AP over runs and test rows: it counts that other test rows would have "
    "given other scores too, and is never narrower than over runs alone. Rows of runs that cut the classes "
    "into tasks in other ways count as different ones, also where they are the same, which makes the "
    "interval somewhat too narrow. Rows of a table share runs and test rows, so that they may differ where "
    "intervals overlap; the mark is what compares them.",
    "AP worst": "the lowest AP of the row's runs.",
    "AIA (AAA)": "average incremental accuracy, the mean over stages of the mean over the tasks seen by "
    "then; also called average anytime accuracy (AAA).",
    "forgetting": "best score after an earlier task minus the score after the last one, mean over the first "
    "T-1 tasks (Chaudhry); negative where the last is the best.",
    "BWT": "backward transfer, the score after the last task minus the score right after learning, mean over "
    "the first T-1 tasks (GEM).",
    "learning acc.": "learning accuracy, the score on each task right after it was learned, mean over tasks: "
    "what learns little has little to forget.",
    "n": "number of runs; the same runs for all rows of a table. A run is a class or task order with a seed.",
    "with fewer runs": "rows that lack some of the table's runs; not compared with it.",
    "selected on test": "the epoch that counts was chosen by its score on TEST rows, as some papers do.",
    "bold": "the best AP, where no other row could be best.",
    "reference": "floor: what needs no protection from forgetting to reach; ceiling: what learns with all "
    "data or the task id at hand, and may be exceeded all the same.",
    "trainable": "adapter numbers under an optimiser, the task with the most; the head comes on top.",
    "on disk": "adapter numbers kept after the last task.",
    "in memory": "adapter numbers in memory while predicting.",
    "auxiliary bytes": "state kept between tasks beside adapters and head.",
    "active": "adapters whose removal can change the prediction of some row, after the last task, and of how "
    "many learned. An adapter is what is learned as one piece: an adapter over all layers, a prompt, a "
    "component. Adapters merged into one change are one active adapter; changed weights are none.",
    "reduction": "active-adapter reduction, 1 - active / learned; blank where tasks add no adapters. A task "
    "for which a method chose to learn none counts as one learned and saved.",
    "steps a task": "optimiser steps of all phases together, mean over tasks; a row that learns all tasks "
    "at once takes its steps in one.",
    "forward-equivalents a task": "forward passes of the backbone on one row, or what costs as much; a "
    "gradient through a block counts twice its forward pass.",
    "passes a prediction": "passes through the backbone for one prediction.",
    "seconds": "wall time of one run, training and scoring, on the machine of that run and beside what else "
    "it did: no measure of a method.",
}


INTERVAL, PROOF = "AP, 95 %", "proof"
PROOF_SENTENCE = (
    "attested, or re-scored: the last row of scores came out again from the adapters by `bench score "
    "--mark`, which is attested by whoever placed that line."
)
LEFT = (
    "stream",
    "protocol",
    "backbone",
    "head",
    "reference rows",
    "reference",
    "could be best",
    "order",
    "number",
    "verdict",
    "on task",
    "metric",
    PROOF,
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


def main_table(board: Board, sort_by: str = TRAINED_HEAD) -> str:
    """Return the scores of a board, the best first by a reading, with a mark on what could be best."""
    records = []
    for row in by_mean(board.rows, sort_by):
        record = _record(row, board)
        if row.label == board.winner:
            record["AP ↑"] = f"**{record['AP ↑']}**"
        records.append(record)
    return markdown(drop_blank_columns(pd.DataFrame(records)))


def drop_blank_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of texts without the columns in which every cell is blank, but for the marks."""
    return frame.loc[:, (frame != "").any() | (frame.columns == "could be best")]


def score_frame(board: Board, sort_by: str = TRAINED_HEAD, apart: bool = False) -> pd.DataFrame:
    """Return the texts of `main_table`, or of `table_apart`, as a frame without the marks of markdown."""
    rows = by_mean(board.apart if apart else board.rows, sort_by)
    return drop_blank_columns(pd.DataFrame([_record(row, board) | {"method": name_row(row)} for row in rows]))


def table_apart(board: Board, sort_by: str = TRAINED_HEAD) -> str:
    """Return the scores of the rows that lack some of the board's runs."""
    frame = pd.DataFrame([_record(row, board) for row in by_mean(board.apart, sort_by)])
    return markdown(drop_blank_columns(frame.drop(columns="could be best", errors="ignore")))


def _record(row: Row, board: Board) -> dict[str, str]:
    record = {"method": name_in_markdown(row)} | board.mark(row)
    record |= {title: share(row.values(metric)) for title, metric in SCORES.items()}
    record |= {title: share(row.values(LEADING, READING_COLUMNS[title])) for title in board.readings}
    record |= {INTERVAL: interval(row, board)} if board.intervals else {}
    values = row.values(LEADING)
    record |= {"AP worst": f"{100 * min(values):.1f}" if values else "", "n": str(len(row.results))}
    return record | ({PROOF: row.proof} if board.proven else {})


def interval(row: Row, board: Board) -> str:
    """Return the interval of a row's AP x 100; blank where its test rows were not kept."""
    low, high = board.intervals.get(row.label, (None, None))
    return "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def cost_table(rows: Sequence[Row]) -> str:
    """Return what each row costs; a number that differs between runs is their mean."""
    records = [
        {"method": name_in_markdown(row)} | {title: cost(row, title) for title in COSTS}
        for row in sorted(rows, key=lambda row: row.label)
    ]
    return markdown(pd.DataFrame(records))


def mean_cost(row: Row, title: str) -> float:
    """Return one cost of a row, named by its column, mean over runs; NaN where it was not counted."""
    return spread([COSTS[title](run) for run in row.results])[0]


def cost(row: Row, title: str) -> str:
    """Return `mean_cost` as text; blank where it was not counted."""
    mean = mean_cost(row, title)
    if math.isnan(mean):
        return ""
    if title == "reduction ↑":
        return f"{100 * mean:.0f} %"
    return _number(mean) + (f" / {_format_learned(row)}" if title == "active ↓" else "")


def _format_learned(row: Row) -> str:
    return _number(spread([run.parameters.adapters[-1] for run in row.results])[0])


def markdown(frame: pd.DataFrame, words: frozenset[str] = frozenset()) -> str:
    """Render a frame of texts as a markdown table: names, and columns of words, left; numbers right."""
    left = {"method", *LEFT, *words}
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


def name_row(row: Row) -> str:
    """Return a row's name; a reference row with what it needs, as it has no section by needs."""
    needs = ", ".join(name.replace("_", " ") for name in row.needs)
    return row.name + (f" ({needs})" if row.first.reference and needs else "")


def name_in_markdown(row: Row) -> str:
    """Return a row's name for a markdown table."""
    return plain(name_row(row))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
