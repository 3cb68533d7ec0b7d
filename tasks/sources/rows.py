"""What every text source does with its rows: names them, tells labels apart, keeps splits disjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict

from benchmark.data.data_errors import DataError, InvalidData, collect_into, raise_any, raise_or_collect
from benchmark.data.files import Model, label_index, read_json, read_rows
from benchmark.data.names import difference, fold_name
from benchmark.errors import UserError
from benchmark.stream import Examples

if TYPE_CHECKING:
    from benchmark.data.parsed_rows import ParsedRow

# How sources mark a row without a gold label; MNLI's test set has 131 of them.
UNLABELLED = frozenset({"", "-"})
Read = TypeVar("Read")
Raw = TypeVar("Raw")
Sound = TypeVar("Sound")


class NamedLine(BaseModel):
    """What every line of this suite's files has."""

    model_config = ConfigDict(strict=True)
    id: str


OwnRow = TypeVar("OwnRow", bound=NamedLine)


@dataclass(frozen=True)
class LabelledText:
    """A row as it was read; `where` names its file and place for messages."""

    identity: str
    text: str
    label: str
    where: str


def label_number(row: LabelledText, labels: tuple[str, ...]) -> int | None:
    """Return the place of a row's label, stripped, in its task's list; None where the row has no label.

    Raises:
        UserError: the label is not one of `labels`; with file and row.
    """
    label = row.label.strip()
    if label in UNLABELLED:
        return None
    for known in labels:
        if known != label and fold_name(known) == fold_name(label):
            raise UserError(
                f"{row.where}: the label {label!r} differs from {known!r} only by {difference(label, known)}"
            )
    return label_index(label, labels, row.where)


def check_labels(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """Return label names, stripped.

    Raises:
        UserError: there are none, or two are equal or differ only by case, which no text scorer tells apart.
    """
    seen: dict[str, str] = {}
    errors = []
    for label in (label.strip() for label in labels):
        other = seen.setdefault(fold_name(label), label)
        if other is not label:
            how = (
                "is there twice"
                if other == label
                else f"differs from {other!r} only by {difference(label, other)}"
            )
            errors.append(DataError(f"{where}: the label {label!r} {how}"))
    raise_or_collect(errors)
    if not seen:
        raise UserError(f"{where} names no labels")
    return tuple(seen.values())


def read_each(names: Iterable[str], read: Callable[[str], Read]) -> dict[str, Read]:
    """Return what `read` makes of each name.

    Raises:
        UserError: some are faulty; what it raised of each.
    """
    errors: list[DataError] = []
    found = {}
    for name in names:
        with collect_into(errors):
            found[name] = read(name)
    raise_or_collect(errors)
    return found


def chain_rows(names: Iterable[str], rows: Callable[[str], Iterable[Sound]]) -> Iterator[Sound]:
    """Yield the rows of each name, one name after the other, so that no two are in memory together.

    Raises:
        UserError: what `rows` raised of any; after the last row.
    """
    errors: list[DataError] = []
    for name in names:
        with collect_into(errors):
            yield from rows(name)
    raise_or_collect(errors)


def table_beside(folder: Path, model: type[Model], names: Iterable[str]) -> Model:
    """Return the `tasks.json` beside `<task>.jsonl.gz` files.

    Raises:
        UserError: it cannot be read; also named are the tasks that have no file, which nobody then looks for.
    """
    errors: list[DataError] = []
    with collect_into(errors):
        return read_json(folder / "tasks.json", model)
    gone = [path for name in names if not (path := folder / f"{name}.jsonl.gz").exists()]
    raise InvalidData([*errors, *(DataError(f"{path} does not exist") for path in gone)])


def sound(rows: Iterable[Raw], check: Callable[[Raw], Iterable[Sound]]) -> Iterator[Sound]:
    """Yield what `check` makes of each row, for all rows that it raises nothing for.

    Raises:
        UserError: some are faulty, or the reading of rows ended in one; raised after the last row.
    """
    errors: list[DataError] = []
    with collect_into(errors):
        for row in rows:
            made: Iterable[Sound] = ()
            with collect_into(errors):
                made = tuple(check(row))
            yield from made
    raise_or_collect(errors)


def own_rows(
    path: Path, model: type[OwnRow], parse: Callable[[OwnRow, str], ParsedRow]
) -> Iterator[ParsedRow]:
    """Yield the rows of one of this suite's `<task>.jsonl.gz`.

    Args:
        parse: makes a row of a line; it is also given file and row, for messages.

    Raises:
        UserError: some are faulty, or two have one id; raised after the last row.
    """
    seen = Identities()

    def checked(numbered: tuple[int, OwnRow]) -> Iterator[ParsedRow]:
        number, line = numbered
        where = f"{path}, row {number}"
        errors: list[DataError] = []
        with collect_into(errors):
            row = parse(line, where)
        with collect_into(errors):
            seen.add(line.id, where)
        raise_any(errors)
        yield row

    return sound(read_rows(path, model), checked)


class Identities:
    """The ids of the rows read so far."""

    def __init__(self) -> None:
        """Know of none."""
        self._places: dict[str, str] = {}

    def add(self, identity: str, where: str) -> None:
        """Note a row's id and where the row lies.

        Raises:
            UserError: another row has it.
        """
        if identity in self._places:
            raise UserError(f"{where}: the id {identity!r} is already that of {self._places[identity]}")
        self._places[identity] = where


def remove_rows_of(examples: Examples, other: Examples) -> tuple[Examples, int]:
    """Return the rows whose input is not one of another split's, and how many were left out."""
    seen = set(other.inputs)
    keep = [row for row, text in enumerate(examples.inputs) if text not in seen]
    return examples.take(keep), len(examples) - len(keep)


def validation(dev: Examples | None, test: Examples) -> tuple[Examples | None, int]:
    """Return the rows of a source's dev split that are not test rows, or None; and how many are.

    O-LoRA's, SAPT's and GainLoRA's dev files are their test files: validation must not be taken from them.
    """
    if dev is None or len(dev) == 0:
        return None, 0
    kept, left_out = remove_rows_of(dev, test)
    return (kept if len(kept) else None), left_out


def notes(counts: Iterable[tuple[str, int, str]]) -> tuple[str, ...]:
    """Return one line for each thing done to rows: the tasks with their counts, then what it was."""
    lines: dict[str, list[str]] = {}
    for task, count, what in counts:
        if count:
            lines.setdefault(what, []).append(f"{task} {count}")
    return tuple(f"{what}: {', '.join(tasks)}" for what, tasks in lines.items())
