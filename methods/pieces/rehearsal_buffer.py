"""Stored rows of earlier tasks, as tensors, for methods that rehearse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows, join
from benchmark.data.images import ImageSettings, augment, normalise
from benchmark.models.task_model import TaskModel

Policy = Literal["reservoir", "class-balanced"]
READ = 64
PIXELS = "pixel_values"


@dataclass(frozen=True)
class PixelFormat:
    """Images as the eight-bit numbers they were before they were normalised: a quarter of the bytes."""

    settings: ImageSettings
    augmentation: str
    crop_area: float
    dtype: torch.dtype

    @classmethod
    def of(cls, task_model: TaskModel) -> PixelFormat | None:
        """Return the format of a task model's images; None where it has none."""
        if task_model.image_settings is None:
            return None
        dtype = next(task_model.backbone.module.parameters()).dtype
        protocol = task_model.protocol
        return cls(task_model.image_settings, protocol.augmentation, protocol.crop_area, dtype)

    def pack(self, values: Tensor) -> Tensor:
        """Return the uint8 pixels behind normalised images `(n, 3, h, w)`."""
        mean, deviation = (
            torch.tensor(channel).view(1, -1, 1, 1)
            for channel in (self.settings.mean, self.settings.deviation)
        )
        return ((values.float() * deviation + mean) * 255).round().clamp(0, 255).to(torch.uint8)

    def unpack(self, pixels: Tensor) -> Tensor:
        """Return the images as training sees them: augmented anew, normalised."""
        drawn = augment(pixels.float() / 255, self.augmentation, self.crop_area)
        return normalise(drawn, self.settings).to(self.dtype)


class RehearsalBuffer:
    """At most `size` rows of all tasks seen, in main memory.

    With `reservoir` every row seen so far is in the buffer with the same probability (Vitter's algorithm R);
    with `class-balanced` every class holds the same number of rows, up to one (GDumb, ECCV 2020). Where rows
    have no class, as in text to text, a task is a class.

    Attributes:
        pixels: how images are stored; None where rows are none.
        rows: the rows, images packed and tokens padded to one length; None while empty.
        groups: `(n,)`, the class or task of each row.
        seen: how many rows of earlier tasks there were.
    """

    def __init__(self, size: int, policy: Policy, pixels: PixelFormat | None = None) -> None:
        """Start empty."""
        self.size = size
        self.policy = policy
        self.pixels = pixels
        self.rows: Batch | None = None
        self.groups = torch.zeros(0, dtype=torch.int64)
        self.seen = 0

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, rows: Rows, task: int) -> None:
        """Take in a finished task's rows; uses torch's generator."""
        groups = torch.cat([self.groups, groups_of(rows, task)])
        old = len(self)
        keep = self._reservoir(old, len(rows)) if self.policy == "reservoir" else self._balance(groups)
        stay = [place for place in keep if place < old]
        come = [place for place in keep if place >= old]
        # Only what is kept is read: a whole task need not fit into memory.
        parts = [self._read(rows, [place - old for place in some]) for some in split(come)]
        if self.rows is not None:
            parts.insert(0, choose_rows(self.rows, stay))
        where = {place: index for index, place in enumerate([*stay, *come])}
        self.rows = trim_padding(choose_rows(join(parts), [where[place] for place in keep]))
        self.groups = groups[keep]
        self.seen += len(rows)

    def _read(self, rows: Rows, places: list[int]) -> Batch:
        # Prompts are stored with their answers, as in training; images before they are augmented.
        batch = rows.batch(places, training=self.pixels is None)
        # States of a frozen prefix are no part of a row, and would count as stored.
        batch.inputs = {n: value for n, value in batch.inputs.items() if n not in ("prefix", "features")}
        if self.pixels is None:
            return batch
        return replace(batch, inputs=batch.inputs | {PIXELS: self.pixels.pack(batch.inputs[PIXELS])})

    def _reservoir(self, old: int, count: int) -> list[int]:
        """Return the places to keep among `old` stored rows followed by `count` new ones."""
        kept = list(range(old))
        order = (old + torch.randperm(count)).tolist()
        for seen, index in enumerate(order, self.seen + 1):
            if len(kept) < self.size:
                kept.append(index)
            elif (place := int(torch.randint(seen, (1,)))) < self.size:
                kept[place] = index
        return kept

    def _balance(self, groups: Tensor) -> list[int]:
        """Return the places to keep: one row of every group, then a second of each, until it is full."""
        order = torch.randperm(len(groups))
        # Stored rows first: what is kept changes no more than it must.
        order = torch.cat([order[order < len(self)], order[order >= len(self)]])
        members = {g: order[groups[order] == g].tolist() for g in groups.unique().tolist()}
        kept: list[int] = []
        depth = 0
        while len(kept) < self.size and any(len(rows) > depth for rows in members.values()):
            layer = [rows[depth] for rows in members.values() if len(rows) > depth]
            kept += layer[: self.size - len(kept)]
            depth += 1
        return sorted(kept)

    def draw(self, count: int) -> Batch:
        """Return at most `count` different rows at random, as training sees them, trimmed."""
        assert self.rows is not None
        places = torch.randperm(len(self))[:count].tolist()
        batch = trim_padding(choose_rows(self.rows, places))
        if self.pixels is None:
            return batch
        return replace(batch, inputs=batch.inputs | {PIXELS: self.pixels.unpack(batch.inputs[PIXELS])})

    def bytes(self) -> int:
        """Return how many bytes the stored rows take."""
        return sum(tensor.nbytes for tensor in self.state().values())

    def state(self) -> dict[str, Tensor]:
        """Return rows, groups and count as tensors."""
        state = {"groups": self.groups, "seen": torch.tensor(self.seen)}
        if self.rows is not None:
            state |= {f"inputs.{name}": tensor for name, tensor in self.rows.inputs.items()}
            state["left"] = torch.tensor(int(self.rows.left))
            if self.rows.labels is not None:
                state["labels"] = self.rows.labels
            if self.rows.targets is not None:
                state["targets"] = self.rows.targets
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        state = {name: tensor.cpu() for name, tensor in state.items()}
        self.groups, self.seen = state["groups"], int(state["seen"])
        self.rows = None
        if len(self.groups):
            prefix = "inputs."
            inputs = {n.removeprefix(prefix): x for n, x in state.items() if n.startswith(prefix)}
            rows = list(range(len(self.groups)))
            left = bool(state["left"])
            self.rows = Batch(inputs, state.get("labels"), state.get("targets"), rows, left)


def split(places: Sequence[int]) -> list[Sequence[int]]:
    """Return the places in pieces that are read at once."""
    return [places[start : start + READ] for start in range(0, len(places), READ)]


def groups_of(rows: Rows, task: int) -> Tensor:
    """Return the class of each row, or the task where rows have none, `(n,)`."""
    labels = [rows.batch(places).labels for places in split(range(len(rows)))]
    found = [part for part in labels if part is not None]
    return torch.cat(found).cpu() if found else torch.full((len(rows),), task)


def choose_rows(batch: Batch, places: Iterable[int]) -> Batch:
    """Return the rows of a batch at the given places."""
    index = torch.as_tensor(list(places), dtype=torch.int64)
    return Batch(
        {name: tensor[index] for name, tensor in batch.inputs.items()},
        None if batch.labels is None else batch.labels[index],
        None if batch.targets is None else batch.targets[index],
        list(range(len(index))),
        batch.left,
    )


def trim_padding(batch: Batch) -> Batch:
    """Return a batch of tokens without the columns that are padding in every row."""
    mask = batch.inputs.get("attention_mask")
    if mask is None:
        return batch
    used = mask.any(0)
    inputs = {
        name: tensor[:, used] if tensor.shape[:2] == mask.shape else tensor
        for name, tensor in batch.inputs.items()
    }
    targets = batch.targets
    if targets is not None:
        targets = targets[:, used if batch.left else (targets != -100).any(0)]
    return Batch(inputs, batch.labels, targets, batch.rows, batch.left)
