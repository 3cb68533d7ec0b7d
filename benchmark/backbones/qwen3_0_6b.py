"""qwen3-0.6b: Qwen3, 0.6 B parameters."""

from typing import Any

from benchmark.models.backbone import Backbone


def shape() -> Any:
    """Return the model's configuration as far as it decides sizes; from memory, like the hub id."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )


BACKBONE = Backbone(kind="causal", licence="Apache-2.0", hub_id="Qwen/Qwen3-0.6B", recalled=True, shape=shape)
