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

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, RootModel

from benchmark.data import files as data_files
from benchmark.data.data_errors import DataError, raise_or_collect
from benchmark.data.files import check_list, read_json, read_list
from benchmark.stream import LoadedStream, Task, Wording
from tasks.sources import rows as text_rows
from tasks.sources.layouts import Layout
from tasks.sources.rows import (
    LabelledText,
    chain_rows,
    check_labels,
    label_number,
    notes,
    read_each,
    sound,
    validation,
)
from tasks.sources.text_classification import TASKS

if TYPE_CHECKING:
    from benchmark.data.parsed_rows import ParsedRow
    from benchmark.stream import Examples

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
# Where rows without a label go, and the definitions that files give, one a file.
APART = ("unlabelled", "definitions")
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


def instances(path: Path) -> tuple[str, list[tuple[int, Instance]]]:
    """Return the definition and the rows of one of SAPT's files, each with its place, from 1."""
    read = read_json(path, Collection)
    rows = check_list(read.Instances, Instance, path)
    empty = [number for number, row in rows if not row.accepted]
    raise_or_collect([DataError(f"{path}, row {number}: output: no reference") for number in empty])
    return read.definition, [(number, row) for number, row in rows if row.accepted]


def olora(root: Path, names: tuple[str, ...]) -> LoadedStream:
    """Return tasks of O-LoRA's folders, below `root`."""
    read = read_each(names, lambda name: _olora_task(root, name)).values()
    counted = notes(c for _, cs in read for c in cs)
    return LoadedStream([task for task, _ in read], OLORA.origin, notes=counted)


def _olora_task(root: Path, name: str) -> tuple[Task, list[tuple[str, int, str]]]:
    facts = TASKS[name]
    folder = root / facts.group / facts.directory
    path = folder / "labels.json"
    labels = check_labels(read_json(path, RootModel[list[str]]).root, str(path))

    paths = find_split_files(folder)

    def parsed(split: str) -> Iterator[ParsedRow]:
        rows = (
            LabelledText(f"{split}-{number}", row.sentence, row.label, f"{paths[split]}, row {number}")
            for number, row in read_list(paths[split], Sentence)
        )
        yield from _label_rows(split, rows, labels)

    found = parse_once(folder, APART, ["sentences", *labels], lambda: chain_rows(paths, parsed))
    wording = Wording(facts.group, facts.directory, facts.instruction)
    return _make_task(name, found, labels, wording)


def long_sequence(root: Path, names: tuple[str, ...], sapt: bool) -> LoadedStream:
    """Return tasks of SAPT's Long_Sequence folders, below `root`.

    Args:
        sapt: whether SAPT's label words are used, which differ from O-LoRA's for qqp.
    """
    read = read_each(names, lambda name: _sapt_task(root / name, name, sapt)).values()
    counted = notes(c for _, cs in read for c in cs)
    return LoadedStream([task for task, _ in read], SAPT_LONG.origin, notes=counted)


def _sapt_task(folder: Path, name: str, sapt: bool) -> tuple[Task, list[tuple[str, int, str]]]:
    facts = TASKS[name]

    paths = find_split_files(folder)

    def parsed(split: str) -> Iterator[ParsedRow]:
        described, listed = instances(paths[split])
        yield read_definition(split, described)
        rows = (
            LabelledText(
                row.id or f"{split}-{number}", row.input, row.accepted[0], f"{paths[split]}, row {number}"
            )
            for number, row in listed
        )
        yield from _label_rows(split, rows, facts.sapt_words)

    key = ["instances", *facts.sapt_words]
    found = parse_once(folder, APART, key, lambda: chain_rows(paths, parsed))
    wording = Wording(facts.group, facts.directory, facts.instruction, definition(found))
    return _make_task(name, found, facts.sapt_words if sapt else facts.labels, wording)


def find_split_files(folder: Path) -> dict[str, Path]:
    """Return a task's files by split; a dev file only where it is there."""
    paths = {split: folder / f"{split}.json" for split in SPLITS}
    return {split: path for split, path in paths.items() if split != "dev" or path.exists()}


def parse_once(
    folder: Path, more: Sequence[str], key: Sequence[str], rows: Callable[[], Iterator[ParsedRow]]
) -> dict[str, Examples]:
    """Return a task's rows by split, from the cache where its files have been parsed before.

    Args:
        more: names of what else `rows` tells apart, beside `SPLITS`.
        key: what the rows depend on beside the files and the code of this module and of `rows`.
    """
    from benchmark.data.parsed_rows import contents_there, splits
    from benchmark.data.row_cache import code_of

    code = code_of(sys.modules[__name__], sys.modules[rows.__module__], text_rows, data_files)
    whole = [*key, *contents_there(find_split_files(folder)), code]
    return splits([*SPLITS, *more], whole, rows)


def read_definition(split: str, definition: str) -> ParsedRow:
    """Return the definition that a split's file gives, as a row apart from the others."""
    from benchmark.data.parsed_rows import ParsedRow

    return ParsedRow("definitions", split, definition)


def definition(found: dict[str, Examples]) -> str:
    """Return the first definition of a task's files that is not empty, or ""."""
    return next((text for text in found["definitions"].texts if text), "")


def _label_rows(split: str, rows: Iterable[LabelledText], labels: tuple[str, ...]) -> Iterator[ParsedRow]:
    """Yield rows with the numbers of their labels; of those that have none, dev's are not counted."""
    from benchmark.data.parsed_rows import ParsedRow

    def checked(row: LabelledText) -> Iterator[ParsedRow]:
        label = label_number(row, labels)
        if label is not None:
            yield ParsedRow(split, row.identity, row.text, label)
        elif split != "dev":
            yield ParsedRow("unlabelled", row.identity, row.text, 0)

    return sound(rows, checked)


def _make_task(
    name: str, found: dict[str, Examples], classes: tuple[str, ...], wording: Wording
) -> tuple[Task, list[tuple[str, int, str]]]:
    """Return a task, and what was left out of it."""
    test = found["test"]
    held, tested = validation(found["dev"], test)
    task = Task(name, found["train"], test, held, classes, wording)
    return task, [(name, len(found["unlabelled"]), UNLABELLED), (name, tested, TESTED)]
