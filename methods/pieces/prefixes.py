"""Prefixes: keys and values put before those of an attention layer (Li and Liang, arXiv 2101.00190)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.errors import UserError
from benchmark.lora.targets import role_of
from benchmark.models.backbone import LoadedBackbone
from methods.pieces.prompt_tokens import sample

# The name under which transformers calls the attention below.
ATTENTION = "prefixed"


class Prefixes:
    """The attention layers of a model, one a block, and what is put before their keys and values.

    transformers lets an attention function be registered by name; the one here joins the prefix to what the
    layer has projected and leaves the rest to torch's own attention. Without a prefix it is that.

    Attributes:
        layers: the attention layers, in model order.
        width: of a key, over all heads.
    """

    def __init__(self, backbone: LoadedBackbone) -> None:
        """Let the model attend through the function here, and try.

        Raises:
            UserError: the architecture has attention of its own kind.
        """
        module: Any = backbone.module
        names = [
            name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and _is_key(name)
        ]
        self.layers = [module.get_submodule(name.rpartition(".")[0]) for name in names]
        self.width = module.get_submodule(names[0]).out_features if names else 0
        try:
            _register()
            module.set_attn_implementation(ATTENTION)
            self._try(backbone)
        except (AttributeError, ValueError, RuntimeError, TypeError) as error:
            raise UserError(
                f"the backbone {type(module).__name__} cannot take prefixes of keys and values: "
                f"{' '.join(str(error).split())}"
            ) from error

    @torch.no_grad()
    def _try(self, backbone: LoadedBackbone) -> None:
        """See that a prefix of each layer alone changes what the model says."""
        if not self.layers:
            raise ValueError("no layer is known to make its keys")
        inputs = sample(backbone, length=4)
        plain = backbone.module(**inputs).last_hidden_state
        for block in range(len(self.layers)):
            prefix = plain.new_full((2, 1, 1, self.width), 10.0)
            with self.holding({block: prefix}):
                if torch.equal(backbone.module(**inputs).last_hidden_state, plain):
                    raise ValueError(f"the attention of block {block} does not look at one")

    @contextmanager
    def holding(self, prefixes: Mapping[int, Tensor]) -> Iterator[None]:
        """Within the context, attend to these as well.

        Args:
            prefixes: by block, keys and values `(2, n, p, width)`; n may be 1 for all rows.
        """
        before = {block: getattr(self.layers[block], "prefix", None) for block in prefixes}
        self._set(prefixes)
        try:
            yield
        finally:
            self._set(before)

    def _set(self, prefixes: Mapping[int, Tensor | None]) -> None:
        for block, prefix in prefixes.items():
            # Not through the module's own way, which would make a parameter of one.
            vars(self.layers[block])["prefix"] = prefix


def spans(blocks: int, *ends: int) -> list[range]:
    """Return adjoining ranges of blocks that lie as deep as in a ViT-B of 12: up to each end, none empty.

    Args:
        blocks: of the model at hand.
        ends: where the ranges end in 12 blocks, rising.

    Raises:
        UserError: there are fewer blocks than ranges.
    """
    if blocks < len(ends):
        raise UserError(
            f"prompts in {len(ends)} ranges of blocks need a backbone of {len(ends)} blocks or more, "
            f"not of {blocks}"
        )
    found: list[range] = []
    for number, end in enumerate(ends):
        start = found[-1].stop if found else 0
        # Rounded up, and with a block left for each range to come.
        stop = min(max(-(-end * blocks // 12), start + 1), blocks - (len(ends) - number - 1))
        found.append(range(start, stop))
    return found


def _is_key(name: str) -> bool:
    return role_of(name) == "key"


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Attend with the layer's prefix before keys and values `(n, heads, length, head width)`."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    prefix: Tensor | None = getattr(module, "prefix", None)
    if prefix is not None:
        rows, heads, _, width = key.shape
        # (2, n or 1, p, heads x width) to (2, n, heads, p, width).
        shaped = prefix.to(key).unflatten(-1, (heads, width)).transpose(2, 3).expand(-1, rows, -1, -1, -1)
        key, value = torch.cat([shaped[0], key], 2), torch.cat([shaped[1], value], 2)
        if attention_mask is not None:
            seen = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = functional.pad(attention_mask, (prefix.shape[2], 0), value=seen)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
