"""A small random model of each kind, for trials and tests: what a real backbone has, drawn in an instant."""

from __future__ import annotations

from typing import Any

HIDDEN, BLOCKS = 32, 2


def small_model(kind: str, vocabulary: int, pad: int = 0, start: int = 1, end: int = 2) -> Any:
    """Return a fresh linear layer, ViT, BERT, T5 or Llama, drawn wide enough that inputs make a difference.

    Args:
        kind: of backbone.
        vocabulary: how many tokens it knows.
        pad: token id of padding, with which a T5's answers also begin.
        start: token id at the start of a Llama's text.
        end: token id at the end of an answer.
    """
    import transformers

    from benchmark.models import backbone as backbones
    from benchmark.models.linear import make_module

    if kind == "vector":
        return make_module()
    backbones.quiet(transformers)
    wide: dict[str, Any] = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "initializer_range": 0.2,
    }
    text: dict[str, Any] = {"vocab_size": vocabulary, "pad_token_id": pad}
    if kind == "image":
        image = transformers.ViTConfig(**wide, image_size=16, patch_size=8)
        return transformers.ViTModel(image, add_pooling_layer=False)
    if kind == "encoder":
        encoder = transformers.BertConfig(**wide, **text, max_position_embeddings=48)
        return transformers.BertModel(encoder, add_pooling_layer=False)
    if kind == "seq2seq":
        shape: dict[str, Any] = {
            "d_model": HIDDEN,
            "num_layers": BLOCKS,
            "num_decoder_layers": BLOCKS,
            "num_heads": 2,
            "d_kv": 16,
            "d_ff": 48,
            "eos_token_id": end,
            "decoder_start_token_id": pad,
        }
        return transformers.T5ForConditionalGeneration(transformers.T5Config(**text, **shape))
    causal = transformers.LlamaConfig(
        **wide, **text, max_position_embeddings=64, bos_token_id=start, eos_token_id=end
    )
    return transformers.LlamaForCausalLM(causal)
