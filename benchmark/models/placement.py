"""How a large model's frozen weights are stored, and its blocks put on several GPUs of one machine.

Transformers does both while it loads, by a `quantization_config` of bitsandbytes and a `device_map`. Linear
layers inside the blocks are quantized; embeddings, norms and the output layer stay float32. What is outside
the blocks lies on the first GPU together with all adapters and the optimiser, so that a method finds
everything that it trains on one device. Blocks follow one another over the GPUs, equally many on each.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.models.blocks import find_stacks

Quantization = Literal["none", "int8", "nf4"]
NUMBER = 4
"""Bytes of a float32 number."""
NF4_BLOCK = 64
"""Numbers of four bits that share one float32 scale; an int8 row has one scale."""


@dataclass(frozen=True)
class Placement:
    """Where a backbone goes and how its weights are stored there.

    Attributes:
        device: of the inputs; of several GPUs the first.
        gpus: that the blocks are spread over.
        quantization: of the frozen linear layers in the blocks; see `benchmark.protocol`.
        precision: of products, which 4-bit weights are unpacked to.
    """

    device: torch.device
    gpus: int = 1
    quantization: Quantization = "none"
    precision: str = "float32"

    @property
    def while_loading(self) -> bool:
        """Whether transformers has to place the model; else it is loaded on the CPU and moved."""
        return self.gpus > 1 or self.quantization != "none"

    def options(self, kind: str, config: Any, origin: str) -> dict[str, Any]:
        """Return what `from_pretrained` takes for it; nothing where the model is loaded as ever.

        Args:
            kind: of backbone.
            config: transformers' configuration of the model.
            origin: names it in messages.

        Raises:
            UserError: it is no causal language model, has fewer blocks than GPUs, or bitsandbytes is missing.
        """
        if not self.while_loading:
            return {}
        self.require(kind, origin)
        whole = (self.device.index or 0) if self.device.type == "cuda" else self.device.type
        given: dict[str, Any] = {"device_map": {"": whole}}
        if self.gpus > 1:
            given["device_map"] = device_map(shape_of(config), self.gpus)
        if self.quantization != "none":
            given["quantization_config"] = self._configuration()
        return given

    def require(self, kind: str, origin: str) -> None:
        """Refuse a backbone that is not loaded by transformers as a causal language model.

        Raises:
            UserError: it is another; the line names the setting and the only value that is left.
        """
        if not self.while_loading or kind == "causal":
            return
        what, valid = ("--gpus", "1") if self.quantization == "none" else ("protocol.quantization", "none")
        value = f" {self.gpus}" if self.quantization == "none" else f"={self.quantization}"
        raise UserError(
            f"{what}{value}: only causal language models can be loaded so, and the backbone '{origin}' is of "
            f"kind {kind}; the only valid value is {valid}"
        )

    def _configuration(self) -> Any:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise UserError(
                f"protocol.quantization={self.quantization} needs the package bitsandbytes: install the "
                "extra `quantized` (pip install continual-peft-bench[quantized]); the value without is none"
            )
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(**bitsandbytes_settings(self.quantization, self.precision))


def bitsandbytes_settings(quantization: str, precision: str) -> dict[str, Any]:
    """Return what transformers' `BitsAndBytesConfig` takes for a quantization that is not none."""
    if quantization == "int8":
        return {"load_in_8bit": True}
    numbers = "bfloat16" if precision == "bf16" else "float32"
    return {"load_in_4bit": True, "bnb_4bit_quant_type": quantization, "bnb_4bit_compute_dtype": numbers}


def shape_of(config: Any) -> nn.Module:
    """Return a causal model of a configuration on the meta device: shapes, and no numbers."""
    import transformers

    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return module.eval().requires_grad_(False)


def is_quantized(layer: nn.Linear) -> bool:
    """Whether a linear layer's weight is stored in integers, which only the layer itself can multiply by."""
    return not layer.weight.is_floating_point()


def parameter_count(parameter: Tensor) -> int:
    """Return how many numbers a parameter stands for, of which two lie in a byte where it has 4 bits."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())


def scales_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the scales that quantized weights are unpacked with, by the layer's dotted name."""
    for name, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        state = getattr(weight, "quant_state", None)
        scales = getattr(weight, "SCB", None) if state is None else state.absmax
        if scales is not None:
            yield name, scales


def keep_layout(module: nn.Module) -> None:
    """Let no pass without gradients repack 4-bit weights for some CPUs: what is repacked gives no gradients.

    LLM.int8 says in each pass of each layer that it computes in float16; that is no news.
    """
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    for layer in module.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def require_sound_unpacking(module: nn.Module) -> None:
    """Refuse 4-bit weights that the library unpacks to others than they stand for.

    With AVX-512 instructions bitsandbytes 0.50 does so where a row's width is no multiple of a block.

    Raises:
        UserError: it does; the line names the shape, and the values that are left.
    """
    seen = set()
    for layer in module.modules():
        weight: Any = getattr(layer, "weight", None)
        state = getattr(weight, "quant_state", None)
        if state is None or state.shape in seen or weight.device.type != "cpu":
            continue
        seen.add(state.shape)
        if not _unpacks_soundly(weight, state):
            shape = " x ".join(map(str, state.shape))
            raise UserError(
                f"protocol.quantization=nf4: here bitsandbytes reads weights of {shape} wrongly; it is right "
                f"where a row is a multiple of {NF4_BLOCK} numbers, and so are the values int8 and none"
            )


def _unpacks_soundly(weight: Tensor, state: Any) -> bool:
    from bitsandbytes.functional import dequantize_4bit

    # Two codes to a byte, the first in its upper half; whole blocks are enough to see it.
    codes = torch.stack([weight.flatten() >> 4, weight.flatten() & 15], dim=1).flatten().long()
    blocks = codes.numel() // state.blocksize
    own = state.code[codes[: blocks * state.blocksize]].view(blocks, state.blocksize)
    own = own * state.absmax[:blocks, None]
    theirs = dequantize_4bit(weight, state).flatten()[: own.numel()]
    return torch.allclose(own.flatten(), theirs.to(own), rtol=0.01)


def count_stored_bytes(weight: Tensor, quantization: Quantization) -> int:
    """Return the bytes of a frozen linear layer's weight `(d_out, d_in)` with its scales."""
    if quantization == "int8":
        return weight.numel() + NUMBER * len(weight)
    if quantization == "nf4":
        return -(-weight.numel() // 2) + NUMBER * -(-weight.numel() // NF4_BLOCK)
    return NUMBER * weight.numel()


def split(module: nn.Module, gpus: int) -> list[int]:
    """Return the GPU, counted from 0, of each block; what is outside the blocks lies on the first.

    Raises:
        UserError: there are fewer blocks than GPUs.
    """
    stacks = find_stacks(module)
    count = len(stacks[0]) if stacks else 0
    if count < gpus:
        raise UserError(
            f"--gpus {gpus}: the backbone {type(module).__name__} has {count} blocks to put on them; "
            f"the nearest valid value is {max(1, count)}"
        )
    return [block * gpus // count for block in range(count)]


def device_map(module: nn.Module, gpus: int) -> dict[str, int]:
    """Return the GPU of each part of a model, by dotted name, as `from_pretrained` takes it.

    Raises:
        UserError: there are fewer blocks than GPUs.
    """
    places = split(module, gpus)
    (stack,) = find_stacks(module)
    found = {f"{stack.name}.{block}": place for block, place in enumerate(places)}
    above = stack.name.split(".")
    for depth, below in enumerate(above):
        parent = ".".join(above[:depth])
        part = module.get_submodule(parent)
        own = [name for name, _ in part.named_children() if name != below]
        own += [name for name, _ in part.named_parameters(recurse=False)]
        own += [name for name, _ in part.named_buffers(recurse=False)]
        found |= {f"{parent}.{name}" if parent else name: 0 for name in own}
    return found
