"""Tables by column, from CSV, TSV, JSON Lines and parquet files or a set of the hub; rows count from 1."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import RootModel

from benchmark.data_files import read_parquet, read_rows
from benchmark.errors import UserError, hint
from benchmark.findings import Finding

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = (".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet")
# The csv module refuses fields of more than 128 KiB unless told otherwise; a text may be longer.
LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True)
class Table:
    """Some columns of a table.

    Attributes:
        origin: the file, or the hub's set and split, for messages.
        columns: values by column; None where a row has none.
        left_out: places, from 0, of rows that could not be read.
        class_names: of the columns of whole numbers whose source names them.
        folder: where paths in the table start.
    """

    origin: str
    columns: Mapping[str, Sequence[Any]]
    left_out: frozenset[int] = frozenset()
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    folder: Path = Path()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


class Record(RootModel[dict[str, Any]]):
    """One JSON object."""


def read_table(path: Path, wanted: Sequence[str], findings: list[Finding]) -> Table:
    """Return the wanted columns of a file.

    Args:
        path: a file of a kind in `SUFFIXES`; nothing else is opened, so nothing is unpickled.
        wanted: names of columns.
        findings: rows that cannot be read are added here.

    Raises:
        UserError: the file is missing, of another kind or damaged, or lacks a column.
    """
    suffix = next((end for end in SUFFIXES if path.name.lower().endswith(end)), None)
    if suffix is None:
        raise UserError(f"{path} is of no kind that is read: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if suffix == ".parquet":
        return from_dataset(read_parquet(path), wanted, str(path), path.parent)
    if suffix in (".csv", ".tsv"):
        return _separated(path, "," if suffix == ".csv" else "\t", wanted, findings)
    return _json_lines(path, wanted)


def from_dataset(rows: Dataset, wanted: Sequence[str], origin: str, folder: Path = Path()) -> Table:
    """Return the wanted columns of a data set; images stay encoded.

    Raises:
        UserError: a column is missing.
    """
    import datasets

    require(wanted, rows.column_names, origin)
    names = {}
    for name in wanted:
        kind = rows.features[name]
        if isinstance(kind, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
        if isinstance(kind, datasets.ClassLabel):
            names[name] = tuple(kind.names)
    columns = {name: rows[name][:] for name in wanted}
    return Table(origin, columns, class_names=names, folder=folder)


def require(wanted: Sequence[str], there: Sequence[str], origin: str) -> None:
    """Check that columns are there.

    Raises:
        UserError: one is not; the message has the nearest and all that are.
    """
    for name in wanted:
        if name not in there:
            guess = hint(name, there) or ";"
            raise UserError(f"{origin} has no column '{name}'{guess} it has: {', '.join(there)}")


def _separated(path: Path, delimiter: str, wanted: Sequence[str], findings: list[Finding]) -> Table:
    csv.field_size_limit(LONGEST_FIELD)
    left_out = set()
    columns: dict[str, list[str | None]] = {name: [] for name in wanted}
    row = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header = next(reader, [])
            require(wanted, header, str(path))
            places = {name: header.index(name) for name in wanted}
            for row, fields in enumerate(reader, 1):
                whole = len(fields) == len(header)
                if not whole:
                    left_out.add(row - 1)
                if not whole and fields:  # an empty line is no row, and no mistake
                    message = f"{path}, row {row}: {len(fields)} fields under a header of {len(header)}"
                    findings.append(Finding(message))
                for name, place in places.items():
                    columns[name].append(fields[place] if whole else None)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}, after row {row}: cannot be read as text in columns: {error}") from error
    return Table(str(path), columns, frozenset(left_out), folder=path.parent)


def _json_lines(path: Path, wanted: Sequence[str]) -> Table:
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    there: dict[str, None] = {}
    for _, record in read_rows(path, Record):
        there |= dict.fromkeys(record.root)
        for name, values in columns.items():
            values.append(record.root.get(name))
    require(wanted, list(there), str(path))
    return Table(str(path), columns, folder=path.parent)
