"""Tasks of Natural Instructions: from this suite's or SAPT's files in a data folder, or sampled from the hub.

Source: https://github.com/circle-hit/SAPT (commit 52a52b92), derived from Natural Instructions
(https://github.com/allenai/natural-instructions, Apache-2.0).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.data import files as data_files
from benchmark.data.hub import Hub, HubSet
from benchmark.data.hub_tables import require
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Request, Sources, Task, Wording
from tasks.sources import cl_benchmark, layouts
from tasks.sources.cl_benchmark import TESTED, Instance
from tasks.sources.rows import (
    Identities,
    NamedLine,
    chain_rows,
    notes,
    own_rows,
    read_each,
    sound,
    table_beside,
    validation,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from benchmark.data.parsed_rows import ParsedRow

FOLDER = "superni"
OWN = layouts.Layout(f"the data folder's {FOLDER}/", places=(FOLDER,), marks=(".",))
HUB = HubSet("Muennighoff/natural-instructions")
COLUMNS = ("task_name", "id", "definition", "inputs", "targets")
TRAIN_ROWS = 1000
TEST_ROWS = 100
# A task of fewer rows gives one in ten to test, close to SAPT's shares (160/20, 126/16).
TEST_SHARE = 10

CATEGORIES: dict[str, str] = {
    "task639_multi_woz_user_utterance_generation": "Dialogue Generation",
    "task1590_diplomacy_text_generation": "Dialogue Generation",
    "task1729_personachat_generate_next": "Dialogue Generation",
    "task181_outcome_extraction": "Information Extraction",
    "task748_glucose_reverse_cause_event_detection": "Information Extraction",
    "task1510_evalution_relation_extraction": "Information Extraction",
    "task002_quoref_answer_generation": "Question Answering",
    "task073_commonsenseqa_answer_generation": "Question Answering",
    "task591_sciq_answer_generation": "Question Answering",
    "task511_reddit_tifu_long_text_summarization": "Summarization",
    "task1290_xsum_summarization": "Summarization",
    "task1572_samsum_summary": "Summarization",
    "task363_sst2_polarity_classification": "Sentiment Analysis",
    "task875_emotion_classification": "Sentiment Analysis",
    "task1687_sentiment140_classification": "Sentiment Analysis",
}
# Not among SAPT's tasks and files; SEEKR's stream has it.
OTHERS = {"task195_sentiment140_classification": "Sentiment Analysis"}


def category(name: str) -> str:
    """Return a task's category by its full name."""
    return CATEGORIES.get(name) or OTHERS[name]


def full_names(numbers: str) -> tuple[str, ...]:
    """Return the full names of tasks given by their numbers, with a blank between."""
    by_number = {name.partition("_")[0].removeprefix("task"): name for name in (*CATEGORIES, *OTHERS)}
    return tuple(by_number[number] for number in numbers.split())


PUBLISHED: dict[str, tuple[str, ...]] = {
    "1": full_names("1572 363 1290 181 002 1510 639 1729 073 1590 748 511 591 1687 875"),
    "2": full_names("748 073 1590 639 1572 1687 591 363 1510 1729 181 511 002 1290 875"),
}


def rotate_tasks(names: tuple[str, ...], places: int) -> tuple[str, ...]:
    """Return tasks beginning with the one at a place, the first ones last."""
    return names[places:] + names[:places]


# `own-3` to `own-10` are this suite's, for comparisons over more runs: SAPT's orders, begun at other tasks.
ORDERS: dict[str, tuple[str, ...]] = PUBLISHED | {
    f"own-{run}": rotate_tasks(PUBLISHED["12"[(run + 1) % 2]], 3 * ((run - 1) // 2)) for run in range(3, 11)
}


SAPT = layouts.Layout(
    "SAPT's CL_Benchmark/SuperNI/",
    places=("CL_Benchmark/SuperNI", "SuperNI", ""),
    marks=tuple(f"{name}/train.json" for name in CATEGORIES),
)
SOURCES = Sources(layouts=(OWN, SAPT), hub=(HUB,))


class Facts(BaseModel):
    """A task's entry in `tasks.json`."""

    model_config = ConfigDict(strict=True)
    definition: str
    category: str


class TasksFile(BaseModel):
    """The part of `tasks.json` that is read."""

    tasks: dict[str, Facts]


class Line(NamedLine):
    """One row of `<task>.jsonl.gz`; a reference may be empty, a row without references may not."""

    split: Literal["train", "test"]
    input: str
    outputs: list[str]


@dataclass(frozen=True)
class Files:
    """How a layout keeps tasks on disk.

    Attributes:
        path: where a task's training rows are, below the layout's place.
        read: makes tasks by name from their place; with each, how many dev rows were test rows.
    """

    path: str
    read: Callable[[Path, Sequence[str]], dict[str, tuple[Task, int]]]


def load(request: Request, names: tuple[str, ...]) -> LoadedStream:
    """Return tasks by their full names, from the data folder if it has them, else from the hub.

    A task that SAPT's files cannot hold (`OTHERS`) may come from the hub beside a folder's tasks; noted.
    """

    def reader(files: Files) -> Callable[[Path], LoadedStream]:
        return lambda place: _from_files(place, names, files, request.data_dir)

    known = {
        OWN: reader(Files("{name}.jsonl.gz", from_folder)),
        SAPT: reader(Files("{name}/train.json", from_sapt)),
    }
    return layouts.read(request.data_dir, known, lambda: from_hub(names, request.data_dir))


def _from_files(place: Path, names: tuple[str, ...], files: Files, data_dir: Path | None) -> LoadedStream:
    lacking = tuple(n for n in names if n in OTHERS and not (place / files.path.format(name=n)).exists())
    read = files.read(place, [name for name in names if name not in lacking])
    counted = notes((name, tested, TESTED) for name, (_, tested) in read.items())
    if not lacking:
        return LoadedStream([task for task, _ in read.values()], "", notes=counted)
    sampled = from_hub(lacking, data_dir)
    tasks = {
        **{name: task for name, (task, _) in read.items()},
        **{task.name: task for task in sampled.tasks},
    }
    said = f"not in the data folder, from the hub: {', '.join(lacking)}"
    listed = [tasks[name] for name in names]
    return LoadedStream(listed, "", revisions=sampled.revisions, notes=(*counted, said, *sampled.notes))


def from_folder(folder: Path, names: Sequence[str]) -> dict[str, tuple[Task, int]]:
    """Return tasks of this suite's layout: SAPT's own rows, which come without validation rows."""
    table = table_beside(folder, TasksFile, names)
    return read_each(names, lambda name: (_folder_task(folder, name, table), 0))


def _folder_task(folder: Path, name: str, table: TasksFile) -> Task:
    from benchmark.data.parsed_rows import contents, splits
    from benchmark.data.row_cache import code_of

    if name not in table.tasks:
        raise UserError(f"{folder / 'tasks.json'} has no entry for the task '{name}'")
    path = folder / f"{name}.jsonl.gz"
    key = [contents(path), code_of(sys.modules[__name__], data_files, own_rows, Identities)]
    found = splits(("train", "test"), key, lambda: _parse(path))
    facts = table.tasks[name]
    return _task(name, facts.category, facts.definition, found["train"], found["test"])


def _parse(path: Path) -> Iterator[ParsedRow]:
    from benchmark.data.parsed_rows import ParsedRow

    def parse(line: Line, where: str) -> ParsedRow:
        if not line.outputs:
            raise UserError(f"{where}: outputs: no reference")
        return ParsedRow(line.split, line.id, line.input, references=line.outputs)

    return own_rows(path, Line, parse)


def from_sapt(root: Path, names: Sequence[str]) -> dict[str, tuple[Task, int]]:
    """Return tasks of SAPT's folders, with each how many of its dev rows were test rows."""
    return read_each(names, lambda name: _sapt_task(root, name))


def _sapt_task(root: Path, name: str) -> tuple[Task, int]:
    folder = root / name
    found = cl_benchmark.parse_once(folder, ["definitions"], ["references"], lambda: _parse_sapt(folder))
    task = _task(name, category(name), cl_benchmark.definition(found), found["train"], found["test"])
    held, tested = validation(found["dev"], task.test)
    return replace(task, validation=held), tested


def _parse_sapt(folder: Path) -> Iterator[ParsedRow]:
    from benchmark.data.parsed_rows import ParsedRow

    paths = cl_benchmark.find_split_files(folder)

    def parsed(split: str) -> Iterator[ParsedRow]:
        described, rows = cl_benchmark.instances(paths[split])
        seen = Identities()

        def checked(numbered: tuple[int, Instance]) -> Iterator[ParsedRow]:
            number, row = numbered
            identity = row.id or f"{split}-{number}"
            seen.add(identity, f"{paths[split]}, row {number}")
            yield ParsedRow(split, identity, row.input, references=row.accepted)

        yield cl_benchmark.read_definition(split, described)
        yield from sound(rows, checked)

    return chain_rows(paths, parsed)


def from_hub(names: tuple[str, ...], data_dir: Path | None) -> LoadedStream:
    """Return tasks sampled from the hub's Natural Instructions with a fixed seed.

    At most 1000 training and 100 test rows a task; not the rows of SAPT's files.
    """
    wanted = "<task>" if len(names) > 1 else names[0]
    files = f"{FOLDER}/tasks.json and {FOLDER}/{wanted}.jsonl.gz, or SAPT's {SAPT.places[0]}/{wanted}/"
    found, commit = Hub(data_dir, files).load(HUB)
    collected: dict[str, dict[str, Line]] = {name: {} for name in names}
    definitions: dict[str, str] = {}
    for split, rows in found.items():
        require(COLUMNS, rows.column_names, f"{HUB.identifier}, {split}")
        _collect(rows, collected, definitions)
    tasks = []
    for name in names:
        if len(collected[name]) < 2:
            raise UserError(
                f"{HUB.identifier} has {len(collected[name])} rows of the task '{name}'; 2 are needed"
            )
        train, test = _divide(list(collected[name].values()))
        tasks.append(_task(name, category(name), definitions[name], _examples(train), _examples(test)))
    note = "rows drawn from the hub, not SAPT's own"
    revisions = {HUB.identifier: commit} if commit else {}
    return LoadedStream(tasks, "the Hugging Face hub", revisions=revisions, notes=(note,))


def _collect(rows: Dataset, collected: dict[str, dict[str, Line]], definitions: dict[str, str]) -> None:
    """Add the wanted tasks' rows, one for each id: the hub has one row for each reference."""
    wanted = rows.filter(
        lambda names: [n in collected for n in names], input_columns="task_name", batched=True
    )
    for row in wanted:
        name, key = row["task_name"], row["id"]
        if not all(isinstance(row[column], str) for column in COLUMNS):
            raise UserError(f"{HUB.identifier}: a row of {name} (id {key}) holds something other than text")
        definitions.setdefault(name, row["definition"])
        line = collected[name].get(key)
        if line is None:
            collected[name][key] = Line(id=key, split="train", input=row["inputs"], outputs=[row["targets"]])
        elif row["targets"] not in line.outputs:
            line.outputs.append(row["targets"])


def _divide(lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Sample train and test rows with a fixed seed, whatever order the source has; no input in both."""
    import numpy as np

    unique = {line.input: line for line in sorted(lines, key=lambda line: line.id, reverse=True)}
    ordered = sorted(unique.values(), key=lambda line: line.id)
    order = np.random.RandomState(0).permutation(len(ordered))
    count = min(TEST_ROWS, max(1, len(ordered) // TEST_SHARE))
    test = [ordered[i] for i in order[:count]]
    return [ordered[i] for i in order[count : count + TRAIN_ROWS]], test


def _task(name: str, category: str, definition: str, train: Examples, test: Examples) -> Task:
    return Task(name, train, test, wording=Wording(group=category, dataset=name, definition=definition))


def _examples(lines: list[Line]) -> Examples:
    return Examples(
        [line.input for line in lines],
        None,
        [list(line.outputs) for line in lines],
        [line.id for line in lines],
    )
