"""Rows as tensors: encoded once per run, then cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.data.images import ImageSettings, augment, normalise, read, resize

if TYPE_CHECKING:
    from benchmark.data.mapped_rows import MappedImages


@dataclass
class Batch:
    """One step's rows.

    Attributes:
        inputs: what the backbone takes, by argument name.
        labels: `(n,)` class columns of the head, for classification.
        targets: `(n, length)` token ids with -100 where nothing is asked, for text to text.
        rows: indices into the split, so that a method can keep per-row state.
        left: tokens are padded on the left.
        answers: tokens of `targets` that each row is asked for, where they were counted before.
    """

    inputs: dict[str, Tensor]
    labels: Tensor | None = None
    targets: Tensor | None = None
    rows: list[int] = field(default_factory=list)
    left: bool = False
    answers: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            {name: send_to(tensor, device) for name, tensor in self.inputs.items()},
            None if self.labels is None else send_to(self.labels, device),
            None if self.targets is None else send_to(self.targets, device),
            self.rows,
            self.left,
            self.answers,
        )


def send_to(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, to a GPU from pinned memory, which nobody has to wait for."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Rows(Protocol):
    """The encoded rows of one split of one task."""

    def __len__(self) -> int: ...

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows as a batch; `training` switches augmentation on."""
        ...

    def length(self, row: int) -> int:
        """Return the cost of a row (tokens), so that scoring can put equals together."""
        ...


class EqualRows:
    """Base of rows that all cost the same."""

    def length(self, row: int) -> int:
        """Return 1, whatever the row."""
        return 1


@dataclass
class VectorRows(EqualRows):
    """Rows of float vectors `(n, d)`."""

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows under the argument `x`."""
        index = torch.as_tensor(rows)
        return Batch({"x": self.values[index]}, self.labels[index], rows=list(rows))


@dataclass
class ImageRows(EqualRows):
    """Rows of images `(n, size, size)` or `(n, size, size, 3)`, uint8, already resized for the backbone."""

    images: np.ndarray | MappedImages
    labels: Tensor
    settings: ImageSettings
    augmentation: str = "none"
    crop_area: float = 0.05

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows as normalised `pixel_values`."""
        index = torch.as_tensor(rows)
        # Of this size already, so that only the channels are put where the backbone has them.
        pixels = resize(read(self.images, rows), self.settings.size).float() / 255
        if training:
            pixels = augment(pixels, self.augmentation, self.crop_area)
        return Batch({"pixel_values": normalise(pixels, self.settings)}, self.labels[index], rows=list(rows))


@dataclass
class TokenRows:
    """Rows of token ids of unequal length, padded to the longest of each batch.

    Attributes:
        targets: token ids of the answers; for a causal model they are appended to the prompt while training.
        causal: prompt and answer form one sequence, padded on the left so that generation continues it.
    """

    prompts: Sequence[list[int]]
    pad: int
    labels: Tensor | None = None
    targets: Sequence[list[int]] | None = None
    causal: bool = False

    def __len__(self) -> int:
        return len(self.prompts)

    def length(self, row: int) -> int:
        """Return the number of prompt tokens."""
        return len(self.prompts[row])

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows; with `training` and a causal model, prompt and answer together."""
        chosen = [self.prompts[row] for row in rows]
        labels = None if self.labels is None else self.labels[torch.as_tensor(rows)]
        targets, answers = None, []
        if self.targets is not None:
            answers = [self.targets[row] for row in rows]
            if self.causal and training:
                targets = pad_rows(
                    [[-100] * len(p) + a for p, a in zip(chosen, answers, strict=True)], -100, left=True
                )
                chosen = [p + a for p, a in zip(chosen, answers, strict=True)]
            else:
                targets = pad_rows(answers, -100)
        inputs, lengths = token_inputs(chosen, self.pad, left=self.causal), [len(each) for each in answers]
        return Batch(inputs, labels, targets, list(rows), self.causal, lengths)


def token_inputs(rows: list[list[int]], pad: int, left: bool = False) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask`, `(n, longest)`."""
    mask = pad_rows([[1] * len(row) for row in rows], 0, left)
    return {"input_ids": pad_rows(rows, pad, left), "attention_mask": mask}


def pad_rows(rows: list[list[int]], value: int, left: bool = False) -> Tensor:
    """Return `(n, longest)` int64, filled up with `value` on the right, or on the left."""
    longest = max(len(row) for row in rows)
    padded = torch.full((len(rows), longest), value, dtype=torch.int64)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        padded[index, where] = torch.tensor(row, dtype=torch.int64)
    return padded


@dataclass
class JoinedRows:
    """Several splits seen as one, for methods that train on more than one task at once."""

    parts: list[Rows]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def _place(self, row: int) -> tuple[int, int]:
        for index, part in enumerate(self.parts):
            if row < len(part):
                return index, row
            row -= len(part)
        raise IndexError(row)

    def length(self, row: int) -> int:
        """Return the cost of a row in the part it comes from."""
        index, inner = self._place(row)
        return self.parts[index].length(inner)

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return the given rows, padded to one size, in the order of their parts."""
        inner: list[list[int]] = [[] for _ in self.parts]
        outer: list[list[int]] = [[] for _ in self.parts]
        for row in rows:
            index, place = self._place(row)
            inner[index].append(place)
            outer[index].append(row)
        taken = [(p, i) for p, i in zip(self.parts, inner, strict=True) if i]
        joined = join([part.batch(chosen, training) for part, chosen in taken])
        joined.rows = [row for chosen in outer for row in chosen]
        return joined


def join(batches: list[Batch]) -> Batch:
    """Put batches of one kind under one another, padding tokens to the longest."""
    first = batches[0]
    # Rows that were kept in memory come without the states that a frozen prefix gives the others.
    shared = [name for name in first.inputs if all(name in b.inputs for b in batches)]
    inputs = {name: _stack([b.inputs[name] for b in batches], 0, first.left) for name in shared}
    labels = None if first.labels is None else torch.cat([b.labels for b in batches if b.labels is not None])
    targets = None
    if first.targets is not None:
        # The answers of a causal model end where its prompts do while training, so they are padded alike.
        targets = _stack([b.targets for b in batches if b.targets is not None], -100, first.left)
    return Batch(inputs, labels, targets, [row for b in batches for row in b.rows], first.left)


def _stack(tensors: list[Tensor], value: int, left: bool) -> Tensor:
    states = tensors[0].dim() == 3 and tensors[0].is_floating_point()
    if not states and (tensors[0].dim() != 2 or tensors[0].is_floating_point()):
        return torch.cat(tensors)
    longest = max(tensor.shape[1] for tensor in tensors)
    missing = [longest - tensor.shape[1] for tensor in tensors]
    pad = torch.nn.functional.pad
    return torch.cat(
        [
            pad(x, (0,) * (2 * (x.dim() - 2)) + ((m, 0) if left else (0, m)), value=value)
            for x, m in zip(tensors, missing, strict=True)
        ]
    )


def shuffle_batches(count: int, size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Yield batches of row indices in a random order; the last may be smaller."""
    order = torch.randperm(count, generator=generator).tolist()
    for start in range(0, count, size):
        yield order[start : start + size]


def batch_by_length(rows: Rows, size: int, device: torch.device) -> Iterator[Batch]:
    """Yield all rows in batches on a device, long rows together, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda row: (-rows.length(row), row))
    for start in range(0, len(order), size):
        yield rows.batch(order[start : start + size]).to(device)
