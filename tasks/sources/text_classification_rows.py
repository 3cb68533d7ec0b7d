"""Rows of the text classification tasks: from a data folder's `longseq/`, or rebuilt from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.data_files import VARIABLE, label_index, read_json, read_rows
from benchmark.errors import UserError
from benchmark.hub import Hub, columns
from benchmark.stream import Examples, LoadedStream, Request, Task, Wording
from tasks.sources.text_classification import ORDERS, TASKS, TextTask

if TYPE_CHECKING:
    from datasets import Dataset

FOLDER = "longseq"
# O-LoRA's subsets hold about 1000 training rows a class and at most 7600 test rows.
TRAIN_PER_CLASS = 1000
TEST_ROWS = 7600


class Facts(BaseModel):
    """A task's entry in `tasks.json`: its labels and what the papers' prompts say."""

    model_config = ConfigDict(strict=True)
    group: str
    labels: list[str]
    olora_instruction: str | None
    sapt_definition: str | None
    sapt_labels: list[str]


class Table(BaseModel):
    """The part of `tasks.json` that is read."""

    tasks: dict[str, Facts]


class Line(BaseModel):
    """One row of `<task>.jsonl.gz`."""

    model_config = ConfigDict(strict=True)
    id: str
    split: Literal["train", "dev", "test"]
    text: str
    label: str


def load(request: Request) -> LoadedStream:
    """Return the tasks of an order, from the data folder if it has them, else from the hub.

    Raises:
        UserError: neither source can be read, or a row is faulty.
    """
    names = ORDERS[request.order]
    folder = request.data_dir / FOLDER if request.data_dir else None
    if folder is not None and folder.is_dir():
        table = read_json(folder / "tasks.json", Table)
        sapt = request.protocol.prompt == "sapt"
        tasks = [from_folder(folder, name, table, sapt) for name in names]
        return LoadedStream(tasks, f"the data folder's {FOLDER}/")
    if request.protocol.prompt == "sapt":
        raise UserError(
            "the prompt 'sapt' needs SAPT's definitions, which the hub does not have; pass --data-dir FOLDER "
            f"or set {VARIABLE}=FOLDER to a folder that holds {FOLDER}/tasks.json"
        )
    return from_hub(names, Hub(request.data_dir, f"{FOLDER}/tasks.json and {FOLDER}/<task>.jsonl.gz"))


def from_folder(folder: Path, name: str, table: Table, sapt: bool) -> Task:
    """Return one task of a data folder; its `dev` rows are the validation split.

    Args:
        folder: the folder of `tasks.json` and the rows.
        name: the task.
        table: the content of `tasks.json`.
        sapt: whether SAPT's label words are used, which differ from O-LoRA's for qqp.

    Raises:
        UserError: the task is not in the table, or a row is faulty.
    """
    if name not in table.tasks:
        raise UserError(f"{folder / 'tasks.json'} has no entry for the task '{name}'")
    facts = table.tasks[name]
    labels = tuple(facts.labels)
    if len(facts.sapt_labels) != len(labels):
        raise UserError(f"{folder / 'tasks.json'}: '{name}' has {len(labels)} labels but other sapt_labels")
    path = folder / f"{name}.jsonl.gz"
    rows: dict[str, list[tuple[Line, int]]] = {"train": [], "dev": [], "test": []}
    for number, line in read_rows(path, Line):
        where = f"{path}, row {number}"
        rows[line.split].append((line, label_index(line.label.strip(), labels, where)))
    return Task(
        name,
        train=_examples(rows["train"]),
        test=_examples(rows["test"]),
        validation=_examples(rows["dev"]) if rows["dev"] else None,
        classes=tuple(facts.sapt_labels) if sapt else labels,
        wording=Wording(
            group=facts.group,
            dataset=TASKS[name].directory,
            instruction=facts.olora_instruction or "",
            definition=facts.sapt_definition or "",
        ),
    )


def from_hub(names: Sequence[str], hub: Hub) -> LoadedStream:
    """Return tasks rebuilt from hub data sets, in O-LoRA's text form and sizes.

    The rows are drawn with a fixed seed and are not the rows of O-LoRA's files: at most 1000 training rows
    a class and 7600 test rows, and no training text that is also in test.
    """
    tasks, revisions, notes = [], {}, ["rows drawn from the hub, not O-LoRA's own subsets"]
    for name in names:
        facts = TASKS[name]
        splits, commit = hub.load(facts.hub, ("train", facts.test_split))
        source = facts.hub.identifier
        test, unlabelled = _draw(splits[facts.test_split], facts, f"{source}, {facts.test_split}", None)
        train, more = _draw(splits["train"], facts, f"{source}, train", TRAIN_PER_CLASS)
        train, repeated = _without(train, test)
        tasks.append(
            Task(
                name,
                train=train,
                test=test,
                classes=facts.labels,
                wording=Wording(facts.group, facts.directory, facts.instruction),
            )
        )
        if commit:
            revisions[source] = commit
        if unlabelled + more:
            notes.append(f"{name}: {unlabelled + more} rows without a label left out")
        if repeated:
            notes.append(f"{name}: {repeated} training rows left out whose text is in test")
    return LoadedStream(tasks, "the Hugging Face hub", revisions=revisions, notes=tuple(notes))


def _examples(rows: list[tuple[Line, int]]) -> Examples:
    import numpy as np

    labels = np.array([label for _, label in rows], np.int64)
    return Examples([line.text for line, _ in rows], labels, None, [line.id for line, _ in rows])


def _draw(rows: Dataset, facts: TextTask, source: str, per_class: int | None) -> tuple[Examples, int]:
    """Draw rows with a fixed seed: so many of each class, or at most TEST_ROWS; and count unlabelled ones."""
    import numpy as np

    columns(rows, (facts.label_column, *facts.columns), source)
    numbers = np.asarray(rows[facts.label_column][:])
    if numbers.dtype.kind not in "iu":
        raise UserError(
            f"{source}: the column '{facts.label_column}' holds {numbers.dtype}, not whole numbers"
        )
    numbers = numbers - facts.first_label
    labelled = numbers != -1
    wrong = np.flatnonzero(labelled & ((numbers < 0) | (numbers >= len(facts.hub_labels))))
    if len(wrong):
        raise UserError(
            f"{source}, row {wrong[0]}: the label {numbers[wrong[0]] + facts.first_label} is none of the "
            f"{len(facts.hub_labels)} from {facts.first_label} on"
        )
    order = np.random.RandomState(0).permutation(len(rows))
    order = order[labelled[order]]
    if per_class is None:
        chosen = order[:TEST_ROWS]
    else:
        classes = range(len(facts.hub_labels))
        chosen = np.concatenate([order[numbers[order] == c][:per_class] for c in classes])
    chosen = np.sort(chosen)
    place = np.array([facts.labels.index(label) for label in facts.hub_labels])
    texts = [_text(row, facts, source, n) for row, n in zip(rows.select(chosen), chosen, strict=True)]
    ids = [f"{source.rpartition(', ')[2]}-{n}" for n in chosen]
    return Examples(texts, place[numbers[chosen]], None, ids), int((~labelled).sum())


def _text(row: dict[str, object], facts: TextTask, source: str, number: int) -> str:
    for name in facts.columns:
        if not isinstance(row[name], str):
            raise UserError(f"{source}, row {number}: the column '{name}' is not text")
    return facts.form(row)


def _without(train: Examples, test: Examples) -> tuple[Examples, int]:
    """Return the training rows whose text is not in test, and how many were left out."""
    seen = set(test.inputs)
    keep = [row for row, text in enumerate(train.inputs) if text not in seen]
    return train.take(keep), len(train) - len(keep)
