"""Tables row by row, from CSV, TSV, JSON Lines and parquet files or a set of the hub; rows count from 1."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import RootModel

from benchmark.data import hub_tables
from benchmark.data.data_errors import DataError, collect_into, raise_or_collect
from benchmark.data.files import LONGEST_ROW, read_bounded_lines, read_rows
from benchmark.data.hub_tables import require
from benchmark.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet")
Row = tuple[int, Sequence[Any]]


@dataclass(frozen=True)
class Table:
    """Some columns of a table, to be gone through once and never in memory as a whole.

    Attributes:
        origin: the file, or the hub's set and split, for messages.
        rows: yields each row's number and its values in the order of the columns, None where it has none;
            raises a `UserError` where the file turns out to be damaged or to lack a column.
        class_names: of the columns of whole numbers whose source names them.
        folder: where paths in the table start.
    """

    origin: str
    rows: Iterator[Row]
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    folder: Path = Path()


class JsonObject(RootModel[dict[str, Any]]):
    """One JSON object."""


def read_table(path: Path, wanted: Sequence[str], errors: list[DataError]) -> Table:
    """Return the wanted columns of a file.

    Args:
        path: a file of a kind in `SUFFIXES`; nothing else is opened, so nothing is unpickled.
        wanted: names of columns.
        errors: rows that cannot be read are left out and added here while the table is gone through.

    Raises:
        UserError: the file is missing, of another kind or damaged, or lacks a column.
    """
    suffix = next((end for end in SUFFIXES if path.name.lower().endswith(end)), None)
    if suffix is None:
        raise UserError(f"{path} is of no kind that is read: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if suffix == ".parquet":
        return from_hub(hub_tables.from_parquet(path), wanted, path.parent)
    if suffix in (".csv", ".tsv"):
        rows = _read_separated(path, "," if suffix == ".csv" else "\t", wanted, errors)
    else:
        rows = _json_lines(path, wanted)
    return Table(str(path), rows, folder=path.parent)


def from_hub(
    table: hub_tables.HubTable, wanted: Sequence[str], folder: Path = Path(), origin: str = ""
) -> Table:
    """Return the wanted columns of a split of the hub, or of a file like one; images stay encoded.

    Args:
        wanted: names of columns.
        origin: what messages call it, if not by its name.

    Raises:
        UserError: a column is missing.
    """
    origin = origin or table.name
    require(wanted, list(table.features), origin)
    names = {name: known for name in wanted if (known := table.names(name))}
    values = zip(*(table.column(name) for name in wanted), strict=True)
    return Table(origin, enumerate(values, 1), names, folder)


def _read_separated(
    path: Path, delimiter: str, wanted: Sequence[str], errors: list[DataError]
) -> Iterator[Row]:
    # It refuses fields of more than 128 KiB by default; a text may be longer.
    csv.field_size_limit(LONGEST_ROW)
    row = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(read_bounded_lines(lines), delimiter=delimiter, strict=True)
            header = next(reader, [])
            require(wanted, header, str(path))
            places = [header.index(name) for name in wanted]
            for row, fields in enumerate(reader, 1):
                if len(fields) == len(header):
                    yield row, [fields[place] for place in places]
                elif fields:  # an empty line is no row, and no mistake
                    message = f"{path}, row {row}: {len(fields)} fields under a header of {len(header)}"
                    errors.append(DataError(message))
    except (csv.Error, UnicodeDecodeError, ValueError, OSError) as error:
        how = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        message = f"{path}, after row {row}: cannot be read as text in columns: {error}{how}"
        raise UserError(message) from error


def _json_lines(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    there: dict[str, None] = {}
    errors: list[DataError] = []
    with collect_into(errors):
        for number, record in read_rows(path, JsonObject):
            there |= dict.fromkeys(record.root)
            yield number, [record.root.get(name) for name in wanted]
    if there:
        require(wanted, list(there), str(path))
    raise_or_collect(errors)
