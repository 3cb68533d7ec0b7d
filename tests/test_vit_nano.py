"""The shipped `vit-nano` weights: what they must be, and how good their frozen features must be."""

from pathlib import Path

import pytest
import torch
from transformers import ViTModel

import benchmark
from scripts.pretraining.vit_nano import PRETRAINING_ALPHABETS, STREAM_ALPHABETS, digits_ncm_accuracy

FOLDER = Path(benchmark.__file__).parent / "backbones" / "weights" / "vit-nano"


@pytest.fixture(scope="module")
def encoder() -> ViTModel:
    torch.set_num_threads(1)
    return ViTModel.from_pretrained(FOLDER, add_pooling_layer=False, dtype=torch.float32).eval()


def test_loads_without_missing_or_unexpected_weights() -> None:
    _, info = ViTModel.from_pretrained(FOLDER, add_pooling_layer=False, output_loading_info=True)
    assert not any(info.values()), info


def test_is_small(encoder: ViTModel) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000
    assert 1_000_000 <= sum(weight.numel() for weight in encoder.parameters()) <= 2_000_000


def test_holds_no_pickled_weights() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}


def test_pretraining_and_stream_alphabets_are_disjoint() -> None:
    assert not set(PRETRAINING_ALPHABETS) & set(STREAM_ALPHABETS)


def test_frozen_features_tell_unseen_digits_apart(encoder: ViTModel) -> None:
    assert digits_ncm_accuracy(encoder) >= 0.80
