"""Rows of one part of a stream's file: written as they come, then put in order by task and split.

What stays in memory of a row is the number of its task, split and label, so that rows may be more than fit.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmark.data.data_errors import DataError, strict
from benchmark.data.mapped_rows import IMAGES, MappedImages, RaggedWriter, Texts
from benchmark.data.names import in_order
from benchmark.data.parsed_rows import ParsedRow, RowWriter, examples
from benchmark.data.part_errors import (
    TaskFacts,
    case_errors,
    class_errors,
    id_errors,
    size_errors,
    split_errors,
)
from benchmark.data.part_sources import SPLITS
from benchmark.data.row_cache import Arrays, Found
from benchmark.data.splits import hold_out
from benchmark.data.stream_records import Record
from benchmark.data.stream_schema import RowsTable, source_of
from benchmark.stream import Examples, Task, Wording

TEXTS = "texts"


@dataclass(frozen=True)
class Stored:
    """A task as it is written: its name, its classes, the store of its rows, and how many a split has."""

    name: str
    classes: list[str]
    store: str
    counts: dict[str, int]


class PartRows:
    """Takes the rows of a part one by one, then says what is wrong with them as a whole."""

    def __init__(self, arrays: Arrays, kind: str, part: RowsTable) -> None:
        """Begin with no rows."""
        self.arrays, self.kind, self.part = arrays, kind, part
        self.tasks: dict[str, TaskFacts] = {}
        self.labels: dict[str, int] = {}
        self.texts = None if kind == "image" else RowWriter(arrays, TEXTS)
        self.images: dict[tuple[int, ...], _ImageWriter] = {}
        # By row: task and split as one number, the label, and the place in the task's store.
        self.group_of, self.label_of, self.place_of = array("i"), array("i"), array("q")
        self.ids = array("q")

    def add(self, record: Record) -> None:
        """Take a row."""
        task = self.tasks.get(record.task)
        if task is None:
            task = self.tasks[record.task] = TaskFacts(record.task, len(self.tasks))
        identity = record.id
        if identity is None:
            identity = f"{record.split}-{task.counts[record.split]}"
        elif record.row is not None:  # else the row is a file, and no two have one name
            self.ids.append(hash((task.number, identity)))
        task.counts[record.split] += 1
        self.group_of.append(task.number * len(SPLITS) + SPLITS.index(record.split))
        self.place_of.append(self._store(task, record, identity))
        if record.label is not None:
            if record.label not in task.places[record.split]:
                task.places[record.split][record.label] = record.place
            self.label_of.append(self.labels.setdefault(record.label, len(self.labels)))

    def finish(self, again: Callable[[], Iterable[Record]], whole: bool = True) -> Iterator[DataError]:
        """Write which rows are whose, and yield what is wrong.

        Args:
            again: yields all rows once more, to say where those are that have one id.
            whole: whether the sources could be read; if not, nobody can say what is not there.
        """
        if self.texts is not None:
            self.texts.flush()
        for writer in self.images.values():
            writer.flush()
        yield from case_errors("task", {name: source_of(self.part) for name in self.tasks})
        rows = np.argsort(np.frombuffer(self.group_of, np.int32), kind="stable")
        twice, start, stored = self._find_repeated_ids(again), 0, []
        for task in self.tasks.values():
            classes: tuple[str, ...] = ()
            if self.kind != "text-to-text":
                classes = self.part.classes or tuple(in_order(task.labels))
                if not self.part.classes:
                    yield from class_errors(task) if whole else ()
                    yield from case_errors("label", task.labels)
            yield from split_errors(self.part, task, classes) if whole else ()
            yield from id_errors(twice, task.name)
            sizes = size_errors(task) if self.kind == "image" and self.part.size is None else ()
            unequal = list(sizes)
            yield from unequal
            end = start + sum(task.counts.values())
            if not unequal:  # else not all of its images were kept
                yield from self._place(task, classes, rows[start:end])
                store = TEXTS if task.shape is None else self.images[task.shape].name
                stored.append(vars(Stored(task.name, list(classes), store, task.counts)))
            start = end
        self.arrays.append("tasks", np.frombuffer(json.dumps(stored).encode(), np.uint8))

    def _store(self, task: TaskFacts, record: Record, identity: str) -> int:
        """Write a row and return its place among those of its store."""
        if self.texts is not None:
            row = ParsedRow(record.split, identity, record.content, references=record.references)
            self.texts.add(row)
            return len(self.place_of)
        shape = record.content.shape
        task.see(record.split, shape[:2], record.place)
        if task.shape is None:
            task.shape = shape
        if task.shape != shape:
            return -1  # an error, reported at the end
        if shape not in self.images:
            self.images[shape] = _ImageWriter(self.arrays, f"images_{len(self.images)}")
        return self.images[shape].add(identity, record.content)

    def _place(self, task: TaskFacts, classes: tuple[str, ...], rows: np.ndarray) -> Iterator[DataError]:
        """Write places and labels of a task's rows, split by split; sample those for test where none are."""
        places = np.frombuffer(self.place_of, np.int64)[rows]
        labels = None
        if self.kind != "text-to-text":
            number = {name: place for place, name in enumerate(classes)}
            numbers = np.array([number.get(label, -1) for label in self.labels], np.int64)
            labels = numbers[np.frombuffer(self.label_of, np.int32)[rows]]
        if self.part.test_share is not None:
            # Seed 0 for every run: test rows never change.
            parts = hold_out(Examples(np.arange(len(rows)), labels), self.part.test_share, seed=0)
            task.counts |= {"train": len(parts[0]), "test": len(parts[1])}
            order = np.concatenate([np.asarray(rows.inputs) for rows in parts])
            places = places[order]
            if labels is not None:
                labels = labels[order]
                if len(np.unique(labels[len(parts[0]) :])) < len(classes):
                    share = f"test_share {self.part.test_share}"
                    message = f"{source_of(self.part)}: {share} leaves a class without test rows"
                    yield DataError(message, task.name)
        self.arrays.append("places", places)
        if labels is not None:
            self.arrays.append("labels", labels)

    def _find_repeated_ids(
        self, again: Callable[[], Iterable[Record]]
    ) -> Mapping[tuple[str, str], list[tuple[str, str]]]:
        """Return id and place of the rows whose id another row of the task has, by task and split."""
        hashes = np.sort(np.frombuffer(self.ids, np.int64))
        repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        if not repeated:
            return found
        with strict():  # what is wrong with single rows has been reported the first time
            for record in again():
                if hash((self.tasks[record.task].number, record.id)) in repeated:
                    found.setdefault((record.task, record.split), []).append((record.id or "", record.place))
        return found


def tasks_of(found: Found, part: RowsTable) -> list[Task]:
    """Return the tasks whose rows were written, in the order in which their names came.

    Args:
        found: what a `PartRows` wrote.
        part: gives the words around the texts and the metric.
    """
    tasks, start = [], 0
    for values in json.loads(found["tasks"].tobytes()):
        stored = Stored(**values)
        whole = _images(found, stored.store) if stored.store != TEXTS else examples(found, TEXTS)
        splits = {}
        for split in SPLITS:
            end = start + stored.counts[split]
            splits[split] = whole.take(found["places"][start:end])
            if stored.classes:
                splits[split] = replace(splits[split], labels=found["labels"][start:end])
            start = end
        words = Wording(part.group, part.dataset or stored.name, part.instruction, part.definition)
        held = splits["validation"] if len(splits["validation"]) else None
        classes = tuple(stored.classes)
        tasks.append(Task(stored.name, splits["train"], splits["test"], held, classes, words, part.metric))
    return tasks


class _ImageWriter:
    """Writes images of one shape, and their ids, in blocks."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        self.arrays, self.name, self.count = arrays, name, 0
        self.ids = RaggedWriter(arrays, f"{name}_ids")
        self.waiting: list[tuple[str, np.ndarray]] = []

    def add(self, identity: str, image: np.ndarray) -> int:
        self.waiting.append((identity, image))
        self.count += 1
        if len(self.waiting) == IMAGES:
            self.flush()
        return self.count - 1

    def flush(self) -> None:
        if self.waiting:
            self.ids.texts(identity for identity, _ in self.waiting)
            self.arrays.append(self.name, np.stack([image for _, image in self.waiting]))
        self.waiting = []


def _images(found: Found, store: str) -> Examples:
    known = found.identity and f"{found.identity}/{store}"
    ids = Texts(found[f"{store}_ids"], found[f"{store}_ids_offsets"], identity=known)
    # Without digests: a stream's fingerprint is that of the images as one array.
    return Examples(MappedImages(found[store], None, identity=known), ids=ids)
