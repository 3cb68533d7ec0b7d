"""The tables of a study's page, as frames of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmark.publishing.board import LEADING
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL, TRAINED_HEAD
from benchmark.scoring.statistics import student_interval
from benchmark.study.evidence import Evidence, mean_of
from benchmark.study.stages import AIA, points
from benchmark.text_table import write_percent

ACTIVE = ("active", "active, all stages")
UNPLANNED = {
    "AIA, class means": (AIA, CLASS_MEANS),
    "AIA, task id": (AIA, TASK_INCREMENTAL),
    "AP": (LEADING, TRAINED_HEAD),
    "AP, class means": (LEADING, CLASS_MEANS),
    "AP, task id": (LEADING, TASK_INCREMENTAL),
}
"""Numbers and readings of which no outcome is."""
READ = {TRAINED_HEAD: "AIA", CLASS_MEANS: "AIA, class means", TASK_INCREMENTAL: "AIA, task id"}


def compare_rows(evidence: Evidence) -> pd.DataFrame:
    """Return a row for LiteLoRA at lambda* and for everything that it is compared with."""
    table = []
    for name in evidence.names:
        record = {"row": name}
        for reading, title in READ.items():
            record[title] = format_spread(evidence.scores(name, reading=reading))
        record["A, pooled"] = format_spread(evidence.scores(name, "average_anytime_pooled"))
        record["F, all rows"] = format_spread(evidence.scores(name, "forgetting_all_rows"))
        record |= dict(zip(ACTIVE, (f"{count:.1f}" for count in evidence.count_active(name)), strict=True))
        record["litelora minus it"] = (
            "" if name == "litelora" else format_interval(evidence.differences(name))
        )
        table.append(record)
    return pd.DataFrame(table)


def differ(evidence: Evidence) -> pd.DataFrame:
    """Return what LiteLoRA's unplanned numbers are less those of every other row."""
    table = []
    for name in evidence.names:
        if name != "litelora":
            found = {title: evidence.differences_by(name, *by) for title, by in UNPLANNED.items()}
            texts = {title: format_interval(values) if values else "-" for title, values in found.items()}
            table.append({"litelora less": name} | texts)
    return pd.DataFrame(table)


def follow_path(evidence: Evidence) -> pd.DataFrame:
    """Return a row for every lambda."""
    table = []
    predictions = evidence.predictions()
    for value in evidence.lambdas:
        ours, theirs = evidence.gate[value], evidence.at_random[value]
        guessed, kept, alike = predictions[value]
        gaps = [points(a) - points(b) for a, b in zip(ours, theirs, strict=True)]
        table.append(
            {
                "lambda": f"{value:g}" + (" *" if value == evidence.chosen else ""),
                "AIA": format_spread(np.array([points(result) for result in ours])),
                "kept": f"{kept:.1f}",
                "predicted": f"{guessed:.1f}",
                "alike": f"{alike:.0%}",
                "keep-random": format_spread(np.array([points(result) for result in theirs])),
                "litelora minus it": format_interval(gaps),
            }
        )
    return pd.DataFrame(table)


def describe_needed(evidence: Evidence) -> pd.DataFrame:
    """Return precision, recall and AUC of every row that decides."""
    table = []
    for name in evidence.names:
        found = evidence.decisions(name)
        if found:
            shares = {
                "precision": mean_of([each.precision for each in found]),
                "recall": mean_of([each.recall for each in found]),
                "AUC": mean_of([each.auc for each in found]),
            }
            kept = np.mean([sum(each.kept) for each in found])
            table.append(
                {
                    "row": name,
                    "kept": f"{kept:.1f}",
                    **{key: write_percent(value) for key, value in shares.items()},
                }
            )
    return pd.DataFrame(table)


def list_trials(evidence: Evidence) -> pd.DataFrame:
    """Return what chose lambda*."""
    return pd.DataFrame(
        [
            {
                "lambda": f"{value:g}" + (" *" if value == evidence.chosen else ""),
                "AIA, validation rows": format_spread(np.array([points(result) for result in results])),
                "kept": f"{np.mean([result.active_adapters[-1] for result in results]):.1f}",
            }
            for value, results in evidence.study.tuning().items()
        ]
    )


def format_spread(values: np.ndarray | None) -> str:
    """Return mean and deviation of the scores of runs, or a dash where there are none."""
    if values is None:
        return "-"
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation}"


def format_interval(differences: Sequence[float]) -> str:
    """Return the mean of differences with its 95 % interval, if there are two of them."""
    interval = student_interval(differences)
    if interval is None:
        return f"{np.mean(differences):+.1f}"
    return f"{np.mean(differences):+.1f} ({interval[0]:+.1f} to {interval[1]:+.1f})"


def markdown(frame: pd.DataFrame) -> str:
    """Return a frame of texts as a markdown table, its first column to the left."""
    sides = ["left", *["right"] * (len(frame.columns) - 1)]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=sides))
