"""A backbone is what its folder claims: whole, known by its content, and asked for nothing it cannot do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.errors import UserError
from benchmark.models import backbone as backbones
from benchmark.models import backbone_store
from benchmark.models.image_features import pool_tokens
from benchmark.models.make import make_task_model
from benchmark.models.weights_hash import hash_files, hash_folder
from benchmark.registry import BACKBONES
from benchmark.running.plan import ChosenBackbone, plan, resolve_backbone
from tests import tiny
from tests.command import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT in a folder of its own."""
    return shutil.copytree(tiny.folder("encoder"), tmp_path / "m")


def rewrite(folder: Path, change: Any) -> None:
    """Change the tensors of a folder by name."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), str(folder / "model.safetensors"), {"format": "pt"})


# --- tensors


def test_renamed_tensors_are_refused_by_name(folder: Path) -> None:
    rewrite(folder, lambda tensors: {f"old.{name}": value for name, value in tensors.items()})
    with pytest.raises(
        UserError, match=r"'.*m' are not those of its config.json; tensors: \d+ missing \(emb"
    ):
        backbones.load(str(folder))


def test_a_missing_and_a_foreign_tensor_are_named(folder: Path) -> None:
    query = "encoder.layer.0.attention.self.query.weight"

    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        value = tensors.pop(query)
        return tensors | {"encoder.layer.7.attention.self.query.weight": value}

    rewrite(folder, change)
    words = rf"1 missing \({query}\); 1 unexpected \(encoder.layer.7.attention.self.query.weight\)"
    with pytest.raises(UserError, match=words):
        backbones.load(str(folder))


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    name = "encoder.layer.1.output.dense.bias"
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(7)})
    with pytest.raises(UserError, match=rf"1 of another shape \({name}\)"):
        backbones.load(str(folder))


def test_heads_and_poolers_that_nobody_uses_may_be_there_or_not(folder: Path) -> None:
    plain = backbones.load(str(folder)).module.state_dict()
    more = {"cls.predictions.bias": torch.zeros(3), "pooler.dense.weight": torch.zeros(32, 32)}
    rewrite(folder, lambda tensors: {f"bert.{name}": value for name, value in tensors.items()} | more)
    assert tiny.same(plain, backbones.load(str(folder)).module.state_dict())


def test_code_beside_the_weights_is_not_run(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="needs code of its own, which is never run here"):
        backbones.load(str(folder))


@pytest.mark.parametrize("kind", ["encoder", "image", "causal"])
def test_a_model_that_can_be_loaded_and_not_run_is_refused(kind: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.folder(kind), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["num_attention_heads"] *= -1  # divides the width all the same
    config.pop("head_dim", None)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"backbone '.*m'") as caught:
        backbones.load(str(folder))
    assert "\n" not in str(caught.value)


def test_every_call_that_loads_by_name_forbids_code_of_the_model() -> None:
    """Also the program of a model card: transformers would ask at the terminal where nothing is said."""
    seen = 0
    for path in sorted((ROOT / "benchmark").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for call in re.finditer(r"(?:Auto\w+|\$?loader)\.(?:from_pretrained|from_config)\((.*)\)", text):
            allowed = r"trust_remote_code=False|\*\*(?:given|options)\b"
            assert re.search(allowed, call[1]), f"{path}: {call[0]}"
            if "**" in call[1]:
                assert '"trust_remote_code": False' in text, path
            seen += 1
    assert seen >= 8


# --- identity


def test_a_path_however_spelled_is_one_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    found = {resolve_backbone(asked) for asked in ("m", "./m", "m/", str(folder))}
    assert found == {ChosenBackbone("m", folder.resolve(), hash_folder(folder))}
    keys = {plan("frozen", "toy", backbone=asked)[0].key("data") for asked in ("m", "./m", str(folder))}
    assert len(keys) == 1


def test_other_weights_under_one_name_are_another_run(folder: Path) -> None:
    (before,) = plan("frozen", "toy", backbone=str(folder))
    rewrite(folder, lambda tensors: {name: value + 1 for name, value in tensors.items()})
    (after,) = plan("frozen", "toy", backbone=str(folder))
    assert before.backbone == after.backbone == "m"
    assert before.key("data") != after.key("data")
    with pytest.raises(UserError, match="they have changed since, or are another model's"):
        backbones.load(before.backbone, before.backbone_folder, before.backbone_weights)


def test_weights_are_found_again_by_name_and_hash(folder: Path) -> None:
    (run,) = plan("frozen", "toy", backbone=str(folder))
    assert backbones.load("m", None, run.backbone_weights).weights_hash == run.backbone_weights
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="the backbone folder 'm' is not here"):
        backbones.load("m", None, run.backbone_weights)


def test_a_folder_never_shadows_a_preset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.with_name("linear"))
    monkeypatch.chdir(folder.parent)
    assert backbones.load("linear").kind == "vector"
    assert resolve_backbone("linear") == ChosenBackbone("linear")
    with pytest.raises(UserError, match=r"has the name of the preset 'linear'.*give it another name"):
        resolve_backbone("./linear")


def test_a_preset_with_other_weights_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = backbones.Backbone("encoder", "none", folder=lambda: folder, weights_hash="0" * 64)
    monkeypatch.setattr(type(BACKBONES), "load", lambda self, name: preset)
    with pytest.raises(UserError, match=rf"have the sha256 [0-9a-f]{{64}}, not {'0' * 64}"):
        backbones.load("vit-nano")


@pytest.mark.parametrize("name", ["vit-nano", "linear"])
def test_bundled_presets_carry_the_hash_of_their_weights(name: str) -> None:
    assert backbones.load(name).weights_hash == BACKBONES.load(name).weights_hash


def test_hash_of_a_file_is_its_sha256_and_follows_its_content(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"abc")
    # sha256 of "abc", the first test vector of FIPS 180-2.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_files([path]) == known
    path.write_bytes(b"abcd")
    assert hash_files([path]) != known


# --- answers


def test_generation_settings_of_a_folder_do_not_change_greedy(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.folder("causal"), tmp_path / "m")
    plain = backbones.load(str(folder))
    settings = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "min_length": 40, "num_beams": 4}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    changed = backbones.load(str(folder))
    given = {"input_ids": torch.tensor([[1, 5, 6, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    answers = [each.module.generate(**given, max_new_tokens=12) for each in (plain, changed)]  # type: ignore[operator]
    assert torch.equal(*answers)


def test_texts_longer_than_the_positions_are_refused_before_training() -> None:
    # The tiny BERT has 48 positions, the tiny Llama 64.
    for kind, settings, words in (
        ("encoder", {"source_length": 49}, "takes at most 48 tokens, and source_length is 49"),
        ("causal", {"source_length": 61}, "target_length 4 may make 65.*source_length=60"),
    ):
        chosen = tiny.protocol(kind, **settings)
        with pytest.raises(UserError, match=words):
            make_task_model(tiny.backbone(kind), tiny.tasks(kind), chosen)
    make_task_model(tiny.backbone("causal"), tiny.tasks("causal"), tiny.protocol("causal", source_length=60))


def without(folder: Path, tokens: list[str]) -> None:
    """Take special tokens out of a tokenizer's settings."""
    path = folder / "tokenizer_config.json"
    settings = {name: value for name, value in json.loads(path.read_text()).items() if name not in tokens}
    path.write_text(json.dumps(settings), encoding="utf-8")


def test_an_encoder_without_padding_token_pads_with_any(folder: Path) -> None:
    tasks = tiny.tasks("encoder")
    scores = []
    for _ in range(2):
        task_model: Any = make_task_model(backbones.load(str(folder)), tasks, tiny.protocol("encoder"))
        task_model.begin_task([0])
        rows = task_model.encode(tasks[0], tasks[0].test)
        scores.append(task_model.backbone.features(tiny.whole(rows).inputs))
        without(folder, ["pad_token"])
    assert backbones.load(str(folder)).tokenizer.pad_token is None
    assert torch.allclose(*scores, atol=1e-6)


def test_a_language_model_without_end_token_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.folder("causal"), tmp_path / "m")
    without(folder, ["eos_token", "sep_token"])
    with pytest.raises(UserError, match="tokenizer of the backbone 'm' has no end token"):
        backbones.load(str(folder))


# --- features of image models

WIDE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}
IMAGE_MODELS: dict[str, tuple[Any, str, int]] = {
    "vit": (lambda t: t.ViTModel(t.ViTConfig(**WIDE, intermediate_size=48, patch_size=8)), "first", 32),
    "dinov2": (lambda t: t.Dinov2Model(t.Dinov2Config(**WIDE, patch_size=8)), "first", 32),
    "siglip": (lambda t: t.SiglipVisionModel(t.SiglipVisionConfig(**WIDE, patch_size=8)), "pooled", 32),
    "swin": (
        lambda t: t.SwinModel(
            t.SwinConfig(image_size=16, patch_size=2, embed_dim=16, depths=[1], num_heads=[2], window_size=4),
            add_pooling_layer=False,
        ),
        "mean",
        16,
    ),
    "convnext": (
        lambda t: t.ConvNextModel(
            t.ConvNextConfig(image_size=32, hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)
        ),
        "pooled",
        12,
    ),
}


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_image_models_have_the_feature_that_they_can_have(name: str, tmp_path: Path) -> None:
    make, pooling, width = IMAGE_MODELS[name]
    make(transformers).save_pretrained(tmp_path / name)
    loaded = backbones.load(str(tmp_path / name))
    assert (loaded.kind, loaded.pooling, loaded.width) == ("image", pooling, width)
    assert loaded.images is not None
    pixels = torch.randn(2, 3, loaded.images.size, loaded.images.size)
    with torch.no_grad():
        features = loaded.features({"pixel_values": pixels})
        answered = loaded.module(pixel_values=pixels)
    expected = answered.pooler_output if pooling == "pooled" else pool_tokens(answered[0], pooling)
    assert features.shape == (2, width) and torch.equal(features, expected)
    assert not torch.allclose(features[0], features[1])


def test_tokens_are_pooled_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 10.0], [3.0, 30.0]]])
    assert pool_tokens(tokens, "first").tolist() == [[1, 10]]
    assert pool_tokens(tokens, "mean").tolist() == [[2, 20]]  # (1 + 3) / 2, (10 + 30) / 2
    # A map has its channels before height and width: one channel of 1, 2, 3, 6 has mean 3.
    assert pool_tokens(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]), "mean").tolist() == [[3]]


def test_a_model_without_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(nn.Module):
        def forward(self, pixel_values: torch.Tensor) -> object:
            return object()

    from benchmark.models.image_features import choose_pooling

    with pytest.raises(UserError, match="'m' \\(Mute\\) gives neither tokens nor a pooled output"):
        choose_pooling(Mute(), 16, "m")


def test_the_store_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_BACKBONES", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert backbone_store.store() == tmp_path / "backbones"
    monkeypatch.setenv("BENCH_BACKBONES", str(tmp_path / "b"))
    assert backbone_store.store() == tmp_path / "b"


# --- GPT-2's layers


def test_gpt2_answers_as_with_its_own_layers_and_is_adapted_as_by_peft(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from benchmark.lora.stack import AdapterStack

    sizes: dict[str, Any] = {"vocab_size": 60, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    torch.manual_seed(0)
    own = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
    ).eval()
    own.save_pretrained(tmp_path / "m")
    tiny.tokenizer("causal").save_pretrained(tmp_path / "m")
    loaded = backbones.load(str(tmp_path / "m"))
    given = {"input_ids": torch.tensor([[5, 6, 7, 8]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        assert torch.allclose(loaded.module(**given).logits, own(**given).logits, atol=1e-5)
    assert loaded.size == sum(parameter.numel() for parameter in own.parameters())

    config = LoraConfig(r=2, lora_alpha=2, target_modules=["c_attn"], fan_in_fan_out=True)
    theirs = get_peft_model(own, config)
    stack = AdapterStack(loaded.module, ("module:c_attn",), 2)
    stack.add(0)
    assert len(stack.layers) == 2
    for name, layer in stack.layers.items():
        their = theirs.base_model.model.get_submodule(name)
        assert layer.current is not None
        a, b = their.lora_A["default"].weight, their.lora_B["default"].weight
        # A (r, d_in) and B (d_out, r), with 32 inputs and 3 x 32 outputs.
        assert layer.current.lora_A.shape == a.shape == (2, 32)
        assert layer.current.lora_B.shape == b.shape == (96, 2)
        nn.init.normal_(b)
        layer.current.lora_A.data.copy_(a)
        layer.current.lora_B.data.copy_(b)
    with torch.no_grad():
        assert torch.allclose(loaded.module(**given).logits, theirs.eval()(**given).logits, atol=1e-4)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")]
)
def test_a_model_too_large_for_the_memory_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(backbones, "read_model", refuse)
    with pytest.raises(UserError, match=r"^the memory ran out") as raised:
        backbones.load(str(folder))
    assert "\n" not in str(raised.value) and sorted(folder.parent.iterdir()) == [folder]
