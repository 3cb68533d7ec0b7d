"""Adapter targets by role: what a linear layer does, whatever its architecture calls it."""

from __future__ import annotations

from torch import nn

from benchmark.errors import UserError, unknown
from benchmark.models import blocks as stacks

ALIASES: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_proj", "q", "q_lin"),
    "key": ("key", "k_proj", "k", "k_lin"),
    "value": ("value", "v_proj", "v", "v_lin"),
    "output": ("attention.output.dense", "crossattention.output.dense", "o_proj", "o", "out_proj", "out_lin"),
    "gate": ("gate_proj", "wi_1"),
    "up": ("intermediate.dense", "fc1", "up_proj", "wi", "wi_0", "lin1"),
    "down": ("output.dense", "fc2", "down_proj", "wo", "lin2"),
    "projection": ("projection",),
}


def role_of(name: str) -> str | None:
    """Return the role of a module by its dotted name, or None; the longest matching alias decides."""
    best: tuple[int, str] | None = None
    for role, aliases in ALIASES.items():
        for alias in aliases:
            matches = name == alias or name.endswith(f".{alias}")
            if matches and (best is None or len(alias) > best[0]):
                best = (len(alias), role)
    return best[1] if best else None


def find_targets(module: nn.Module, roles: tuple[str, ...], choice: str = stacks.ALL) -> dict[str, nn.Linear]:
    """Return the linear layers of a model that play one of `roles`, by dotted name, in model order.

    Args:
        choice: which blocks they may lie in, see `benchmark.models.blocks`.

    Raises:
        UserError: a role is unknown, no layer of the model plays one of them, or none in these blocks.
    """
    for role in roles:
        if role not in ALIASES:
            raise unknown("adapter target", role, ALIASES, "bench list protocols")
    linears = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    found = {name: layer for name, layer in linears.items() if role_of(name) in roles}
    for role in roles:
        if not any(role_of(name) == role for name in found):
            roles_here = sorted({here for name in linears if (here := role_of(name))})
            raise UserError(
                f"the backbone {type(module).__name__} has no linear layer for the target '{role}'; "
                f"it has: {', '.join(roles_here) or 'none that is known'} (set with --set targets=...)"
            )
    return stacks.inside(module, found, choice)


def block_of(name: str) -> int:
    """Return the transformer block of a layer's dotted name, counted from 0; 0 where there are no blocks.

    A seq2seq model's encoder and decoder are counted each from 0.
    """
    numbers = [part for part in name.split(".") if part.isdecimal()]
    return int(numbers[0]) if numbers else 0
