"""Rows of the text classification tasks: from a data folder in one of three layouts, or from the hub."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.data import files as data_files
from benchmark.data.files import VARIABLE
from benchmark.data.hub import Hub
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Sources, Task, Wording
from tasks.sources import cl_benchmark, layouts, rows, text_classification_hub
from tasks.sources.rows import (
    LabelledText,
    NamedLine,
    check_labels,
    label_number,
    notes,
    own_rows,
    read_each,
    table_beside,
    validation,
)
from tasks.sources.text_classification import ORDERS, TASKS

if TYPE_CHECKING:
    from benchmark.data.parsed_rows import ParsedRow

FOLDER = "longseq"
SPLITS = ("train", "dev", "test")
UNLABELLED = "unlabelled"
OWN = layouts.Layout(f"the data folder's {FOLDER}/", places=(FOLDER,), marks=(".",))


def sources(orders: Iterable[tuple[str, ...]]) -> Sources:
    """Return where the rows of some orders' tasks can come from."""
    known = (OWN, cl_benchmark.OLORA, cl_benchmark.SAPT_LONG)
    names = dict.fromkeys(name for order in orders for name in order)
    return Sources(layouts=known, hub=tuple(TASKS[name].hub for name in names))


class Facts(BaseModel):
    """A task's entry in `tasks.json`: its labels and what the papers' prompts say."""

    model_config = ConfigDict(strict=True)
    group: str
    labels: list[str]
    olora_instruction: str | None
    sapt_definition: str | None
    sapt_labels: list[str]


class TasksFile(BaseModel):
    """The part of `tasks.json` that is read."""

    tasks: dict[str, Facts]


class Line(NamedLine):
    """One row of `<task>.jsonl.gz`."""

    split: Literal["train", "dev", "test"]
    text: str
    label: str


def load(request: Request) -> LoadedStream:
    """Return the tasks of an order, from the data folder if it has them, else from the hub."""
    names = ORDERS[request.order]
    sapt = request.protocol.prompt == "sapt"
    hub = Hub(
        request.data_dir, f"{FOLDER}/tasks.json and {FOLDER}/<task>.jsonl.gz, or O-LoRA's CL_Benchmark/"
    )

    def own(root: Path) -> LoadedStream:
        return from_folder(root, names, sapt)

    def olora(root: Path) -> LoadedStream:
        return cl_benchmark.olora(root, names) if not sapt else _refuse_undefined("O-LoRA's files do")

    def rebuilt() -> LoadedStream:
        return text_classification_hub.from_hub(names, hub) if not sapt else _refuse_undefined("the hub does")

    def long_sequence(root: Path) -> LoadedStream:
        return cl_benchmark.long_sequence(root, names, sapt)

    papers = [(cl_benchmark.OLORA, olora), (cl_benchmark.SAPT_LONG, long_sequence)]
    # Where a folder holds both papers' files, each paper's prompt reads its own.
    known = {OWN: own, **dict(reversed(papers) if sapt else papers)}
    return layouts.read(request.data_dir, known, rebuilt)


def _refuse_undefined(source: str) -> LoadedStream:
    raise UserError(
        f"the prompt 'sapt' needs SAPT's definitions, which {source} not have; pass --data-dir FOLDER "
        f"or set {VARIABLE}=FOLDER to a folder that holds {FOLDER}/tasks.json or SAPT's "
        f"{cl_benchmark.SAPT_LONG.places[0]}/"
    )


def from_folder(folder: Path, names: tuple[str, ...], sapt: bool) -> LoadedStream:
    """Return tasks of this suite's own layout; their `dev` rows are the validation split.

    Args:
        folder: the folder of `tasks.json` and the rows.
        sapt: whether SAPT's label words are used, which differ from O-LoRA's for qqp.
    """
    table = table_beside(folder, TasksFile, names)
    read = read_each(names, lambda name: _task(folder, name, table, sapt))
    counts = [(name, unlabelled, "rows without a label left out") for name, (_, unlabelled) in read.items()]
    return LoadedStream([task for task, _ in read.values()], OWN.origin, notes=notes(counts))


def _task(folder: Path, name: str, table: TasksFile, sapt: bool) -> tuple[Task, int]:
    from benchmark.data.parsed_rows import contents, splits
    from benchmark.data.row_cache import code_of

    if name not in table.tasks:
        raise UserError(f"{folder / 'tasks.json'} has no entry for the task '{name}'")
    facts = table.tasks[name]
    labels = check_labels(facts.labels, f"{folder / 'tasks.json'}, '{name}'")
    if len(facts.sapt_labels) != len(labels):
        raise UserError(f"{folder / 'tasks.json'}: '{name}' has {len(labels)} labels but other sapt_labels")
    path = folder / f"{name}.jsonl.gz"
    key = [contents(path), *labels, code_of(sys.modules[__name__], rows, data_files)]
    found = splits((*SPLITS, UNLABELLED), key, lambda: _parse_rows(path, labels))
    test = found["test"]
    task = Task(
        name,
        train=found["train"],
        test=test,
        validation=validation(found["dev"], test)[0],
        classes=tuple(facts.sapt_labels) if sapt else labels,
        wording=Wording(
            group=facts.group,
            dataset=TASKS[name].directory,
            instruction=facts.olora_instruction or "",
            definition=facts.sapt_definition or "",
        ),
    )
    return task, len(found[UNLABELLED])


def _parse_rows(path: Path, labels: tuple[str, ...]) -> Iterator[ParsedRow]:
    from benchmark.data.parsed_rows import ParsedRow

    def parse(line: Line, where: str) -> ParsedRow:
        label = label_number(LabelledText(line.id, line.text, line.label, where), labels)
        return ParsedRow(UNLABELLED if label is None else line.split, line.id, line.text, label or 0)

    return own_rows(path, Line, parse)
