"""What a cell learned is an ordinary peft checkpoint: plain peft on the plain backbone answers the same."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
import transformers

from benchmark.errors import UserError
from benchmark.export import export, rebuild
from benchmark.plan import plan
from benchmark.results import Result, read
from benchmark.runner import run
from tests import tiny

SMALL = ["epochs=2", "rank=2", "protocol.train_limit=16", "protocol.test_limit=8", "learning_rate=0.05"]


def finished(method: str, out: Path, *settings: str) -> Path:
    """Run a method on the digits with a tiny random ViT and return the result's path."""
    cells = plan(method, "digits", backbone=str(tiny.folder("image")), settings=[*SMALL, *settings])
    (outcome,) = run(cells, out, None, 1, "cpu", False, lambda event: None)
    assert outcome.error is None and outcome.path is not None
    return outcome.path


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("seq-lora", []),
        ("inc-lora", ["alpha=8"]),
        ("sd-lora", []),
        ("sd-lora", ["variant=paper"]),
        ("litelora", ["sparsity=0"]),
    ],
)
def test_plain_peft_gives_the_same_features(method: str, settings: list[str], tmp_path: Path) -> None:
    path = finished(method, tmp_path, *settings)
    export(path, tmp_path / "adapter")
    plain = transformers.ViTModel.from_pretrained(
        tiny.folder("image"), add_pooling_layer=False, dtype="float32"
    )
    loaded = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    ours = rebuild(read(path), path)
    torch.manual_seed(0)
    size = ours.objective.backbone.images.size
    images = torch.randn(4, 3, size, size)
    with torch.no_grad():
        ours.bank.refresh()
        expected = ours.objective.backbone.features({"pixel_values": images})
        assert torch.allclose(loaded(pixel_values=images).last_hidden_state[:, 0], expected, atol=1e-5)
        loaded.disable_adapter_layers()
        assert not torch.allclose(loaded(pixel_values=images).last_hidden_state[:, 0], expected, atol=1e-3)
    assert (tmp_path / "adapter" / "head.safetensors").is_file()


@pytest.mark.parametrize("method", ["independent", "frozen"])
def test_what_is_no_sum_is_refused(method: str, tmp_path: Path) -> None:
    path = finished(method, tmp_path)
    with pytest.raises(UserError, match=f"{method} has no peft form"):
        export(path, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_adapters_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    ours, other = finished("inc-lora", tmp_path), finished("frozen", tmp_path)
    ours.with_suffix(".safetensors").write_bytes(other.with_suffix(".safetensors").read_bytes())
    with pytest.raises(UserError, match="another"):
        export(ours, tmp_path / "adapter")
    ours.with_suffix(".safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        export(ours, tmp_path / "adapter")
    ours.with_suffix(".safetensors").unlink()
    with pytest.raises(UserError, match="no adapters"):
        export(ours, tmp_path / "adapter")


def test_a_cell_is_found_again_from_its_result(tmp_path: Path) -> None:
    path = finished("litelora", tmp_path)
    result = read(path)
    assert isinstance(result, Result)
    ours = rebuild(result, path)
    assert ours.accounting().active == result.parameters.active_adapters[-1]
