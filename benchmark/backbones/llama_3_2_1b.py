"""llama-3.2-1b: Llama 3.2, 1 B parameters (gated: accept the licence on the hub first)."""

from typing import Any

from benchmark.models.backbone import Backbone


def shape() -> Any:
    """Return the model's configuration as far as it decides sizes; from memory, like the hub id."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )


BACKBONE = Backbone(
    kind="causal",
    licence="Llama 3.2 Community License",
    hub_id="meta-llama/Llama-3.2-1B",
    recalled=True,
    shape=shape,
)
