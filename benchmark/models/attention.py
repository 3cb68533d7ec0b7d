"""Flash attention, where a run asks for it: the package flash-attn on a GPU, in bfloat16.

Its sums run in another order, so it is a setting of the protocol. It drops padding itself, for which it waits
for the GPU once a pass, and takes no mask of single pairs of tokens, which label decoding of a causal model
needs.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.protocol import Protocol


def use_attention(module: Any, kind: str, protocol: Protocol, device: torch.device) -> None:
    """Let a model attend as the protocol says.

    Args:
        module: of transformers.
        kind: of backbone.

    Raises:
        UserError: flash attention is asked for and is not to be had; the line says why.
    """
    if protocol.attention == "default":
        return
    from transformers.utils import is_flash_attn_2_available

    if device.type != "cuda":
        reason = f"it needs a GPU (--device cuda), and this run is on {device.type}"
    elif protocol.precision != "bf16":
        reason = f"it computes in bf16, and protocol.precision={protocol.precision}"
    elif kind == "causal" and protocol.picks_labels:
        reason = "it takes no mask that label decoding needs (protocol.decoding=greedy does without)"
    elif not is_flash_attn_2_available():
        reason = "the package flash-attn is not installed for this machine's GPU"
    elif not getattr(module, "_supports_flash_attn", False):
        reason = f"the backbone {type(module).__name__} has none"
    else:
        # Read at each pass: its gradient has no fixed order of sums otherwise.
        os.environ["FLASH_ATTENTION_DETERMINISTIC"] = "1"
        module.set_attn_implementation("flash_attention_2")
        return
    raise UserError(f"protocol.attention=flash: {reason}; the value without it is default")
