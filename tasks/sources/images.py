"""Class-incremental streams out of labelled images: class orders, slices and tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.class_orders import permutation as permutation
from benchmark.class_orders import slices as slices
from benchmark.data_files import check_labels, read_arrays, read_json
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task

if TYPE_CHECKING:
    import numpy as np

# The seeds of LiteLoRA's three class orders, and the classes as the source numbers them.
ORDERS: Mapping[str, int | None] = {"1": 1993, "2": 1995, "3": 1996, "natural": None}


@dataclass(frozen=True)
class LabelledImages:
    """Images of both splits.

    Attributes:
        train_images: `(n, height, width)` or `(n, height, width, 3)` uint8.
        train_labels: `(n,)` int64, indices into `names`.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
        names: one unique name a class.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    names: tuple[str, ...]

    def task(self, name: str, classes: list[int]) -> Task:
        """Return the task of the given classes, in the given order."""
        return Task(
            name,
            train=self._part(self.train_images, self.train_labels, classes, "train"),
            test=self._part(self.test_images, self.test_labels, classes, "test"),
            classes=tuple(self.names[c] for c in classes),
        )

    def _part(self, images: np.ndarray, labels: np.ndarray, classes: list[int], split: str) -> Examples:
        import numpy as np

        place = np.full(len(self.names), -1)
        place[classes] = np.arange(len(classes))
        rows = np.flatnonzero(place[labels] >= 0)
        return Examples(images[rows], place[labels[rows]], None, [f"{split}-{row}" for row in rows])


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
        arrays: the `.npz`.
        table: the `.json` beside it.
        dimensions: of an images array: 3 for grey, 4 for colour.

    Raises:
        UserError: a file or an array is missing or malformed, images and labels differ in number, a label
            has no name, or two classes have the same.
    """
    import numpy as np

    names = read_json(table, Names).unique()
    if len(set(names)) < len(names):
        raise UserError(f"{table} names two classes alike, and no WordNet ids tell them apart")
    pictures, numbers = ("u", dimensions), ("iu", 1)
    found = read_arrays(
        arrays,
        {
            "train_images": pictures,
            "train_labels": numbers,
            "test_images": pictures,
            "test_labels": numbers,
        },
    )
    for split in ("train", "test"):
        images = found[f"{split}_images"]
        if images.dtype != np.uint8 or (dimensions == 4 and images.shape[3] != 3):
            raise UserError(
                f"{arrays}: '{split}_images' is {images.dtype} {images.shape}, not bytes of grey or RGB"
            )
        check_labels(arrays, images, found[f"{split}_labels"], len(names), split)
    return LabelledImages(
        found["train_images"],
        found["train_labels"].astype(np.int64),
        found["test_images"],
        found["test_labels"].astype(np.int64),
        names,
    )


def class_incremental(images: LabelledImages, order: list[int], tasks: int) -> list[Task]:
    """Return tasks over consecutive slices of a class order, named `task 01` and on."""
    return [
        images.task(f"task {number:02d}", classes) for number, classes in enumerate(slices(order, tasks), 1)
    ]


def litelora(augmentation: Literal["crop", "crop-flip"]) -> Protocol:
    """Return the settings of LiteLoRA's Split CIFAR-100 runs, for a stream of images.

    Learning rates, the selection phase and its weight belong to the method.
    """
    return Protocol(
        name="litelora",
        source="LiteLoRA (arXiv 2606.28117), exps/litelora_*.json of the official code for Split CIFAR-100",
        backbone="vit-b16-in21k-ft-in1k",
        epochs=20,
        batch_size=128,
        rank=10,
        targets=("query", "value"),
        validation=0.0,
        pixels="unit",
        augmentation=augmentation,
    )
