"""Which layers a role means: found once in every kind of model, named where there is none."""

from __future__ import annotations

import pytest
from torch import nn

from benchmark.errors import UserError
from benchmark.lora.stack import AdapterStack
from benchmark.lora.targets import find_targets, role_of
from tests import tiny
from tests.test_adapter_stack import Two

# The tiny models have 2 blocks. T5 has an encoder and a decoder, whose blocks attend to themselves and
# to the encoder. So it has 2 + 2 * 2 = 6 of each attention layer, and 2 + 2 = 4 feed-forward pairs.
COUNTS = {
    "vector": {"projection": 1},
    "image": {"query": 2, "key": 2, "value": 2, "output": 2, "up": 2, "down": 2},
    "encoder": {"query": 2, "key": 2, "value": 2, "output": 2, "up": 2, "down": 2},
    "seq2seq": {"query": 6, "key": 6, "value": 6, "output": 6, "up": 4, "down": 4},
    "causal": {"query": 2, "key": 2, "value": 2, "output": 2, "gate": 2, "up": 2, "down": 2},
}


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_roles_find_every_layer_once(kind: str) -> None:
    module = tiny.backbone(kind).module
    for role, count in COUNTS[kind].items():
        assert len(find_targets(module, (role,))) == count, role
    every = find_targets(module, tuple(COUNTS[kind]))
    assert len(every) == sum(COUNTS[kind].values())
    heads = [n for n, m in module.named_modules() if isinstance(m, nn.Linear) and n not in every]
    assert heads in ([], ["lm_head"])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        # BERT's attention output ends like its feed-forward output; the longer alias decides.
        ("encoder.layer.0.attention.output.dense", "output"),
        ("encoder.layer.0.output.dense", "down"),
        ("encoder.layer.0.intermediate.dense", "up"),
        ("decoder.block.0.layer.1.EncDecAttention.q", "query"),
        ("transformer.layer.3.attention.out_lin", "output"),
        ("deberta.encoder.layer.2.attention.self.query_proj", "query"),
        ("deberta.encoder.layer.2.attention.self.key_proj", "key"),
        ("deberta.encoder.layer.2.attention.self.value_proj", "value"),
        ("faq", None),
        ("classifier", None),
    ],
)
def test_role_of_a_name(name: str, role: str | None) -> None:
    assert role_of(name) == role


def fused() -> nn.Module:
    """Return two blocks as GPT-NeoX names them, and an output layer."""
    block = nn.ModuleDict({"query_key_value": nn.Linear(4, 12), "dense": nn.Linear(4, 4)})
    model = nn.ModuleDict({"layers": nn.ModuleList([block, nn.ModuleDict(dict(block.items()))])})
    model["embed_out"] = nn.Linear(4, 9)
    model["layers"][1]["query_key_value"] = nn.Linear(4, 12)
    model.get_output_embeddings = lambda: model["embed_out"]
    return model


def test_fused_projections_are_meant_by_name() -> None:
    found = find_targets(fused(), ("module:query_key_value",))
    assert list(found) == ["layers.0.query_key_value", "layers.1.query_key_value"]
    assert list(find_targets(fused(), ("module:layers.1.query_key_value",))) == ["layers.1.query_key_value"]
    with pytest.raises(UserError, match=r"target 'query'; it has: .*module:dense, .*module:query_key_value"):
        find_targets(fused(), ("query",))
    with pytest.raises(UserError, match="no linear layer for the target 'module:key_value'"):
        find_targets(fused(), ("module:key_value",))


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
def test_all_linear_means_what_peft_means(kind: str) -> None:
    from peft import LoraConfig, get_peft_model

    theirs = get_peft_model(tiny.backbone(kind).module, LoraConfig(target_modules="all-linear"))
    wrapped = {
        name for name, layer in theirs.base_model.model.named_modules() if hasattr(layer, "base_layer")
    }
    assert set(find_targets(tiny.backbone(kind).module, ("all-linear",))) == wrapped


def test_missing_role_names_what_exists() -> None:
    with pytest.raises(UserError, match=r"no linear layer for the target 'gate'; it has: .*query, up, value"):
        AdapterStack(tiny.backbone("encoder").module, ("gate",), 2)


def test_one_missing_role_among_several_is_not_passed_over() -> None:
    with pytest.raises(UserError, match="'gate'"):
        AdapterStack(tiny.backbone("encoder").module, ("query", "gate"), 2)


def test_unknown_role_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="query"):
        AdapterStack(Two(), ("qury",), 2)


def test_rank_larger_than_a_layer_names_the_layer() -> None:
    with pytest.raises(UserError, match=r"rank 4 exceeds the layer value of 4 x 3"):
        AdapterStack(Two(), ("query", "value"), 4)
