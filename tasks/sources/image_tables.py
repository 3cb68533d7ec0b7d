"""Reads image sets of the Hugging Face hub, or parquet files laid out like them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.hub import Hub, HubSet
from benchmark.data.hub_tables import HubTable, require
from benchmark.errors import UserError
from tasks.sources.image_sets import EncodedSplit, ImageSet, check


@dataclass(frozen=True)
class HubImages:
    """An image set on the hub and what its columns and splits are called."""

    hub: HubSet
    image: str = "image"
    label: str = "label"
    domain: str | None = None
    train: str = "train"
    test: str = "test"

    @property
    def folder(self) -> str:
        """Where its parquet files go in a data folder, for messages."""
        config = self.hub.config or "default"
        return f"hub/{self.hub.identifier}/{config}/{{{self.train},{self.test}}}.parquet"


@dataclass(frozen=True)
class ImageColumn:
    """The encoded images of a column, read anew each time it is gone through."""

    table: HubTable
    name: str

    def __iter__(self) -> Iterator[bytes]:
        """Yield the images in the order of the rows."""
        return self.table.images(self.name)


def read(wanted: HubImages, root: Path | None, alternative: str) -> ImageSet:
    """Read the labels of both splits; the images themselves are read when they are decoded.

    Args:
        root: the data folder; None where there is none.
        alternative: what a data folder would have to hold instead, for messages.
    """
    hub = Hub(root, alternative)
    tables, commit = hub.tables(wanted.hub, (wanted.train, wanted.test))
    both = (tables[wanted.train], tables[wanted.test])
    for table in both:
        require([wanted.image], list(table.features), table.name)
    names, *labels = number_classes(wanted.label, *both)
    domains, *places = number_classes(wanted.domain, *both) if wanted.domain else ((), [], [])
    splits = [
        EncodedSplit(
            ImageColumn(table, wanted.image),
            numbers,
            [f"{split}-{row}" for row in range(len(numbers))],
            table.name,
            table.identity(wanted.image),
            place,
        )
        for split, table, numbers, place in zip(("train", "test"), both, labels, places, strict=True)
    ]
    folder = hub.folder(wanted.hub)
    origin = f"the data folder's hub/{wanted.hub.identifier}/" if folder else "the Hugging Face hub"
    revisions = {wanted.hub.identifier: commit} if commit else {}
    found = ImageSet(*splits, names, origin, revisions, domains=domains)
    check(found, str(folder or wanted.hub.identifier))
    return found


def number_classes(
    column: str, train: HubTable, test: HubTable
) -> tuple[tuple[str, ...], list[int], list[int]]:
    """Return the classes of a column by name, and the number of each row's class in either split.

    The names are the set's own where it gives them. Texts are numbered in sorted order, and numbers
    without names are called by themselves.

    Raises:
        UserError: the splits name the classes differently, or a row's value is none of them.
    """
    values = [list(table.column(column)) for table in (train, test)]
    names = train.names(column)
    if test.names(column) != names:
        raise UserError(f"{test.name}: the names of the column '{column}' are not those of {train.name}")
    known = {value for part in values for value in part}
    if names:
        places: dict[object, int] = {number: number for number in range(len(names))}
    elif all(isinstance(value, str) for value in known):
        names = tuple(sorted(str(value) for value in known))
        places = {name: number for number, name in enumerate(names)}
    else:
        count = 1 + max((value for value in known if isinstance(value, int)), default=-1)
        names = tuple(str(number) for number in range(count))
        places = {number: number for number in range(count)}
    numbers = [
        [_place(places, value, f"{table.name}, row {row}: the {column}") for row, value in enumerate(part)]
        for table, part in zip((train, test), values, strict=True)
    ]
    return names, numbers[0], numbers[1]


def _place(places: dict[object, int], value: object, where: str) -> int:
    if isinstance(value, bool) or value not in places:
        raise UserError(f"{where} {value!r} is not one of 0 to {len(places) - 1}")
    return places[value]
