"""Blocks over several GPUs, and steps that wait for none: shown without a GPU, on tensors without numbers.

torch's fake tensors know a device and a shape alone. They refuse to mix devices, as GPUs do, and to look at a
number, for which a GPU would have to be waited for. `lazy:0` and `lazy:1` stand for two GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from torch._subclasses import fake_impls
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from benchmark.errors import UserError
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.placement import Placement, device_map, split
from benchmark.models.positions import count_from_mask
from benchmark.registry import METHODS
from benchmark.running import training
from benchmark.running.accumulation import require_cheaper_steps
from benchmark.running.building import prepare_device
from benchmark.running.job import Conditions
from tests import tiny

LOOK = torch.ops.aten._local_scalar_dense.default


def llama(blocks: int, tied: bool = True) -> Any:
    """Return a Llama of shapes alone."""
    import transformers

    shape: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(
        **shape, num_hidden_layers=blocks, intermediate_size=64, vocab_size=50, tie_word_embeddings=tied
    )
    with torch.device("meta"):
        return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize(
    ("blocks", "gpus", "places"),
    [(4, 2, [0, 0, 1, 1]), (3, 3, [0, 1, 2]), (5, 2, [0, 0, 0, 1, 1]), (2, 1, [0, 0])],
)
def test_blocks_follow_one_another_over_the_gpus(blocks: int, gpus: int, places: list[int]) -> None:
    assert split(llama(blocks), gpus) == places


def test_every_weight_has_one_gpu_and_what_is_outside_the_blocks_the_first() -> None:
    module = llama(4, tied=False)
    found = device_map(module, 2)
    for name in [*dict(module.named_parameters()), *dict(module.named_buffers())]:
        (part,) = [part for part in found if name == part or name.startswith(f"{part}.")]
        assert found[part] == (1 if ".layers.2." in name or ".layers.3." in name else 0)


def test_more_gpus_than_blocks_or_than_the_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--gpus 3: .* has 2 blocks .*the nearest valid value is 2"):
        split(llama(2), 3)
    with pytest.raises(UserError, match=r"--gpus 2: only causal .* of kind image; the only valid value is 1"):
        Placement(torch.device("cuda"), 2).require("image", "vit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert prepare_device("cuda", 2) == torch.device("cuda")
    with pytest.raises(UserError, match="--gpus 3: this machine has 2 CUDA devices"):
        prepare_device("cuda", 3)
    with pytest.raises(UserError, match=r"--gpus 2: the method 'keep-lora' .*only valid value is 1"):
        require_cheaper_steps("keep-lora", METHODS.load("keep-lora"), tiny.protocol("causal"), 2)


def test_a_run_takes_a_part_of_a_gpu_or_whole_ones() -> None:
    assert [Conditions(gpus=gpus).whole_gpus for gpus in (0, 0.25, 1, 2)] == [1, 1, 1, 2]


@pytest.fixture
def without_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take tensors without numbers for all; what is read of a CPU's is 1, of another device's refused."""
    tiny.folder("causal")
    look = fake_impls.op_implementations_dict[LOOK]

    def host(mode: Any, func: Any, tensor: Any, *rest: Any, **more: Any) -> Any:
        if tensor.fake_device.type != "cpu":
            return look(mode, func, tensor, *rest, **more)
        return 1.0 if tensor.is_floating_point() else 1

    def in_order(rows: int, size: int, generator: torch.Generator) -> list[list[int]]:
        with unset_fake_temporarily():
            return [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]

    monkeypatch.setitem(fake_impls.op_implementations_dict, LOOK, host)
    monkeypatch.setattr(training, "shuffle_batches", in_order)
    # Looks at the losses of an epoch together, when it ends.
    monkeypatch.setattr(training.LossCheck, "check", lambda losses: None)
    monkeypatch.setattr(tiny, "backbone", on_two_devices)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def on_two_devices(kind: str, dtype: torch.dtype = torch.float32) -> LoadedBackbone:
    """Return the tiny Llama with its second block on the second device, put there as transformers does it."""
    module = tiny.model(kind).eval().requires_grad_(False)
    places = {name: f"lazy:{place}" for name, place in device_map(module, 2).items()}
    assert set(places.values()) == {"lazy:0", "lazy:1"}
    for name, place in places.items():
        for part in module.get_submodule(name).modules():
            for own, value in part.named_parameters(recurse=False):
                part._parameters[own] = torch.nn.Parameter(value.detach().to(place), requires_grad=False)
            for own, value in part.named_buffers(recurse=False):
                part._buffers[own] = value.to(place)
    dispatch_model(module, places, force_hooks=True)
    module.to = lambda *_: module
    count_from_mask(module)
    return LoadedBackbone(kind, module, 32, tiny.tokenizer(kind), weights_hash="none")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("o-lora", {}),
        ("sd-lora", {"micro_batches": 2}),
        ("ewc-lora", {"gradient_checkpointing": True, "gradient_clip": 1.0}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_steps_over_two_devices_mix_none_and_wait_for_none(
    key: str, settings: dict[str, Any], without_numbers: None
) -> None:
    method = tiny.make_method(key, "causal", settings={"epochs": 1} | settings)
    for t in range(2):
        assert tiny.learn(method, t) == 3
    layers = list(method.stack.layers.values())  # type: ignore[attr-defined]
    assert [str(layer.device) for layer in layers] == ["lazy:0", "lazy:0", "lazy:1", "lazy:1"]
    assert {str(layer.frozen.lora_A.device) for layer in layers} == {"lazy:0"}
    # For good merged into their weights, which lie where those do.
    merged = [str(layer.merged.device) for layer in layers if layer.merged is not None]
    assert merged == (["lazy:0", "lazy:0", "lazy:1", "lazy:1"] if key == "ewc-lora" else [])
