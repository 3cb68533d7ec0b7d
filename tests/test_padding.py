"""Padding changes nothing: a text has the same loss and answer alone and beside longer ones."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from benchmark.data.batches import TokenRows
from benchmark.models import backbone as backbones
from tests import tiny

# Every size under every name that architectures have for it; each takes those it knows.
SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "init_std": 0.2,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "d_model": 32,
    "d_ff": 48,
    "d_kv": 16,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}
CAUSAL: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Mistral": {},
    "Qwen2": {},
    "Qwen3": {},
    "Gemma": {},
    "Gemma2": {},
    "Phi": {},
    "Phi3": {},
    "GPT2": {},
    "GPTNeo": {"attention_types": [[["global", "local"], 1]]},
    "GPTNeoX": {},
    "GPTJ": {"rotary_dim": 8},
    "GPTBigCode": {},
    "CodeGen": {"rotary_dim": 8, "n_head": 4, "num_attention_heads": 4, "n_embd": 64, "hidden_size": 64},
    "OpenAIGPT": {},
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "Bloom": {},
    "Falcon": {"head_dim": None},
    "StableLm": {},
    "Starcoder2": {},
    "Olmo2": {},
    "Cohere": {},
    "Granite": {},
    "SmolLM3": {},
    "BioGpt": {},
    "XGLM": {"attention_heads": 2, "ffn_dim": 48},
    "CTRL": {"dff": 48},
}
SEQ2SEQ: dict[str, dict[str, Any]] = {
    "T5": {},
    "MT5": {},
    "LongT5": {"local_radius": 4},
    "UMT5": {},
    "SwitchTransformers": {"num_experts": 2, "expert_capacity": 64},
    "Bart": {},
    "MBart": {},
    "Blenderbot": {},
    "BlenderbotSmall": {},
    "Pegasus": {},
    "Marian": {},
    "M2M100": {},
    "PLBart": {},
}


def make(name: str, kind: str, given: dict[str, Any]) -> Any:
    """Return a random model of an architecture, small and drawn wide."""
    config_class = getattr(transformers, f"{name}Config", None)
    if config_class is None:
        pytest.skip(f"this transformers has no {name}")
    auto = transformers.AutoModelForCausalLM if kind == "causal" else transformers.AutoModelForSeq2SeqLM
    torch.manual_seed(0)
    sizes = {setting: value for setting, value in (SIZES | given).items() if value is not None}
    return auto.from_config(config_class(**sizes), trust_remote_code=False).eval()


def loaded(name: str, kind: str, folder: Path) -> Any:
    """Save a random model as a folder with a tokenizer, and load it as a backbone."""
    given = (CAUSAL if kind == "causal" else SEQ2SEQ)[name]
    make(name, kind, given).save_pretrained(folder)
    tiny.tokenizer(kind).save_pretrained(folder)
    return backbones.load(str(folder))


def losses(backbone: Any, rows: TokenRows, chosen: list[int]) -> list[float]:
    """Return the mean loss of each row's answer, from one pass over the chosen rows."""
    batch = rows.batch(chosen, training=True)
    with torch.no_grad():
        logits = backbone.module(**batch.inputs, labels=batch.targets).logits.double()
    targets = batch.targets
    assert targets is not None
    if rows.causal:
        logits, targets = logits[:, :-1], targets[:, 1:]
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return (each.sum(1) / (targets != -100).sum(1)).tolist()


@pytest.mark.parametrize(
    ("kind", "name"), [*(("causal", name) for name in CAUSAL), *(("seq2seq", name) for name in SEQ2SEQ)]
)
def test_losses_and_scores_do_not_depend_on_the_batch(kind: str, name: str, tmp_path: Path) -> None:
    backbone = loaded(name, kind, tmp_path / "m")
    drawn = torch.Generator().manual_seed(1)
    lengths = [3 + row % 17 for row in range(64)]
    prompts = [torch.randint(3, 50, (length,), generator=drawn).tolist() for length in lengths]
    answers = [[*torch.randint(3, 50, (1 + row % 3,), generator=drawn).tolist(), 2] for row in range(64)]
    rows = TokenRows(prompts, 0, None, answers, kind == "causal")
    together = losses(backbone, rows, list(range(64)))
    alone = [loss for row in range(0, 64, 7) for loss in losses(backbone, rows, [row])]
    assert alone == pytest.approx(together[::7], abs=1e-4)


def test_positions_of_a_left_padded_text_begin_at_its_first_token(tmp_path: Path) -> None:
    backbone = loaded("GPT2", "causal", tmp_path / "m")
    seen: list[torch.Tensor] = []
    embed = backbone.module.transformer.wpe
    embed.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    batch = TokenRows([[5, 6], [7, 8, 9, 10]], 0, causal=True).batch([0, 1])
    backbone.module(**batch.inputs)
    # Two of padding, then positions 0 and 1; padding has the position 0, whatever that is.
    assert seen[-1].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    given = {**batch.inputs, "position_ids": torch.full((2, 4), 3)}
    backbone.module(**given)
    assert seen[-1].tolist() == [[3] * 4] * 2
    # A copy, such as a teacher, counts as well.
    copied = copy.deepcopy(backbone.module)
    copied(**batch.inputs)
    assert seen[-1].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
