"""`CL_Benchmark` as people have it on disk: O-LoRA's folders, and SAPT's, which GainLoRA ships unchanged.

- O-LoRA (cmnfriend/O-LoRA, commit 07117e1f): `<group>/<set>/{train,dev,test}.json`, a list of
  `{"label": name, "sentence": text}`, and `labels.json`, a list of names.
- SAPT (circle-hit/SAPT, commit 52a52b92): `Long_Sequence/<task>/` and `SuperNI/<task>/`, both with
  `{train,dev,test}.json` in the form of Natural Instructions: `{"Definition": [text], "Instances":
  [{"id": name, "input": text, "output": [texts]}]}`; `id` is not always there, and Long_Sequence has one
  `output` as plain text.

In both, dev and test hold the same rows, so dev is no validation split there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from benchmark.data_files import check_list, read_json, read_list
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Task, Wording
from tasks.sources.layouts import Layout
from tasks.sources.rows import LabelledText, check_labels, labelled, notes, validation
from tasks.sources.text_classification import TASKS

OLORA = Layout(
    "O-LoRA's CL_Benchmark/",
    places=("CL_Benchmark", ""),
    marks=tuple(f"{facts.group}/{facts.directory}/train.json" for facts in TASKS.values()),
)
SAPT_LONG = Layout(
    "SAPT's CL_Benchmark/Long_Sequence/",
    places=("CL_Benchmark/Long_Sequence", "Long_Sequence", ""),
    marks=tuple(f"{name}/train.json" for name in TASKS),
)
SPLITS = ("train", "dev", "test")
UNLABELLED = "rows without a label left out"
TESTED = "dev rows left out of validation because they are test rows"


class Sentence(BaseModel):
    """One entry of O-LoRA's files."""

    model_config = ConfigDict(strict=True)
    label: str
    sentence: str


class Instance(BaseModel):
    """One of SAPT's `Instances`; a reference may be empty, the list of them may not."""

    model_config = ConfigDict(strict=True)
    id: str | None = None
    input: str
    output: str | list[str]

    @property
    def accepted(self) -> list[str]:
        """Every accepted answer."""
        return [self.output] if isinstance(self.output, str) else self.output


class Collection(BaseModel):
    """One of SAPT's files; its many other facts are not read."""

    Definition: str | list[str]
    Instances: list[Any]

    @property
    def definition(self) -> str:
        """The first definition, empty where there is none (COPA)."""
        listed = [self.Definition] if isinstance(self.Definition, str) else self.Definition
        return listed[0] if listed else ""


def instances(path: Path) -> tuple[str, list[Instance]]:
    """Return the definition and the rows of one of SAPT's files.

    Raises:
        UserError: the file or a row is faulty, or a row has no answer.
    """
    read = read_json(path, Collection)
    rows = check_list(read.Instances, Instance, path)
    for number, row in enumerate(rows, 1):
        if not row.accepted:
            raise UserError(f"{path}, row {number}: output: no reference")
    return read.definition, rows


def olora(root: Path, names: tuple[str, ...]) -> LoadedStream:
    """Return tasks of O-LoRA's folders, below `root`.

    Raises:
        UserError: a file is missing or faulty; with the row.
    """
    read = [_olora_task(root, name) for name in names]
    return LoadedStream(
        [task for task, _ in read], OLORA.origin, notes=notes(c for _, cs in read for c in cs)
    )


def _olora_task(root: Path, name: str) -> tuple[Task, list[tuple[str, int, str]]]:
    facts = TASKS[name]
    folder = root / facts.group / facts.directory
    listed = read_json(folder / "labels.json", RootModel[list[str]]).root
    rows = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if split != "dev" or path.exists():
            rows[split] = [
                LabelledText(f"{split}-{number}", row.sentence, row.label, f"{path}, row {number}")
                for number, row in enumerate(read_list(path, Sentence), 1)
            ]
    labels = check_labels(listed, str(folder / "labels.json"))
    return _classified(name, rows, labels, labels, Wording(facts.group, facts.directory, facts.instruction))


def long_sequence(root: Path, names: tuple[str, ...], sapt: bool) -> LoadedStream:
    """Return tasks of SAPT's Long_Sequence folders, below `root`.

    Args:
        root: the folder of the tasks' folders.
        names: the tasks.
        sapt: whether SAPT's label words are used, which differ from O-LoRA's for qqp.

    Raises:
        UserError: a file is missing or faulty; with the row.
    """
    read = [_sapt_task(root / name, name, sapt) for name in names]
    counted = notes(c for _, cs in read for c in cs)
    return LoadedStream([task for task, _ in read], SAPT_LONG.origin, notes=counted)


def _sapt_task(folder: Path, name: str, sapt: bool) -> tuple[Task, list[tuple[str, int, str]]]:
    facts = TASKS[name]
    rows, definition = {}, ""
    for split in SPLITS:
        path = folder / f"{split}.json"
        if split == "dev" and not path.exists():
            continue
        described, found = instances(path)
        definition = definition or described
        rows[split] = [
            LabelledText(row.id or f"{split}-{number}", row.input, row.accepted[0], f"{path}, row {number}")
            for number, row in enumerate(found, 1)
        ]
    wording = Wording(facts.group, facts.directory, facts.instruction, definition)
    return _classified(name, rows, facts.sapt_words, facts.sapt_words if sapt else facts.labels, wording)


def _classified(
    name: str,
    rows: dict[str, list[LabelledText]],
    labels: tuple[str, ...],
    classes: tuple[str, ...],
    wording: Wording,
) -> tuple[Task, list[tuple[str, int, str]]]:
    """Return a task whose rows are labelled by `labels`, which `classes` stand for; and what was left out."""
    splits = {split: labelled(listed, labels) for split, listed in rows.items()}
    test = splits["test"][0]
    held, tested = validation(splits["dev"][0] if "dev" in splits else None, test)
    task = Task(name, splits["train"][0], test, held, classes, wording)
    unlabelled = sum(left_out for split, (_, left_out) in splits.items() if split != "dev")
    return task, [(name, unlabelled, UNLABELLED), (name, tested, TESTED)]
