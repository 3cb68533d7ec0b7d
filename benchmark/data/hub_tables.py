"""Splits of hub data sets read piece by piece, for sets whose rows are larger than memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.data_errors import DataError, InvalidData
from benchmark.data.files import parquet_errors
from benchmark.errors import UserError, hint

if TYPE_CHECKING:
    from datasets import Dataset, Features

# Values of a column that are in memory together, where they may be encoded images and where not.
PIECE = 64
PLAIN_PIECE = 1024


@dataclass(frozen=True)
class HubTable:
    """One split.

    Attributes:
        name: for messages: the file, or the set and the split.
        pieces: yields lists of values of one column, a few rows at a time.
        files: where the rows lie; none where they are in memory.
    """

    name: str
    features: Features
    pieces: Callable[[str], Iterator[list[Any]]]
    files: tuple[Path, ...] = ()

    def identity(self, column: str) -> str:
        """Return a hash that differs where a column of encoded images does.

        It is of the files' names, sizes and times, and of the images only where there are no files.
        """
        from benchmark.data.row_cache import identity_of

        if self.files:
            return f"{column} of {identity_of(self.files)}"
        digest = hashlib.sha256()
        for encoded in self.images(column):
            digest.update(hashlib.sha256(encoded).digest())
        return digest.hexdigest()

    def column(self, name: str) -> Iterator[Any]:
        """Yield the values of a column.

        Raises:
            UserError: there is none of this name, or the file is damaged.
        """
        require([name], list(self.features), self.name)
        for piece in self.pieces(name):
            yield from piece

    def names(self, column: str) -> tuple[str, ...]:
        """Return the class names that the set gives a column of numbers; empty where it gives none."""
        return tuple(getattr(self.features.get(column), "names", ()))

    def images(self, column: str) -> Iterator[bytes]:
        """Yield the encoded images of a column.

        Raises:
            UserError: the column is missing, or a row holds no bytes; the message names the row, from 0.
        """
        for row, cell in enumerate(self.column(column)):
            encoded = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(encoded, bytes):
                raise UserError(f"{self.name}, row {row}: '{column}' holds no image")
            yield encoded


class Lacking(InvalidData):
    """Columns that a table does not have, so that none of its rows can be used."""


def require(wanted: Sequence[str], there: Sequence[str], origin: str) -> None:
    """Check that columns are there, once each.

    Raises:
        Lacking: some are not; the message has the nearest and all that are.
    """
    errors = []
    # One column for all of a line: it is the separator that is another one.
    other = next((mark for mark in ";\t|," if len(there) == 1 and mark in there[0]), "")
    if other:
        message = f"{origin} has one column, {there[0]!r:.80}: it seems to be separated by {other!r}"
        raise Lacking([DataError(f"{message}; save it as .csv with commas, or as .tsv with tabs")])
    for name in wanted:
        if name not in there:
            guess = hint(name, there) or ";"
            errors.append(DataError(f"{origin} has no column '{name}'{guess} it has: {', '.join(there)}"))
        elif there.count(name) > 1:
            errors.append(DataError(f"{origin}: {there.count(name)} columns are called '{name}'"))
    if errors:
        raise Lacking(errors)


def from_parquet(path: Path) -> HubTable:
    """Return a parquet file as a table.

    Raises:
        UserError: the file is missing or is not parquet.
    """
    import datasets
    import pyarrow.parquet

    with parquet_errors(path):
        schema = pyarrow.parquet.read_schema(path)
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise UserError(f"{path}: {schema.names.count(name)} columns are called '{name}'")
    features = datasets.Features.from_arrow_schema(schema)

    def pieces(column: str) -> Iterator[list[Any]]:
        with parquet_errors(path), pyarrow.parquet.ParquetFile(path) as opened:
            for batch in opened.iter_batches(_piece(features[column]), columns=[column]):
                yield batch.column(0).to_pylist()

    return HubTable(str(path), features, pieces, (path,))


def from_dataset(name: str, rows: Dataset) -> HubTable:
    """Return a split that `datasets` keeps on disk as a table."""

    def pieces(column: str) -> Iterator[list[Any]]:
        chosen = rows.select_columns([column]).with_format("arrow")
        for piece in chosen.iter(_piece(rows.features[column])):
            yield piece.column(0).to_pylist()

    return HubTable(name, rows.features, pieces, tuple(Path(file["filename"]) for file in rows.cache_files))


def _piece(kind: Any) -> int:
    """Return how many values of a column of some type are read together."""
    # Texts and whole numbers, named or not; encoded images are structs or bytes.
    plain = re.fullmatch(r"(large_)?string|u?int\d+", str(getattr(kind, "dtype", "")))
    return PLAIN_PIECE if plain else PIECE
