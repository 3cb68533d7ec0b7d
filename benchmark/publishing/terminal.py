"""Results for reading in a terminal: the table after a run, and everything about one result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.publishing.claims import ATTESTED_SENTENCE
from benchmark.publishing.collect import Row, Section, flatten, sections
from benchmark.publishing.tables import SCORES, active, share
from benchmark.result_files import PACKED
from benchmark.results import READINGS, Reading, Result
from benchmark.scoring.decisions import read_decisions
from benchmark.scoring.metrics import CONVENTIONS
from benchmark.text_table import text_table, write_percent

WIDTH = 100
LONGEST_NAME = 24
MOST_TASKS_WITH_DECIMALS = 12


def result_table(results: Sequence[Result]) -> str:
    """Return final scores x 100 task by task, methods side by side, at most `WIDTH` columns wide.

    Runs of one configuration are averaged. Tasks have their names where every run learned the same ones in
    the same order, and their position otherwise. One table for each stream, protocol, backbone and head.
    """
    return "\n\n".join(_section(part) for part in sections(results))


def show(result: Result, path: Path | None = None) -> str:
    """Return everything that a result file says, as text.

    Args:
        path: of the result, to say whether its adapters lie beside it; None where they are not looked for.
    """
    kind = "reference row" if result.reference else "competitor"
    blocks = [
        f"{result.name}\n{result.protocol}, {result.backbone}, {kind}, key {result.key}",
        _put_title("Scores x 100, row: after task, column: on task", _matrix(result)),
        _put_title("Other readings of the last stage x 100", _readings(result)),
        _put_title("Metrics x 100", _headline(result)),
        _put_title("Tasks", _tasks(result)),
        _put_title("Parameters", _list_values(_parameters(result))),
        _put_title("Report of the method", _reports(result)),
        _put_title("Configuration", _list_values(result.config)),
        _put_title("Needs at test or beyond the task's data", _list_values(dict(result.needs))),
        _put_title("Provenance", _list_values(result.provenance.model_dump())),
        _put_title("Timing", _list_values(result.timing.model_dump())),
        *([] if path is None or path.suffix == PACKED else [_put_title("Adapters", _adapters(result, path))]),
        _put_title("What this proves", ATTESTED_SENTENCE),
    ]
    return "\n\n".join(blocks)


def _adapters(result: Result, path: Path) -> str:
    from benchmark.running.checkpoint import error_beside

    error = error_beside(path, result.key, result.adapters_sha256)
    return error or f"{path.with_suffix('.safetensors').name} is whole and of this run"


def _parameters(result: Result) -> dict[str, Any]:
    """Return the counts, those of adapters as tables show them."""
    active = {"active_adapters": result.active_adapters, "active_adapter_reduction": result.reduction}
    return result.parameters.model_dump() | active


def _section(part: Section) -> str:
    labels = _task_labels(part.results)
    columns = {row.name: _column(row, len(labels)) for row in part.rows}
    index = [*labels, *(title for title in SCORES), "active adapters", "runs"]
    tables = _blocks(index, columns)
    notes = [note for row in part.rows if (note := _note_mixed_code(row))]
    return "\n\n".join([f"{part.stream}: {part.title}", *tables, *notes, *_decisions(part.results)])


def _note_mixed_code(row: Row) -> str:
    """Return that runs of a row were made by different code of its method, "" where none is known to be."""
    known = Counter(run.provenance.method_sha256 for run in row.results if run.provenance.method_sha256)
    if len(known) < 2:
        return ""
    counts = " and ".join(str(count) for count in known.values())
    return f"note: {row.name} averages {counts} runs of different code of the method (--fresh runs all anew)"


def _decisions(results: Sequence[Result]) -> list[str]:
    """Return which adapters each run kept beside those that its tasks needed, where that is known."""
    rows = []
    for result in results:
        found = read_decisions(result.needs_adapter, result.report)
        if found is not None:
            rows.append(
                {
                    "run": f"{result.method}, order {result.order}, seed {result.seed}",
                    "needed": _tasks_where(found.needed),
                    "kept": _tasks_where(found.kept),
                    "precision": write_percent(found.precision),
                    "recall": write_percent(found.recall),
                    "AUC": write_percent(found.auc),
                }
            )
    if not rows:
        return []
    about = "Adapters kept beside those needed, by task; the first task is not asked about, and not counted"
    return [f"{about}\n{text_table(pd.DataFrame(rows))}"]


def _tasks_where(flags: Sequence[bool]) -> str:
    return " ".join(str(number) for number, flag in enumerate(flags, 1) if flag) or "none"


def _task_labels(results: Sequence[Result]) -> list[str]:
    """Return a name for each task; positions where two runs did not learn the same tasks in one order."""
    orders = {tuple(run.provenance.task_order) for run in results}
    classes = {tuple(run.provenance.class_order or ()) for run in results}
    if len(orders) == len(classes) == 1:
        return [_short(task.name) for task in results[0].tasks]
    return [f"task {position + 1}" for position in range(max(len(run.tasks) for run in results))]


def _column(row: Row, tasks: int) -> list[str]:
    def last(position: int) -> list[float]:
        cells = [run.matrix[-1][position] if position < len(run.tasks) else None for run in row.results]
        return [] if None in cells else [cell for cell in cells if cell is not None]

    scores = [share(last(position)) for position in range(tasks)]
    summary = [share(row.values(metric)) for metric in SCORES.values()]
    return [*scores, *summary, active(row), str(len(row.results))]


def _blocks(index: Sequence[str], columns: dict[str, list[str]]) -> list[str]:
    """Render the columns in as few tables as `WIDTH` allows; a column too wide by itself is kept whole."""
    tables: list[str] = []
    current: dict[str, list[str]] = {}
    for label, column in columns.items():
        wider = {**current, label: column}
        if current and _width(text := _render(index, current)) and _width(_render(index, wider)) > WIDTH:
            tables.append(text)
            wider = {label: column}
        current = wider
    return [*tables, _render(index, current)]


def _render(index: Sequence[str], columns: dict[str, list[str]]) -> str:
    frame = pd.DataFrame({"task": list(index), **columns})
    sides = ["left", *["right"] * len(columns)]
    return text_table(frame, colalign=sides)


def _width(text: str) -> int:
    return max(len(line) for line in text.splitlines())


def _matrix(result: Result) -> str:
    tasks = len(result.tasks)
    digits = 1 if tasks <= MOST_TASKS_WITH_DECIMALS else 0
    stages = [*([result.untrained] if result.untrained else []), *result.matrix]
    rows = [["" if cell is None else f"{100 * cell:.{digits}f}" for cell in row] for row in stages]
    frame = pd.DataFrame(rows, columns=[str(i + 1) for i in range(tasks)])
    frame.insert(0, "", [*(["untrained"] if result.untrained else []), *(str(t + 1) for t in range(tasks))])
    return text_table(frame)


def _headline(result: Result) -> str:
    rows = []
    for name, value in result.headline.items():
        title = CONVENTIONS[name].title if name in CONVENTIONS else ""
        rows.append([name.replace("_", " "), "" if value is None else f"{100 * value:.2f}", title])
    return text_table(pd.DataFrame(rows, columns=["metric", "value", "definition"]))


def _readings(result: Result) -> str:
    """Return what the further readings give on every task after the last, or why there are none."""
    lines = {}
    for name in list(READINGS)[1:]:
        cells = result.matrix_of(name)[-1]
        found = " ".join("-" if cell is None else f"{100 * cell:.1f}" for cell in cells)
        lines[name] = result.readings.get(name, Reading()).blank or found
    return _list_values(lines)


def _tasks(result: Result) -> str:
    counted: dict[str, Sequence[float | bool]] = {
        "steps": result.steps,
        "forward-equivalents": result.forward_equivalents,
        "trainable": result.parameters.trainable,
        "active": result.active_adapters,
    }
    if result.needs_adapter:
        counted["needs an adapter"] = result.needs_adapter
    rows = []
    for t, task in enumerate(result.tasks):
        facts = [
            t + 1,
            _short(task.name),
            len(task.classes),
            task.train,
            task.validation,
            task.test,
            task.metric,
        ]
        rows.append([*facts, *(values[t] if t < len(values) else "" for values in counted.values())])
    columns = ["", "task", "classes", "train", "validation", "test", "metric", *counted]
    return text_table(pd.DataFrame(rows, columns=columns))


def _reports(result: Result) -> str:
    lines = []
    for t, report in enumerate(result.report):
        facts = ", ".join(f"{name}={value}" for name, value in flatten(report).items())
        lines.append(f"{t + 1}: {facts or 'nothing'}")
    return "\n".join(lines)


def _list_values(block: dict[str, Any]) -> str:
    flat = flatten(block)
    wide = max((len(name) for name in flat), default=0)
    return "\n".join(f"{name:<{wide}}  {value}" for name, value in flat.items())


def _put_title(title: str, text: str) -> str:
    return f"{title}\n{text or 'nothing'}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."
