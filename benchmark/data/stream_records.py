"""Rows of a stream that a file describes, one by one, with the place that each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmark.data.data_errors import DataError, collect_into
from benchmark.data.hub_tables import Lacking
from benchmark.data.image_files import decode
from benchmark.data.names import difference, fold_name
from benchmark.data.part_sources import SPLITS, PartSource
from benchmark.data.table_files import Table
from benchmark.errors import UserError, hint
from benchmark.printable import control_character

MOST_SHOWN = 20
MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Record:
    """One row.

    Attributes:
        origin: the file, or the hub's set and split.
        row: its number there, from 1; None where the file is the row.
        content: a text, or the pixels of an image.
        label: the name of its class, or None.
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
    """Reads the rows of one table of a stream's file; errors of single rows are collected, not raised."""

    def __init__(self, kind: str, task: str, source: PartSource, errors: list[DataError]) -> None:
        """Say what is read.

        Args:
            task: the name of the task that all rows belong to, or "" where a column says.
            source: of one part of the file, whose rows are read.
            errors: grow by each faulty row, and by what is wrong with a source as a whole.
        """
        self.kind, self.task, self.source, self.errors = kind, task, source, errors
        self.part = source.part
        self.whole = True

    def records(self) -> Iterator[Record]:
        """Yield every sound row; `whole` shows afterwards whether there might have been more.

        That is so where a source is missing or damaged, lacks a column, or does not say what its splits are.
        """
        folder = self.source.image_folder
        gone: list[DataError] = []
        with collect_into(gone):
            yield from self._rows(gone) if folder is None else self._images(folder)
        self.whole = not gone
        self.errors += gone

    def _rows(self, gone: list[DataError]) -> Iterator[Record]:
        """Yield the sound rows of tables, and add what keeps a table from being read."""
        columns = self.part.columns
        given = {what: getattr(columns, what) for what in type(columns).model_fields if what != "text"}
        wanted = {what: name for what, name in given.items() if name is not None}
        names = list(dict.fromkeys([*wanted.values(), *columns.texts]))
        places = {what: names.index(name) for what, name in wanted.items()}
        texts = [names.index(name) for name in columns.texts]
        for split, table in self.source.tables(names, self.errors):
            errors = []
            with collect_into(gone):
                try:
                    for number, row in table.rows:
                        values = {what: row[place] for what, place in places.items()}
                        values["texts"] = [row[place] for place in texts]
                        try:
                            yield self._record(table, number, split, values)
                        except UserError as error:
                            errors.append(DataError(f"{table.origin}, row {number}: {error}"))
                except Lacking:
                    errors.clear()  # each row says the same
                    raise
            self.errors += errors

    def _record(self, table: Table, number: int, split: str, values: Mapping[str, Any]) -> Record:
        """Return a row.

        Raises:
            UserError: something in it is missing or unknown; the message leaves out where it stands.
        """
        columns = self.part.columns
        task = self.task or _require_text(values["task"], columns.task)
        if not split:
            named = _text(values["split"])
            if named not in self.source.split_of:
                _refuse("split", named, list(self.part.splits.values()) or list(SPLITS))
            split = self.source.split_of[named]
        content: Any
        if self.kind == "image":
            content = decode(values["image"], table.folder, self.part.size)
        else:
            content = _join_columns(columns.texts, values["texts"])
        label, references = None, None
        if self.kind == "text-to-text":
            references = _answers(values["target"], columns.target)
        else:
            names = table.class_names.get(columns.label or "", ())
            label = self._label(_require_text(values["label"], columns.label), names)
        name = _require_text(values["id"], columns.id) if columns.id is not None else None
        return Record(table.origin, number, split, task, content, label, references, name)

    def _label(self, given: str, names: Sequence[str] = ()) -> str:
        """Return the class that a value names, directly, by the file's `labels` or by the source's list."""
        part = self.part
        if part.labels:
            if given not in part.labels:
                _refuse("label", given, list(part.labels))
            return part.labels[given]
        if names:
            if not (given.isdecimal() and len(given) < MOST_DIGITS and int(given) < len(names)):
                _refuse("label", given, [str(number) for number in range(len(names))])
            given = names[int(given)]
        if part.classes and given not in part.classes:
            _refuse("label", given, list(part.classes))
        return _printable(given)

    def _images(self, folder: Path) -> Iterator[Record]:
        for split, label, path in self.source.images(self.errors):
            try:
                pixels, known = decode(path, Path(), self.part.size), self._label(label)
            except UserError as error:
                self.errors.append(DataError(f"{path}: {error}"))
                continue
            name = path.relative_to(folder).as_posix()
            yield Record(str(path), None, split, self.task, pixels, known, None, name)


def _join_columns(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return a row's text: that of its one column, or a line `<column>: <text>` for each of several."""
    for column, value in zip(columns, values, strict=True):
        if value is not None and not isinstance(value, str):
            raise UserError(f"no text in the column '{column}', but {value!r:.60}; put it in quotes")
        if not value or not value.strip():
            raise UserError(f"no text in the column '{column}'")
    if len(columns) == 1:
        return str(values[0])
    return "\n".join(f"{column}: {value}" for column, value in zip(columns, values, strict=True))


def _refuse(what: str, given: str, valid: list[str]) -> NoReturn:
    guess = hint(given, valid) or ";"
    same = next((name for name in valid if fold_name(name) == fold_name(given)), given)
    if same != given and difference(given, same) != "case":
        raise UserError(f"the {what} '{given}' differs only by {difference(given, same)} from '{same}'")
    more = ", ..." if len(valid) > MOST_SHOWN else ""
    raise UserError(f"unknown {what} '{given}'{guess} valid: {', '.join(valid[:MOST_SHOWN])}{more}")


def _require_text(value: Any, column: str | None) -> str:
    try:
        text = _text(value)
    except UserError as error:
        raise UserError(f"the column '{column}' holds {error}") from None
    if not text:
        raise UserError(f"nothing in the column '{column}'")
    return text


def _text(value: Any) -> str:
    """Return a name as it is written; a list, an object or bytes are none."""
    if value is None or value != value:  # missing, or what parquet holds in its place
        return ""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        raise UserError(f"a list where one name belongs; write {value[0]!r} instead of {value!r:.60}")
    if not isinstance(value, (str, int, float)):
        raise UserError(f"{value!r:.60} where one name belongs")
    return _printable(str(value).strip())


def _printable(name: str) -> str:
    """Return a name that can be shown.

    Raises:
        UserError: it holds a control character.
    """
    if mark := control_character(name):
        raise UserError(f"the control character {mark} in the name {name!r:.60}")
    return name


def _answers(value: Any, column: str | None) -> list[str]:
    answers = value if isinstance(value, list) else [value]
    if not answers or not all(isinstance(one, str) for one in answers):
        raise UserError(f"no text, or list of texts, in the column '{column}'")
    return answers
