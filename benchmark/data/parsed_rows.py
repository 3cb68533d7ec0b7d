"""Rows of text parsed and checked once: from then on they are mapped from the cache, however many."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.data_errors import DataError, collect_into, raise_or_collect
from benchmark.data.files import describe_error
from benchmark.data.mapped_rows import BLOCK, RaggedWriter, TextLists, Texts
from benchmark.data.row_cache import Arrays, Found, map_if_sound
from benchmark.errors import UserError
from benchmark.stream import Examples


@dataclass(frozen=True)
class ParsedRow:
    """A row as its source understands it.

    Attributes:
        split: the name of its split, lower-case letters.
        label: the place of its class; None for all rows or for none.
        references: accepted answers; None for all rows or for none.
    """

    split: str
    identity: str
    text: str
    label: int | None = None
    references: Sequence[str] | None = None


def splits(
    names: Sequence[str], key: Sequence[str], rows: Callable[[], Iterable[ParsedRow]]
) -> dict[str, Examples]:
    """Return rows by split, in their own order.

    Args:
        names: of the splits; one may have no rows.
        key: what the rows depend on: `contents` of the files, names of the labels, `code_of` what parses.
        rows: yields the rows; called only where they are not in the cache. What it raises is passed on; but
            where errors are collected, the rows that it yields before it raises are returned.
    """

    def build(arrays: Arrays) -> None:
        parts = {name: RowWriter(arrays, name) for name in names}
        errors: list[DataError] = []
        with collect_into(errors):
            for row in rows():
                parts[row.split].add(row)
        raise_or_collect(errors)
        for part in parts.values():
            part.flush()

    found = map_if_sound("rows", [*names, *key], build)
    return {name: examples(found, name) for name in names}


def contents(*paths: Path) -> str:
    """Return a hash of files' bytes: the part of a key that changes when a file does, and only then.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        except FileNotFoundError as error:
            raise UserError(f"{path} does not exist") from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {describe_error(error)}") from error
    return digest.hexdigest()


def contents_there(paths: Mapping[str, Path]) -> list[str]:
    """Return the names of the files that are there and one hash of their bytes, as a part of a key.

    A missing one is for whoever reads them to report, or to do without.

    Raises:
        UserError: a file cannot be read.
    """
    there = {name: path for name, path in paths.items() if path.is_file()}
    return [*there, contents(*there.values())]


class RowWriter:
    """Writes rows in blocks, to be read by `examples`."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        """Begin with no rows, under a name of lower-case letters."""
        self.arrays, self.name = arrays, name
        self.waiting: list[ParsedRow] = []
        self.ids = RaggedWriter(arrays, f"{name}_ids")
        self.inputs = RaggedWriter(arrays, f"{name}_inputs")
        self.accepted: RaggedWriter | None = None
        self.references: RaggedWriter | None = None

    def add(self, row: ParsedRow) -> None:
        """Take a row."""
        self.waiting.append(row)
        if len(self.waiting) == BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written yet; needed after the last row."""
        rows, self.waiting = self.waiting, []
        self.ids.texts([row.identity for row in rows])
        self.inputs.texts([row.text for row in rows])
        labels = [row.label for row in rows if row.label is not None]
        if labels:
            self.arrays.append(f"{self.name}_labels", np.array(labels, np.int64))
        references = [row.references for row in rows if row.references is not None]
        if references:
            self._add_references(references)

    def _add_references(self, references: list[Sequence[str]]) -> None:
        if self.accepted is None or self.references is None:
            self.accepted = RaggedWriter(self.arrays, f"{self.name}_accepted")
            self.references = RaggedWriter(self.arrays, f"{self.name}_references")
        self.accepted.texts([text for accepted in references for text in accepted])
        self.references.lengths([len(accepted) for accepted in references])


def examples(found: Found, name: str) -> Examples:
    """Return the rows that a `RowWriter` of this name wrote."""

    def known(part: str) -> str | None:
        return found.identity and f"{found.identity}/{name}_{part}"

    def texts(part: str) -> Texts:
        return Texts(found[f"{name}_{part}"], found[f"{name}_{part}_offsets"], identity=known(part))

    references = None
    if f"{name}_accepted" in found:
        offsets = found[f"{name}_references_offsets"]
        references = TextLists(texts("accepted"), offsets, identity=known("references"))
    return Examples(texts("inputs"), found.get(f"{name}_labels"), references, texts("ids"))
