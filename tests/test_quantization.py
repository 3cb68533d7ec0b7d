"""Frozen weights in 8 and 4 bits: adapters beside them, what is refused, and what is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.lora.stack import AdapterStack
from benchmark.models import backbone as backbones
from benchmark.models.attention import use_attention
from benchmark.models.placement import Placement, require_sound_unpacking
from benchmark.protocol import Protocol
from benchmark.publishing.export import write_lora
from benchmark.publishing.leaderboard import _device
from benchmark.registry import METHODS
from benchmark.running.accumulation import require_cheaper_steps
from benchmark.running.building import build
from benchmark.running.gpu_memory import step_memory
from benchmark.running.kept_tensors import Kept
from benchmark.running.run import Run
from tests import tiny
from tests.factories import result
from tests.test_accumulation import large_model

CPU = torch.device("cpu")
NAMES = ("llama-3.2-1b", "qwen3-0.6b")
WIDTH = 64
"""Of rows: a block of 4-bit weights, as narrower ones are read wrongly by bitsandbytes on some processors."""
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra `quantized` is not installed"
)


def saved(name: str, folder: Path) -> Path:
    """Write a tiny random model of a large preset's class, and a tokenizer of whole words."""
    torch.manual_seed(0)
    large_model(name, WIDTH).save_pretrained(folder)
    tiny.tokenizer("causal").save_pretrained(folder)
    return folder


def loaded(folder: Path, quantization: Any) -> Any:
    given = Placement(CPU, quantization=quantization)
    return backbones.load_pretrained(str(folder), "tiny", placement=given).module.eval()


IDS = torch.arange(3, 43).view(4, 10)


@needs_bitsandbytes
@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("name", NAMES)
def test_adapters_are_added_to_what_a_quantized_layer_answers(
    name: str, quantization: str, tmp_path: Path
) -> None:
    plain, module = loaded(saved(name, tmp_path), "none"), loaded(tmp_path, quantization)
    x = torch.randn(2, 3, WIDTH)
    with torch.no_grad():
        base = module(input_ids=IDS).logits
        exact, packed = (each.model.layers[0].self_attn.q_proj(x) for each in (plain, module))
    # Of normal weights, 127 steps a row are some 1 % off, and 16 values for 64 weights some 10 %.
    assert 0 < (packed - exact).norm() < {"int8": 0.02, "nf4": 0.15}[quantization] * exact.norm()

    stack = AdapterStack(module, ("query", "value", "down"), 2, 0.5)
    stack.add(0)
    tiny.randomise(stack)
    layer = next(iter(stack.layers.values()))
    lora_a, lora_b = stack.parameters()[:2]
    with torch.no_grad():
        assert torch.allclose(layer(x), layer.base(x) + 0.5 * x @ lora_a.t() @ lora_b.t(), atol=1e-5)
    # After a pass without gradients there still are some, which 4-bit weights packed for a CPU would lose.
    module(input_ids=IDS).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in stack.parameters())

    with torch.no_grad():
        beside = module(input_ids=IDS).logits
        assert (beside - base).norm() > 0.01 * base.norm()
        with stack.merged_for_prediction():
            assert torch.equal(module(input_ids=IDS).logits, beside)
        stack.freeze_current()
        stack.merge_frozen()
        assert torch.equal(module(input_ids=IDS).logits, beside)
        factors = stack.sum()
        state = stack.state()
        stack.restore(state)
        assert torch.equal(module(input_ids=IDS).logits, beside)
        stack.unmerge()
        stack.leave_out_frozen()
        assert torch.equal(module(input_ids=IDS).logits, base)
    write_lora(factors, tmp_path / "out", str(tmp_path))
    with pytest.raises(UserError, match=r"pretrained weights.*the only valid value for it is none"):
        _ = layer.weight
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(loaded(tmp_path, quantization), str(tmp_path / "out")).eval()
    with torch.no_grad():
        # 8-bit inputs of later layers may round the other way.
        assert (theirs(input_ids=IDS).logits - beside).norm() < 0.01 * beside.norm()


@needs_bitsandbytes
def test_an_adapter_merged_for_good_stays_beside_a_quantized_layer(tmp_path: Path) -> None:
    module = loaded(saved("llama-3.2-1b", tmp_path), "nf4")
    stack = AdapterStack(module, ("query",), 2)
    stack.add(0)
    tiny.randomise(stack)
    with torch.no_grad():
        beside = module(input_ids=IDS).logits
        stack.merge_current()
        assert torch.allclose(module(input_ids=IDS).logits, beside, atol=1e-4)


@needs_bitsandbytes
def test_a_run_is_built_on_quantized_weights_and_learns(tmp_path: Path) -> None:
    folder = saved("llama-3.2-1b", tmp_path)
    chosen = tiny.protocol("causal", quantization="nf4", epochs=1)
    tasks = tiny.tasks("causal", 2)
    run = Run("seq-lora", "tiny", "1", 0, folder.name, chosen, backbone_folder=folder)
    method, backbone = build(run, tasks, CPU, "text-classification")
    frozen = {name: each.clone() for name, each in backbone.module.named_parameters() if "lora" not in name}
    assert backbone.size == loaded(tmp_path, "none").num_parameters()
    tiny.learn(method, 0)
    assert backbone.stored == "frozen weights in nf4"
    assert all(
        torch.equal(dict(backbone.module.named_parameters())[name], each) for name, each in frozen.items()
    )
    assert any(matrix.abs().sum() > 0 for matrix in method.stack.lora_b())  # type: ignore[attr-defined]


@needs_bitsandbytes
@pytest.mark.parametrize("name", NAMES)
def test_shapes_alone_give_what_a_step_on_4_bit_weights_keeps(name: str, tmp_path: Path) -> None:
    module = loaded(saved(name, tmp_path), "nf4").requires_grad_(False)
    chosen = tiny.protocol("causal", quantization="nf4")
    AdapterStack(module, chosen.targets, chosen.rank).add(0)
    ids, targets = torch.zeros(4, 20, dtype=torch.int64), torch.zeros(4, 4, dtype=torch.int64)
    mask = torch.ones(4, 1, 20, 20, dtype=torch.bool)

    def loss() -> torch.Tensor:
        logits = module(input_ids=ids, attention_mask=mask, logits_to_keep=5, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets)

    real = Kept({p.untyped_storage()._cdata for p in module.parameters()}).count(loss).total()
    assert step_memory(large_model(name, WIDTH).config, chosen).activations == pytest.approx(real, rel=0.1)


@needs_bitsandbytes
def test_weights_that_the_library_unpacks_wrongly_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bitsandbytes.functional

    folder, right = saved("llama-3.2-1b", tmp_path), bitsandbytes.functional.dequantize_4bit
    assert loaded(folder, "nf4") is not None

    def turned(*given: Any) -> torch.Tensor:
        return right(*given).flip(-1)

    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", turned)
    with pytest.raises(UserError, match=r"nf4: .*reads weights of 64 x 64 wrongly; .* int8 and none"):
        loaded(folder, "nf4")
    assert loaded(folder, "int8") is not None


@needs_bitsandbytes
def test_a_weight_smaller_than_a_block_is_let_through() -> None:
    from bitsandbytes.nn import Linear4bit

    small = Linear4bit(8, 4, quant_type="nf4").to("cpu")
    assert small.weight.quant_state is not None  # 32 numbers, a block has 64
    require_sound_unpacking(small)


def test_what_cannot_be_quantized_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    four = Placement(CPU, quantization="nf4")
    with pytest.raises(UserError, match=r"protocol.quantization=nf4: only causal .*only valid value is none"):
        backbones.load(str(tiny.folder("image")), placement=four)
    with pytest.raises(UserError, match=r"protocol.quantization=nf4: only causal"):
        backbones.load("linear", placement=four)
    chosen = tiny.protocol("causal", quantization="int8")
    for key in ("osf", "keep-lora", "seq-dora"):
        with pytest.raises(
            UserError, match=rf"quantization=int8: the method '{key}' .*only valid value is none"
        ):
            require_cheaper_steps(key, METHODS.load(key), chosen)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package bitsandbytes.*\[quantized\].* without is none"):
        backbones.load(str(tiny.folder("causal")), placement=four)


@pytest.mark.parametrize(
    ("device", "settings", "reason"),
    [
        ("cpu", {"precision": "bf16"}, r"needs a GPU \(--device cuda\), and this run is on cpu"),
        ("cuda", {}, "computes in bf16, and protocol.precision=float32"),
        ("cuda", {"precision": "bf16"}, "no mask that label decoding needs"),
        ("cuda", {"precision": "bf16", "decoding": "greedy"}, "flash-attn is not installed"),
    ],
)
def test_flash_attention_is_refused_where_it_is_not(
    device: str, settings: dict[str, Any], reason: str
) -> None:
    chosen = tiny.protocol("causal", attention="flash", **settings)
    with pytest.raises(
        UserError, match=f"protocol.attention=flash: .*{reason}.*; the value without it is default"
    ):
        use_attention(tiny.model("causal"), "causal", chosen, torch.device(device))


def test_flash_attention_is_asked_for_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    chosen = tiny.protocol("causal", attention="flash", precision="bf16", decoding="greedy")
    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: True)
    monkeypatch.setenv("FLASH_ATTENTION_DETERMINISTIC", "0")
    module, asked = tiny.model("causal"), []
    monkeypatch.setattr(module, "set_attn_implementation", asked.append)
    use_attention(module, "causal", chosen, torch.device("cuda"))
    assert asked == ["flash_attention_2"]


def test_both_name_a_run_only_where_they_are_set() -> None:
    plain = tiny.protocol("causal")
    changed = tiny.protocol("causal", quantization="nf4", attention="flash")
    assert {"quantization", "attention"}.isdisjoint(plain.identity())
    assert changed.identity() == plain.identity() | {"quantization": "nf4", "attention": "flash"}
    assert Protocol(**plain.model_dump()) == plain
    one = result()
    given = {"precision": "bf16", "quantization": "nf4", "attention": "flash"}
    one.config["protocol"] = one.config.get("protocol", {}) | given
    assert _device(one).endswith("products in bf16, frozen weights in nf4, flash attention")
