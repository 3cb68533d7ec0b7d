"""What is wrong with the rows of a task as a whole, seen from counts and first places of what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.data.data_errors import DataError
from benchmark.data.names import difference, fold_name
from benchmark.data.part_sources import SPLITS
from benchmark.data.stream_schema import RowsTable, source_of

Size = tuple[int, ...]


@dataclass
class TaskFacts:
    """What is kept of a task while its rows are read: nothing that grows with their number.

    Attributes:
        number: among the tasks, in the order in which their names came.
        counts: rows by split.
        places: by split, each label with the place where it comes first.
        sizes: by split, the height and width in pixels of the first image and of the first one of another
            size, each with its place.
        shape: of the first image.
    """

    name: str
    number: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    places: dict[str, dict[str, str]] = field(default_factory=lambda: {split: {} for split in SPLITS})
    sizes: dict[str, list[tuple[Size, str]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    shape: tuple[int, ...] | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Labels with their first places: those of train and then of others; none where train has none."""
        first = dict(self.places["train"])
        if first:
            for split in SPLITS:
                for label, place in self.places[split].items():
                    first.setdefault(label, place)
        return first

    def see(self, split: str, size: Size, place: str) -> None:
        """Note the size of an image."""
        seen = self.sizes[split]
        if not seen or (len(seen) == 1 and seen[0][0] != size):
            seen.append((size, place))


def case_errors(what: str, places: Mapping[str, str]) -> Iterator[DataError]:
    """Yield an error for each name that differs from an earlier one only by case or in Unicode.

    Args:
        places: each name with where it comes first.
    """
    seen: dict[str, str] = {}
    for name, place in places.items():
        other = seen.setdefault(fold_name(name), name)
        if other != name:
            before = f" ({places[other]})" if places[other] != place else ""
            how = f"differs only by {difference(name, other)} from '{other}'{before}"
            yield DataError(f"{place}: the {what} '{name}' {how}")


def class_errors(task: TaskFacts) -> Iterator[DataError]:
    """Yield an error for each label that no training row has."""
    for label, place in task.labels.items():
        if label not in task.places["train"]:
            yield DataError(f"{place}: the label '{label}' is that of no training row")


def split_errors(part: RowsTable, task: TaskFacts, classes: Sequence[str]) -> Iterator[DataError]:
    """Yield an error for each split without rows, and for each class without rows in a split."""
    where = source_of(part)
    for split in ("train",) if part.test_share is not None else ("train", "test"):
        if not task.counts[split]:
            yield DataError(f"{where}: no {split} rows", task.name, split)
            continue
        # Where classes are the labels of train, another label elsewhere is reported with its row.
        expected = classes if part.classes or split == "test" else ()
        for label in sorted(set(expected) - set(task.places[split])):
            yield DataError(f"{where}: no {split} rows of the class '{label}'", task.name, split)


def id_errors(twice: Mapping[tuple[str, str], Sequence[tuple[str, str]]], task: str) -> Iterator[DataError]:
    """Yield an error for each row whose id an earlier row of the task has.

    Args:
        twice: id and place of such rows, at least, by task and split.
    """
    taken: dict[str, str] = {}
    for split in SPLITS:
        for identity, place in twice.get((task, split), ()):
            before = taken.setdefault(identity, place)
            if before != place:
                yield DataError(f"{place}: the id '{identity}' is that of {before}")


def size_errors(task: TaskFacts) -> Iterator[DataError]:
    """Yield an error for the first image of another size than the first one."""
    every = [seen for split in SPLITS for seen in task.sizes[split]]
    for (height, width), place in every:
        first_height, first_width = every[0][0]
        if (height, width) != (first_height, first_width):
            sizes = f"{width}x{height} pixels, others {first_width}x{first_height}"
            yield DataError(f"{place}: {sizes}; set `size` to scale all to one")
            return
