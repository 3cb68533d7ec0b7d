"""Rows of a stream that a file describes, one by one, with the place that each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmark.errors import UserError, hint
from benchmark.findings import Finding
from benchmark.hub import Hub
from benchmark.image_files import class_folders, decode
from benchmark.stream_file import Rows
from benchmark.table_files import Table, from_dataset, read_table

SPLITS = ("train", "validation", "test")
# What sources call their validation rows, where the file does not say.
OTHER_NAMES = {"dev": "validation", "val": "validation", "valid": "validation"}
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Record:
    """One row.

    Attributes:
        origin: the file, or the hub's set and split.
        row: its number there, from 1; None where the file is the row.
        content: a text, or the pixels of an image.
        label: the name of its class, or None.
        references: accepted answers, or None.
        id: its name, or None where the source has none.
    """

    origin: str
    row: int | None
    split: str
    task: str
    content: Any
    label: str | None
    references: list[str] | None
    id: str | None

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return self.origin if self.row is None else f"{self.origin}, row {self.row}"


class Reader:
    """Reads the rows of one table of a stream's file; faults of single rows are collected, not raised."""

    def __init__(
        self, kind: str, part: Rows, task: str, folder: Path, hub: Hub, findings: list[Finding]
    ) -> None:
        """Say what is read.

        Args:
            kind: of the stream.
            part: the table.
            task: the name of the task that all rows belong to, or "" where a column says.
            folder: where the table's paths start.
            hub: gives sets of the hub.
            findings: grow by each faulty row.
        """
        self.kind, self.part, self.task, self.folder, self.hub = kind, part, task, folder, hub
        self.findings = findings
        self.revisions: dict[str, str] = {}
        self.split_of: dict[str, str] = {name: split for split, name in part.splits.items()}
        if not part.splits:
            self.split_of = {name: name for name in SPLITS} | OTHER_NAMES

    def records(self) -> Iterator[Record]:
        """Yield every sound row.

        Raises:
            UserError: a source is missing or damaged, lacks a column, or does not say what its splits are.
        """
        if self.part.source.folder is not None:
            yield from self._images(self.folder / self.part.source.folder)
            return
        columns = self.part.columns
        given = {what: getattr(columns, what) for what in type(columns).model_fields}
        wanted = {what: name for what, name in given.items() if name is not None}
        for split, table in self._tables(list(dict.fromkeys(wanted.values()))):
            by_meaning = {what: table.columns[name] for what, name in wanted.items()}
            for place in range(len(table)):
                if place in table.left_out:
                    continue
                values = {what: column[place] for what, column in by_meaning.items()}
                try:
                    yield self._record(table, place, split, values)
                except UserError as error:
                    self.findings.append(Finding(f"{table.origin}, row {place + 1}: {error}"))

    def _tables(self, wanted: list[str]) -> Iterator[tuple[str, Table]]:
        """Yield each table with the split of its rows, or "" where a column names it."""
        part = self.part
        divided = part.columns.split is not None
        if part.source.path is not None:
            if not divided and part.test_share is None:
                raise UserError(
                    f"{part.source.path}: which rows are for test? name a column with columns.split, give "
                    "files for train and test, or a test_share"
                )
            table = read_table(self.folder / part.source.path, wanted, self.findings)
            yield "" if divided else "train", table
        for split, name in part.source.files.items():
            yield split, read_table(self.folder / name, wanted, self.findings)
        hub_set = part.source.hub_set
        if hub_set is None:
            return
        sets, commit = self.hub.load(hub_set, None if divided else tuple(part.splits.values()) or None)
        if commit:
            self.revisions[hub_set.identifier] = commit
        for name, rows in sets.items():
            known = "" if divided else "train" if part.test_share else self.split_of.get(name)
            if known is not None:
                yield known, from_dataset(rows, wanted, f"{hub_set.identifier}, {name}")

    def _record(self, table: Table, place: int, split: str, values: Mapping[str, Any]) -> Record:
        """Return a row.

        Raises:
            UserError: something in it is missing or unknown; the message leaves out where it stands.
        """
        columns = self.part.columns
        task = self.task or _filled(values["task"], columns.task)
        if not split:
            named = _text(values["split"])
            if named not in self.split_of:
                _refuse("split", named, list(self.part.splits.values()) or list(SPLITS))
            split = self.split_of[named]
        content: Any = values.get("text")
        if self.kind == "image":
            content = decode(values["image"], table.folder, self.part.size)
        elif not isinstance(content, str) or not content.strip():
            raise UserError(f"no text in the column '{columns.text}'")
        label, references = None, None
        if self.kind == "text-to-text":
            references = _answers(values["target"], columns.target)
        else:
            names = table.class_names.get(columns.label or "", ())
            label = self._label(_filled(values["label"], columns.label), names)
        name = _filled(values["id"], columns.id) if columns.id is not None else None
        return Record(table.origin, place + 1, split, task, content, label, references, name)

    def _label(self, given: str, names: Sequence[str] = ()) -> str:
        """Return the class that a value names, directly, by the file's `labels` or by the source's list."""
        part = self.part
        if part.labels:
            if given not in part.labels:
                _refuse("label", given, list(part.labels))
            return part.labels[given]
        if names:
            if not (given.isdecimal() and int(given) < len(names)):
                _refuse("label", given, [str(number) for number in range(len(names))])
            given = names[int(given)]
        if part.classes and given not in part.classes:
            _refuse("label", given, list(part.classes))
        return given

    def _images(self, folder: Path) -> Iterator[Record]:
        for split, inner in self._split_folders(folder).items():
            for label, path in class_folders(inner):
                try:
                    pixels, known = decode(path, Path(), self.part.size), self._label(label)
                except UserError as error:
                    self.findings.append(Finding(f"{path}: {error}"))
                    continue
                name = path.relative_to(folder).as_posix()
                yield Record(str(path), None, split, self.task, pixels, known, None, name)

    def _split_folders(self, folder: Path) -> dict[str, Path]:
        if not folder.is_dir():
            raise UserError(f"the image folder {folder} does not exist")
        if self.part.test_share is not None:
            return {"train": folder}
        there = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
        found = {self.split_of[name]: path for name, path in there.items() if name in self.split_of}
        for split in ("train", "test"):
            if split not in found:
                names = [name for name, meant in self.split_of.items() if meant == split] or [split]
                raise UserError(f"{folder} has no folder '{names[0]}'; it has: {', '.join(there) or 'none'}")
        return found


def _refuse(what: str, given: str, valid: list[str]) -> NoReturn:
    guess = hint(given, valid) or ";"
    more = ", ..." if len(valid) > MOST_SHOWN else ""
    raise UserError(f"unknown {what} '{given}'{guess} valid: {', '.join(valid[:MOST_SHOWN])}{more}")


def _filled(value: Any, column: str | None) -> str:
    text = _text(value)
    if not text:
        raise UserError(f"nothing in the column '{column}'")
    return text


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _answers(value: Any, column: str | None) -> list[str]:
    answers = value if isinstance(value, list) else [value]
    if not answers or not all(isinstance(one, str) for one in answers):
        raise UserError(f"no text, or list of texts, in the column '{column}'")
    return answers
