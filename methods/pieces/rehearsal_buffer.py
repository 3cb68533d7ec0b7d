"""Stored rows of earlier tasks, as tensors, for methods that rehearse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from benchmark.batches import Batch, Rows, join

Policy = Literal["reservoir", "class-balanced"]
READ = 64


class RehearsalBuffer:
    """At most `size` rows of all tasks seen.

    With `reservoir` every row seen so far is in the buffer with the same probability (Vitter's algorithm R);
    with `class-balanced` every class holds the same number of rows, up to one (GDumb, ECCV 2020). Where rows
    have no class, as in text to text, a task is a class.

    Attributes:
        rows: the rows, inputs padded to one length; None while empty.
        groups: `(n,)`, the class or task of each row.
        seen: how many rows of earlier tasks there were.
    """

    def __init__(self, size: int, policy: Policy) -> None:
        """Start empty."""
        self.size = size
        self.policy = policy
        self.rows: Batch | None = None
        self.groups = torch.zeros(0, dtype=torch.int64)
        self.seen = 0

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, rows: Rows, task: int, device: torch.device) -> None:
        """Take in a finished task's rows, as training sees them; draws from torch's generator."""
        places = [range(start, min(start + READ, len(rows))) for start in range(0, len(rows), READ)]
        new = join([rows.batch(place, training=True).to(device) for place in places])
        fresh = torch.full((len(new),), task) if new.labels is None else new.labels.cpu()
        everything = new if self.rows is None else join([self.rows, new])
        groups = torch.cat([self.groups, fresh])
        old = len(self)
        keep = self._reservoir(old, len(new)) if self.policy == "reservoir" else self._balanced(groups)
        self.seen += len(new)
        self.rows, self.groups = chosen(everything, keep), groups[keep]

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

    def _balanced(self, groups: Tensor) -> list[int]:
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
        """Return at most `count` different rows at random, without the padding that they do not need."""
        assert self.rows is not None
        places = torch.randperm(len(self))[:count].tolist()
        return trimmed(chosen(self.rows, places))

    def bytes(self) -> int:
        """Return how many bytes the stored rows take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state().values())

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

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `state` returned."""
        self.groups, self.seen = state["groups"], int(state["seen"])
        self.rows = None
        if len(self.groups):
            prefix = "inputs."
            inputs = {n.removeprefix(prefix): x for n, x in state.items() if n.startswith(prefix)}
            rows = list(range(len(self.groups)))
            left = bool(state["left"])
            self.rows = Batch(inputs, state.get("labels"), state.get("targets"), rows, left).to(device)


def chosen(batch: Batch, places: Iterable[int]) -> Batch:
    """Return the rows of a batch at the given places."""
    index = torch.as_tensor(list(places), dtype=torch.int64)
    return Batch(
        {name: tensor[index] for name, tensor in batch.inputs.items()},
        None if batch.labels is None else batch.labels[index],
        None if batch.targets is None else batch.targets[index],
        list(range(len(index))),
        batch.left,
    )


def trimmed(batch: Batch) -> Batch:
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
