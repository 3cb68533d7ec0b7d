"""What of a method outlives a task: declared once, and from that saved, restored and counted.

A method names its attributes in `keeps`, such as

    keeps = learned("network", "keys") + auxiliary("old_inputs")

An attribute holds None, a tensor, a list or a dictionary of tensors, or objects with `state()` and
`restore(state)` of their own. Its tensors are saved under its name: `network.0`, `old_inputs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Kept:
    """An attribute that outlives a task.

    Attributes:
        trained: its tensors are parameters.
        auxiliary: it is counted in bytes, as statistics and old rows are, not in numbers that are learned.
        in_memory: it is needed while predicting.
        of: what the elements of a list or dictionary are that is empty at first: a class with `restore` and
            without arguments, or dict.
        flat: its tensors are saved without its name before theirs.
    """

    name: str
    trained: bool = False
    auxiliary: bool = False
    in_memory: bool = True
    of: type | None = None
    flat: bool = False


def learned(*names: str, in_memory: bool = True, of: type | None = None) -> tuple[Kept, ...]:
    """Declare attributes that are, or hold, trained parameters."""
    return tuple(Kept(name, trained=True, in_memory=in_memory, of=of) for name in names)


def stored(*names: str, in_memory: bool = True) -> tuple[Kept, ...]:
    """Declare attributes that were learned and are trained no more."""
    return tuple(Kept(name, in_memory=in_memory) for name in names)


def auxiliary(*names: str, of: type | None = None) -> tuple[Kept, ...]:
    """Declare attributes that are kept between tasks besides what is learned: statistics, keys, old rows."""
    return tuple(Kept(name, auxiliary=True, of=of) for name in names)


@dataclass(frozen=True)
class Sizes:
    """How much is kept.

    Attributes:
        stored: learned numbers on disk.
        in_memory: learned numbers in memory while predicting.
        auxiliary_bytes: everything else.
    """

    stored: int = 0
    in_memory: int = 0
    auxiliary_bytes: int = 0

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(
            self.stored + other.stored,
            self.in_memory + other.in_memory,
            self.auxiliary_bytes + other.auxiliary_bytes,
        )


def collect_declared(owner: object) -> list[Kept]:
    """Return what an object's classes declare in `keeps`; a subclass may declare a name again."""
    found: dict[str, Kept] = {}
    for kind in reversed(type(owner).__mro__):
        found |= {kept.name: kept for kept in vars(kind).get("keeps", ())}
    return list(found.values())


def collect_saved(owner: object) -> dict[str, Tensor]:
    """Return the tensors of all that an object declares."""
    state: dict[str, Tensor] = {}
    for kept in collect_declared(owner):
        tensors = tensors_of(getattr(owner, kept.name))
        own = tensors if kept.flat else {_join_names(kept.name, name): x for name, x in tensors.items()}
        twice = _attributes(state) & _attributes(own)
        if twice:
            raise ValueError(f"{type(owner).__name__} and what it holds both keep {', '.join(sorted(twice))}")
        state |= own
    return state


def _attributes(state: Mapping[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in state}


def restore(owner: object, state: Mapping[str, Tensor], device: torch.device) -> None:
    """Set all that an object declares to what `collect_saved` returned, on a device."""
    moved = {name: tensor.to(device) for name, tensor in state.items()}
    for kept in collect_declared(owner):
        own = moved if kept.flat else part(moved, f"{kept.name}.")
        if kept.name in moved:
            own[""] = moved[kept.name]
        setattr(owner, kept.name, _restore_value(getattr(owner, kept.name), own, kept))


def sizes(owner: object) -> Sizes:
    """Return how much of all that an object declares there is."""
    total = Sizes()
    for kept in collect_declared(owner):
        value = getattr(owner, kept.name)
        for each in value if isinstance(value, list) else [value]:
            total += _size(each, kept)
    return total


def _size(value: Any, kept: Kept) -> Sizes:
    if hasattr(value, "sizes"):
        own: Sizes = value.sizes()
        return own if kept.in_memory else Sizes(own.stored, 0, own.auxiliary_bytes)
    tensors = tensors_of(value).values()
    if kept.auxiliary:
        return Sizes(auxiliary_bytes=sum(tensor.nbytes for tensor in tensors))
    numbers = sum(tensor.numel() for tensor in tensors)
    return Sizes(numbers, numbers if kept.in_memory else 0)


def tensors_of(value: Any) -> dict[str, Tensor]:
    """Return the tensors of a value by name; that of a tensor itself is empty."""
    if value is None:
        return {}
    if isinstance(value, Tensor):
        return {"": value.detach()}
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, Sequence):
        items = list(enumerate(value))
    else:
        return dict(value.state())
    return {
        _join_names(key, name): tensor for key, each in items for name, tensor in tensors_of(each).items()
    }


def _join_names(first: object, second: str) -> str:
    return f"{first}.{second}" if second else str(first)


def _restore_value(value: Any, state: dict[str, Tensor], kept: Kept) -> Any:
    """Return what replaces a value: itself where it takes over a state, else what the state holds."""
    if hasattr(value, "restore"):
        value.restore(state)
        return value
    if isinstance(value, list):
        elements = value if value and hasattr(value[0], "restore") else None
        names = {int(name.split(".")[0]) for name in state}
        return [
            _restore_value(elements[i] if elements else _fresh(kept), _at(state, str(i)), kept)
            for i in (range(len(elements)) if elements else sorted(names))
        ]
    if isinstance(value, dict):
        objects = {name: each for name, each in value.items() if hasattr(each, "restore")}
        if objects:
            return {name: _restore_value(each, _at(state, name), kept) for name, each in objects.items()}
        return {name: _restore_value(None, {"": tensor}, kept) for name, tensor in state.items()}
    if "" not in state:
        return None
    return nn.Parameter(state[""]) if kept.trained else state[""]


def _fresh(kept: Kept) -> Any:
    return None if kept.of is None else kept.of()


def _at(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    own = part(state, f"{name}.")
    if name in state:
        own[""] = state[name]
    return own


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries under a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
