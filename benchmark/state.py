"""A method's state by name: entries under a prefix, and lists of tensors as numbered entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries under a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def numbered(**lists: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the tensors of lists as entries of a state, `name.0`, `name.1` and so on."""
    return {f"{name}.{i}": value.detach() for name, values in lists.items() for i, value in enumerate(values)}


def listed(state: Mapping[str, Tensor], name: str, device: torch.device) -> list[Tensor]:
    """Return the list that `numbered` wrote under a name, on a device; empty if there is none."""
    found = part(state, f"{name}.")
    return [found[str(i)].to(device) for i in range(len(found))]
