"""Redundancy of several runs on one markdown page: the tables are generated, the words around them stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.analysis.redundancy import couples, format_number
from benchmark.analysis.run_analysis import RunAnalysis
from benchmark.analysis.subspaces import DRAWS
from benchmark.analysis.task_inputs import ROWS, TOKENS
from benchmark.errors import UserError
from benchmark.publishing.paper_tables import PaperTable, frame_table
from benchmark.publishing.tables import drop_blank_columns, markdown, plain
from benchmark.results import atomic_write
from benchmark.text_table import write_count

DEFINITIONS = {
    "task": "by place in the order learned; a row of blanks is a task whose adapter was not kept.",
    "rows, columns": "overlap of the adapter's row space (layer inputs) or column space (layer outputs) with "
    "those of each earlier one: mean squared cosine of the principal angles, mean over them and layers; 1 "
    "where one holds the other.",
    "x random": "the same over what random subspaces of these ranks have.",
    "update residual": "what is left of the update B A after the least-squares fit by the earlier updates, "
    "one coefficient each, as a share of its norm, mean over layers: 0 is a combination of them, 1 is "
    "orthogonal to all.",
    "effect residual": "the same of X (B A)^T, what it adds to the outputs of its layer, on up to "
    f"{TOKENS} tokens X of {ROWS} training rows of its task as the finished model sees them.",
    "by random": "the residual before it where random ones take the place of the earlier ones, with their "
    "singular values and uniformly random row and column spaces; root of the mean square, in closed form for "
    f"updates and over {DRAWS} draws for effects. A residual as large shows no relation to earlier adapters.",
    "AP without it": "average performance x 100 without the adapter, minus with it.",
    "answers changed": "test rows of all tasks that are then answered differently.",
}

REMOVED = ("AP without it", "answers changed")
"""The columns that come from removing each adapter."""


def tables(runs: Sequence[RunAnalysis]) -> list[PaperTable]:
    """Return for each run the overlaps of every two adapters, and what `by_task` says of each."""
    made = []
    for analysed in runs:
        found = analysed.found
        name = found.result.name
        note = f"{'; '.join(facts(analysed))}."
        pairs = pd.DataFrame(couples(found))
        if not pairs.empty:
            made.append(frame_table(f"{name}: two adapters", pairs, note, run=name))
        made.append(frame_table(f"{name}: each adapter", by_task(analysed), note, run=name))
    return made


def write_page(runs: Sequence[RunAnalysis], page: Path) -> Path:
    """Write the tables of the runs, grouped by stream, between the page's marks for each stream.

    Text outside the marks is kept; a stream without marks gets a heading and marks at the end.

    Raises:
        UserError: the page cannot be read or written, or lacks one of a pair of marks.
    """
    try:
        text = page.read_text(encoding="utf-8") if page.exists() else "# Redundancy of adapters\n"
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {page}: {error}") from None
    lines = [f"- **{name}**: {plain(meaning)}" for name, meaning in DEFINITIONS.items()]
    blocks = {"Columns": "\n".join(lines)}
    ordered = sorted(runs, key=lambda run: run.found.result.stream)
    for stream, found in groupby(ordered, key=lambda run: run.found.result.stream):
        blocks[stream] = "\n\n".join(_run(run) for run in found)
    atomic_write(page, _fill_blocks(text, blocks, page).encode())
    return page


def _fill_blocks(text: str, blocks: Mapping[str, str], page: Path) -> str:
    for name, block in blocks.items():
        start, end = f"<!-- redundancy:{name} -->", f"<!-- /redundancy:{name} -->"
        if start not in text and end not in text:
            text = f"{text.rstrip()}\n\n## {plain(name)}\n\n{start}\n{end}\n"
        before, opened, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise UserError(f"{page} needs the line {start} and, below it, the line {end}")
        text = f"{before}{start}\n{block}\n{end}{after}"
    return text


def _run(analysed: RunAnalysis) -> str:
    run = analysed.found.result
    lead = f"**{plain(run.method)}**, order {plain(run.order)}, seed {run.seed}"
    return f"{lead}: {'; '.join(facts(analysed))}.\n\n{markdown(by_task(analysed))}"


def facts(analysed: RunAnalysis) -> list[str]:
    """Return what a reader of the table must know of a run."""
    found, removed = analysed.found, analysed.removed
    run = found.result
    score = run.headline["average_performance"]
    facts = [
        f"{write_count(len(found.tasks), 'adapter')} for {len(run.tasks)} tasks",
        f"{run.protocol}, {run.backbone}",
        "" if score is None else f"AP {100 * score:.1f}",
        f"key {run.key[:8]}",
    ]
    if removed is not None:
        facts.append(f"active {removed.active} by removal, {removed.reported} as reported")
        facts.append(
            "" if removed.reproduced else "the full model does not give the scores of the result again"
        )
    return list(filter(None, facts))


def by_task(analysed: RunAnalysis) -> pd.DataFrame:
    """Return a row of texts for each task, with the columns of `DEFINITIONS` that hold anything."""
    tasks = range(len(analysed.found.result.tasks))
    return drop_blank_columns(pd.DataFrame([_task(analysed, task) for task in tasks]).fillna(""))


def _task(analysed: RunAnalysis, task: int) -> dict[str, str]:
    found, removed = analysed.found, analysed.removed
    record = {
        "task": f"{task + 1}",
        "effective rank": format_number(found.shape(task, "effective_rank"), 2),
        "stable rank": format_number(found.shape(task, "stable_rank"), 2),
        "rows": format_number(found.to_earlier(task, "rows"), 3),
        "x random": format_number(found.to_earlier(task, "rows_over_random"), 1),
        "columns": format_number(found.to_earlier(task, "columns"), 3),
        "x random ": format_number(found.to_earlier(task, "columns_over_random"), 1),
        "update residual": format_number(found.shape(task, "residual"), 4),
        "by random": format_number(found.shape(task, "residual_random"), 4),
        "effect residual": format_number(found.shape(task, "effect_residual"), 4),
        "by random ": format_number(found.shape(task, "effect_residual_random"), 4),
    }
    if removed is not None:
        for each in (each for each in removed.removals if each.task == task):
            record["AP without it"] = f"{round(100 * each.mean_change, 1) or 0.0:+.1f}"
            record["answers changed"] = f"{each.predictions_changed} of {removed.rows}"
    return record
