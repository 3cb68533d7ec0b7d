"""Positions of tokens: counted from the first real one, and no more than a model has."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from benchmark.protocol import Protocol


def count_from_mask(module: nn.Module) -> None:
    """Let every forward pass of a causal model take its position ids from the mask.

    Padding stands left there. A model that numbers tokens by their place in the batch would give a text other
    scores beside a longer one. Passes that bring position ids keep theirs.
    """
    if "position_ids" in inspect.signature(module.forward).parameters:
        module.register_forward_pre_hook(_add_positions, with_kwargs=True)


def _add_positions(
    module: nn.Module, arguments: tuple[Any, ...], given: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    mask = given.get("attention_mask")
    inputs = given.get("input_ids") if given.get("input_ids") is not None else given.get("inputs_embeds")
    if mask is None or inputs is None or mask.dim() != 2 or given.get("position_ids") is not None:
        return None
    # With a cache the mask covers what is cached too; the inputs are its end.
    places = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
    return arguments, given | {"position_ids": places}


def position_limit(module: nn.Module) -> int | None:
    """Return how many tokens a model takes; None where its positions are relative and have no end."""
    from torch import nn

    config: Any = getattr(module, "config", None)
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    for name, part in module.named_modules():
        # RoBERTa and its kin number tokens from behind the padding id.
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            if part.padding_idx is not None:
                return part.num_embeddings - part.padding_idx - 1
            return min(limit, part.num_embeddings)
    return limit


def require_positions(module: nn.Module, kind: str, protocol: Protocol, name: str) -> None:
    """Raise `UserError` where a protocol's texts may be longer than a model's positions.

    A causal model reads prompt and answer as one sequence; a seq2seq model reads one and writes the other.
    """
    limit = position_limit(module)
    if limit is None or kind not in ("encoder", "seq2seq", "causal"):
        return
    source, target = protocol.source_length, protocol.target_length
    if kind == "causal" and source + target > limit:
        raise UserError(
            f"the backbone '{name}' takes at most {limit} tokens, and source_length {source} with "
            f"target_length {target} may make {source + target}; set them lower "
            f"(--set protocol.source_length={max(1, limit - target)})"
        )
    longest = {"source_length": source} | ({"target_length": target} if kind == "seq2seq" else {})
    for setting, length in longest.items():
        if length > limit:
            raise UserError(
                f"the backbone '{name}' takes at most {limit} tokens, and {setting} is {length}; set it "
                f"lower (--set protocol.{setting}={limit})"
            )
