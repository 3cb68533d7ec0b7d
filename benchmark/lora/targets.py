"""Adapter targets: by role (what a linear layer does, whatever it is called), by module name, or all of them.

A target is a role such as `query`; `module:NAME`, every linear layer of that name, as for fused projections
(`module:query_key_value`, `module:c_attn`); or `all-linear`, every linear layer but the output embeddings, as
peft means it.
"""

from __future__ import annotations

from torch import nn

from benchmark.errors import UserError, unknown
from benchmark.models import blocks as stacks

ALIASES: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_proj", "q", "q_lin", "query_proj"),
    "key": ("key", "k_proj", "k", "k_lin", "key_proj"),
    "value": ("value", "v_proj", "v", "v_lin", "value_proj"),
    "output": ("attention.output.dense", "crossattention.output.dense", "o_proj", "o", "out_proj", "out_lin"),
    "gate": ("gate_proj", "wi_1"),
    "up": ("intermediate.dense", "fc1", "up_proj", "wi", "wi_0", "lin1"),
    "down": ("output.dense", "fc2", "down_proj", "wo", "lin2"),
    "projection": ("projection",),
}
MODULE, EVERY = "module:", "all-linear"


def role_of(name: str) -> str | None:
    """Return the role of a module by its dotted name, or None; the longest matching alias decides."""
    best: tuple[int, str] | None = None
    for role, aliases in ALIASES.items():
        for alias in aliases:
            matches = name == alias or name.endswith(f".{alias}")
            if matches and (best is None or len(alias) > best[0]):
                best = (len(alias), role)
    return best[1] if best else None


def find_targets(
    module: nn.Module, targets: tuple[str, ...], choice: str = stacks.ALL
) -> dict[str, nn.Linear]:
    """Return the linear layers of a model that `targets` mean, by dotted name, in model order.

    Args:
        choice: which blocks they may lie in, see `benchmark.models.blocks`.

    Raises:
        UserError: a target is unknown, no layer of the model is meant by it, or none lies in these blocks.
    """
    linears = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    chosen: set[str] = set()
    for target in targets:
        meant = _meant(module, linears, target)
        if not meant:
            raise _nothing_meant(module, linears, target)
        chosen |= meant
    found = {name: layer for name, layer in linears.items() if name in chosen}
    return stacks.inside(module, found, choice)


def _meant(module: nn.Module, linears: dict[str, nn.Linear], target: str) -> set[str]:
    if target == EVERY:
        output = getattr(module, "get_output_embeddings", lambda: None)()
        return {name for name, layer in linears.items() if layer is not output}
    if target.startswith(MODULE):
        wanted = target.removeprefix(MODULE)
        return {name for name in linears if wanted and (name == wanted or name.endswith(f".{wanted}"))}
    if target not in ALIASES:
        raise unknown("adapter target", target, (*ALIASES, EVERY, f"{MODULE}NAME"), "bench list protocols")
    return {name for name in linears if role_of(name) == target}


def _nothing_meant(module: nn.Module, linears: dict[str, nn.Linear], target: str) -> UserError:
    """Return the error that lists what there is: roles, and the names of layers that play none."""
    roles = sorted({role for name in linears if (role := role_of(name))})
    others = sorted({MODULE + name.rpartition(".")[2] for name in linears if role_of(name) is None})
    return UserError(
        f"the backbone {type(module).__name__} has no linear layer for the target '{target}'; "
        f"it has: {', '.join([*roles, *others[:8]]) or 'none'} (set with --set targets=...)"
    )


def block_of(name: str) -> int:
    """Return the transformer block of a layer's dotted name, counted from 0; 0 where there are no blocks.

    A seq2seq model's encoder and decoder are counted each from 0.
    """
    numbers = [part for part in name.split(".") if part.isdecimal()]
    return int(numbers[0]) if numbers else 0
