"""Streams out of labelled images: class orders, slices and tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from benchmark.data.class_orders import cut_order, of_classes
from benchmark.data.class_orders import permutation as permutation
from benchmark.data.class_orders import slices as slices
from benchmark.data.data_errors import DataError, collect_into, raise_any
from benchmark.data.files import find_labelled_rows, read_arrays, read_json
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Task

if TYPE_CHECKING:
    import numpy as np

# The seeds of LiteLoRA's three class orders, seven by this suite for comparisons over ten runs, and the
# classes as the source numbers them.
ORDERS: Mapping[str, int | None] = {
    **{"1": 1993, "2": 1995, "3": 1996},
    **{f"own-{run}": 1993 + run for run in range(4, 11)},
    "natural": None,
}


class SlicedClasses(BaseModel):
    """The settings that streams of consecutive slices of classes share.

    `first_classes=50` with `classes_per_task=10` is B50-Inc10 of the class-incremental literature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: int = Field(10, ge=1, description="number of tasks that the classes are cut into")
    classes_per_task: int | None = Field(
        None, ge=1, description="in place of `tasks`; the last task has what is left, as PILOT cuts them"
    )
    first_classes: int | None = Field(
        None, ge=1, description="classes of the first task, such as 50 for B50; none: as many as the others"
    )

    @model_serializer(mode="wrap")
    def _without_unset(self, given: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So a result written before these settings existed stays the result of the same run.
        later = ("classes_per_task", "first_classes")
        return {name: value for name, value in given(self).items() if value is not None or name not in later}

    def cut(self, order: list[int]) -> list[list[int]]:
        """Return a class order in the slices that are asked for.

        Raises:
            UserError: there are too few classes for them.
        """
        return cut_order(order, self.tasks, self.classes_per_task, self.first_classes)


@dataclass(frozen=True)
class LabelledImages:
    """Images of both splits as arrays.

    Attributes:
        train: images `(n, height, width)` or `(n, height, width, 3)` uint8, with labels into `names`.
        names: one unique name a class.
    """

    train: Examples
    test: Examples
    names: tuple[str, ...]

    def task(self, name: str, classes: list[int]) -> Task:
        """Return the task of the given classes, in the given order."""
        return of_classes(Task("", self.train, self.test, classes=self.names), name, classes)


def label_images(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    names: tuple[str, ...],
) -> LabelledImages:
    """Return arrays as labelled images whose rows are named by split and position, such as `train-0`."""
    import numpy as np

    splits = [
        Examples(images, labels.astype(np.int64), None, [f"{split}-{row}" for row in range(len(labels))])
        for split, images, labels in (
            ("train", train_images, train_labels),
            ("test", test_images, test_labels),
        )
    ]
    return LabelledImages(*splits, names)


class Names(BaseModel):
    """The table of names beside an image file."""

    model_config = ConfigDict(strict=True)
    class_names: list[str]
    wnids: list[str] | None = None

    def unique(self) -> tuple[str, ...]:
        """Return the class names, those that occur twice (ImageNet has two cranes) with their WordNet id."""
        counts = Counter(self.class_names)
        if self.wnids is None or len(self.wnids) != len(self.class_names):
            return tuple(self.class_names)
        pairs = zip(self.class_names, self.wnids, strict=True)
        return tuple(name if counts[name] == 1 else f"{name} ({wnid})" for name, wnid in pairs)


def read_images(arrays: Path, table: Path, dimensions: int) -> LabelledImages:
    """Read `train_images`, `train_labels`, `test_images`, `test_labels` and the table's class names.

    Args:
        dimensions: of an images array: 3 for grey, 4 for colour.

    Raises:
        UserError: a file or an array is missing or malformed, images and labels differ in number, a label
            has no name, or two classes have the same.
    """
    import numpy as np

    errors: list[DataError] = []
    names: tuple[str, ...] = ()
    with collect_into(errors):
        names = read_json(table, Names).unique()
        if len(set(names)) < len(names):
            raise UserError(f"{table} names two classes alike, and no WordNet ids tell them apart")
    pictures, numbers = ("u", dimensions), ("iu", 1)
    found: dict[str, np.ndarray] = {}
    with collect_into(errors):
        found = read_arrays(
            arrays,
            {
                "train_images": pictures,
                "train_labels": numbers,
                "test_images": pictures,
                "test_labels": numbers,
            },
        )
    raise_any(errors)
    splits: list[np.ndarray] = []
    for split in ("train", "test"):
        images, labels = found[f"{split}_images"], found[f"{split}_labels"]
        with collect_into(errors):
            if images.dtype != np.uint8 or (dimensions == 4 and images.shape[3] != 3):
                raise UserError(
                    f"{arrays}: '{split}_images' is {images.dtype} {images.shape}, not bytes of grey or RGB"
                )
            sound = find_labelled_rows(arrays, images, labels, len(names), split)
            splits += (images, labels) if sound.all() else (images[sound], labels[sound])
    raise_any(errors)
    return label_images(*splits, names)


def class_incremental(
    images: LabelledImages,
    seed: int | None,
    sizes: SlicedClasses,
    origin: str,
    revisions: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> LoadedStream:
    """Return a stream over consecutive slices of a class order, its tasks named `task 01` and on.

    Args:
        seed: of the class order; None keeps the classes as numbered.
        sizes: of the slices; where they are not equal a note gives them.
        origin: where the images come from, in one line.
    """
    order = permutation(len(images.names), seed)
    parts = sizes.cut(order)
    made = [images.task(f"task {number:02d}", classes) for number, classes in enumerate(parts, 1)]
    if len({len(part) for part in parts}) > 1:
        notes = (*notes, f"{len(order)} classes in {len(parts)} tasks of {_sizes(parts)}")
    return LoadedStream(made, origin, order, revisions or {}, notes)


def _sizes(parts: list[list[int]]) -> str:
    """Return the sizes of slices in words: of all, and of the first or the last where it differs."""
    first, last = len(parts[0]), len(parts[-1])
    usual = len(parts[1]) if len(parts) > 2 else first
    sizes = [str(usual)]
    if first != usual:
        sizes.append(f"the first of {first}")
    if last != usual:
        sizes.append(f"the last of {last}")
    return ", ".join(sizes)
