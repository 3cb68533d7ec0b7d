"""TRACE's eight tasks: their words, their scores, and their rows in this suite's or TRACE's own files.

Source: BeyonderXX/TRACE (commit 462e39f6), `<task>/{train,eval,test}.json`, a list of `{"prompt": text,
"answer": text}`; a prompt holds the instruction and is ready to feed. Its training files repeat rows to reach
their size and share rows with its test files; both are taken out here and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.data import files as data_files
from benchmark.data.data_errors import DataError, raise_any
from benchmark.data.files import VARIABLE, read_list
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Request, Side, Task, Wording
from tasks.sources import layouts
from tasks.sources.rows import (
    Identities,
    NamedLine,
    chain_rows,
    notes,
    own_rows,
    read_each,
    remove_rows_of,
    sound,
)

if TYPE_CHECKING:
    from benchmark.data.parsed_rows import ParsedRow

SPLITS = ("train", "eval", "test")


@dataclass(frozen=True)
class TraceTask:
    """One task.

    Attributes:
        metric: its score, one of `benchmark.scoring.task_metrics.NAMES`.
        letters: the answers there are where they are letters; empty otherwise.
        cut: the side of a long text that gives way: where the stance's target or the line to continue stands
            last, the start.
    """

    metric: str
    before: str = ""
    after: str = ""
    letters: str = ""
    cut: Side = "end"


PROBLEM = TraceTask("exact-match", "Solve the following math problem.\nQuestion:\n", "\nAnswer:")
TASKS: dict[str, TraceTask] = {
    "C-STANCE": TraceTask(
        "exact-match",
        "判断以下文本对指定对象的态度，选择一项：A.支持，B.反对，C.中立。输出A，B或者C。\n文本：\n",
        "\n态度：",
        letters="ABC",
        cut="start",
    ),
    "FOMC": TraceTask(
        "exact-match",
        "What is the monetary policy stance for the following text? A. dovish, B. hawkish, C. neutral. "
        "Choose one from A, B and C.\nText:\n",
        "\nStance:",
        letters="ABC",
    ),
    "MeetingBank": TraceTask(
        "rouge-l",
        "Write a summary of the following meeting transcripts.\nMeeting transcripts:\n",
        "\nSummary:",
    ),
    "Py150": TraceTask("edit-similarity", cut="start"),
    "ScienceQA": TraceTask(
        "first-letter",
        "Choose an answer for the following question and give your reasons.\n\nQuestion:\n",
        "\n\nAnswer:",
    ),
    "NumGLUE-cm": PROBLEM,
    "NumGLUE-ds": PROBLEM,
    "20Minuten": TraceTask(
        "sari",
        "Provide a simplified version of the following paragraph in German.\n\nParagraph:\n",
        "\n\nSimplification:",
    ),
}
# The largest first; without a size as the official scripts name it.
SIZES = ("LLM-CL_Benchmark", *(f"LLM-CL-Benchmark_{size}" for size in (5000, 1000, 500)))
OWN = layouts.Layout(
    "the data folder's trace/", places=("trace",), marks=tuple(f"{n}.jsonl.gz" for n in TASKS)
)
PUBLISHED = layouts.Layout(
    "TRACE's folders",
    places=("", *SIZES, *(f"TRACE-Benchmark/{size}" for size in SIZES), "TRACE"),
    marks=tuple(f"{name}/train.json" for name in TASKS),
)


class Pair(BaseModel):
    """One entry of TRACE's files."""

    model_config = ConfigDict(strict=True)
    prompt: str
    answer: str


class Line(NamedLine, Pair):
    """One row of `<task>.jsonl.gz`."""

    split: Literal["train", "eval", "test"]


def load(request: Request, names: tuple[str, ...]) -> LoadedStream:
    """Return tasks by name from the data folder: there is no official copy on the hub."""
    known = {
        OWN: lambda place: _stream(read_each(names, lambda name: from_folder(place, name))),
        PUBLISHED: lambda place: _stream(read_each(names, lambda name: from_published(place, name))),
    }
    return layouts.read(request.data_dir, known, _absent)


def _absent() -> LoadedStream:
    raise UserError(
        "the stream 'trace' is read from files, which its authors give on a drive; pass --data-dir FOLDER or "
        f"set {VARIABLE}=FOLDER to a folder that holds trace/<task>.jsonl.gz or TRACE's <task>/train.json"
    )


def from_folder(folder: Path, name: str) -> dict[str, Examples]:
    """Return the rows of a task in this suite's layout, as `_parse_once` does."""
    path = folder / f"{name}.jsonl.gz"
    facts = TASKS[name]

    def parse(line: Line, where: str) -> ParsedRow:
        return _parts(facts, line.split, line.id, line, where)

    return _parse_once(name, {name: path}, lambda: own_rows(path, Line, parse))


def from_published(folder: Path, name: str) -> dict[str, Examples]:
    """Return the rows of a task in TRACE's folders, named by split and place, as `_parse_once` does."""
    paths = {split: folder / name / f"{split}.json" for split in SPLITS}
    there = {split: path for split, path in paths.items() if split != "eval" or path.exists()}

    def rows() -> Iterator[ParsedRow]:
        return chain_rows(there, lambda split: _read_published(TASKS[name], split, there[split]))

    return _parse_once(name, paths, rows)


def _read_published(facts: TraceTask, split: str, path: Path) -> Iterator[ParsedRow]:
    def checked(numbered: tuple[int, Pair]) -> Iterator[ParsedRow]:
        number, pair = numbered
        yield _parts(facts, split, f"{split}-{number}", pair, f"{path}, row {number}")

    return sound(read_list(path, Pair), checked)


def _parse_once(
    name: str, paths: dict[str, Path], read: Callable[[], Iterable[ParsedRow]]
) -> dict[str, Examples]:
    """Return a task's rows by split without those that repeat an earlier one, and those as `<split>_again`.

    Args:
        read: yields their rows; called only where the rows are not in the cache.
    """
    from benchmark.data.parsed_rows import contents_there, splits
    from benchmark.data.row_cache import code_of

    names = [*SPLITS, *(f"{split}_again" for split in SPLITS)]
    key = [name, *contents_there(paths), code_of(sys.modules[__name__], data_files, own_rows, Identities)]
    return splits(names, key, lambda: _repeats_apart(read()))


def _repeats_apart(rows: Iterable[ParsedRow]) -> Iterator[ParsedRow]:
    seen = set()
    for row in rows:
        content = (row.split, row.text, *(row.references or ()))
        yield replace(row, split=f"{row.split}_again") if content in seen else row
        seen.add(content)


def _stream(read: Mapping[str, dict[str, Examples]]) -> LoadedStream:
    tasks, counts = [], []
    for name, splits in read.items():
        task, counted = _task(name, splits)
        tasks.append(task)
        counts += [(name, count, what) for what, count in counted]
    return LoadedStream(tasks, "", notes=notes(counts))


def _task(name: str, splits: dict[str, Examples]) -> tuple[Task, list[tuple[str, int]]]:
    """Return a task without repeated rows and without test rows outside test; and what was left out."""
    facts = TASKS[name]
    test = splits["test"]
    train, tested = remove_rows_of(splits["train"], test)
    held, held_tested = remove_rows_of(splits["eval"], test)
    held, held_trained = remove_rows_of(held, train)
    counted = [
        *((f"repeated {split} rows left out", len(splits[f"{split}_again"])) for split in SPLITS),
        ("train rows left out that are in test", tested),
        ("eval rows left out that are in test", held_tested),
        ("eval rows left out that are in train", held_trained),
    ]
    wording = Wording(dataset=name, instruction=facts.before, closing=facts.after, cut=facts.cut)
    task = Task(name, train, test, held if len(held) else None, wording=wording, metric=facts.metric)
    return task, counted


def _parts(facts: TraceTask, split: str, identity: str, pair: Pair, where: str) -> ParsedRow:
    """Return a row of a pair; `where` names its file and place for messages.

    Raises:
        UserError: the prompt is not in the task's words, or the answer is none of its letters.
    """
    from benchmark.data.parsed_rows import ParsedRow

    prompt, answer = pair.prompt, pair.answer
    errors = []
    whole = len(prompt) >= len(facts.before) + len(facts.after)
    if not (whole and prompt.startswith(facts.before) and prompt.endswith(facts.after)):
        words = f"does not begin with {facts.before[:40]!r}... and end with {facts.after!r}"
        errors.append(DataError(f"{where}: prompt: {words}"))
    if facts.letters:
        answer = answer.strip()[:1]
        if not answer or answer not in facts.letters:
            message = f"{where}: answer: {pair.answer[:40]!r} begins with none of {facts.letters}"
            errors.append(DataError(message))
    raise_any(errors)
    text = prompt[len(facts.before) : len(prompt) - len(facts.after)]
    return ParsedRow(split, identity, text, references=[answer])
