"""In what number format the backbone's products are computed; weights, adapters and optimiser stay float32.

The format is a setting of the protocol, never the machine's choice: rows of unlike precision share no table.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.models.placement import is_quantized

Precision = Literal["float32", "tf32", "bf16"]


def use_precision(module: nn.Module, precision: Precision, device: torch.device) -> None:
    """Let every forward pass of a model compute its products in a format, and answer in float32.

    Raises:
        UserError: the device does not compute in that format; the message names those that it has.
    """
    if precision == "tf32" or device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "float32":
        return
    if precision not in formats_of(device):
        raise UserError(
            f"precision={precision}: this machine's {device.type} does not compute in it; it has: "
            f"{', '.join(formats_of(device))} (--set protocol.precision=float32 is another protocol's row)"
        )
    if precision == "bf16":
        reduced = Autocast(device.type)
        module.register_forward_pre_hook(reduced.enter)
        # Also where the pass fails, or all that follows would run in bfloat16.
        module.register_forward_hook(reduced.leave, always_call=True)


def round_frozen(module: nn.Module, precision: Precision, trained: Container[nn.Module] = ()) -> None:
    """Keep the weights of frozen linear layers in the format that every pass would round them to.

    No answer changes by it: autocast rounds the same numbers, but anew in every pass. A weight shared with
    another module, as of an output layer tied to the embedding, is rounded in the linear layer only.

    Args:
        trained: linear layers whose weight a method reads or adds to, which stay float32.
    """
    if precision != "bf16":
        return
    for layer in module.modules():
        plain = isinstance(layer, nn.Linear) and layer not in trained and not is_quantized(layer)
        if plain and not any(each.requires_grad for each in layer.parameters()):
            for name, each in layer.named_parameters(recurse=False):
                setattr(layer, name, nn.Parameter(each.detach().bfloat16(), requires_grad=False))


def formats_of(device: torch.device) -> tuple[Precision, ...]:
    """Return the formats that a device has instructions for; float32 first."""
    if device.type == "cuda":
        newer = torch.cuda.get_device_capability(device)[0] >= 8
        return ("float32", "tf32", "bf16") if newer else ("float32",)
    return ("float32", "bf16") if device.type == "cpu" and has_bf16_products() else ("float32",)


def has_bf16_products() -> bool:
    """Whether the processor multiplies bfloat16 itself; where it does not, float32 is quicker."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(asked and asked())


class Autocast:
    """A pair of hooks around a model's forward pass; a copy of the model has a pair of its own."""

    def __init__(self, device: str) -> None:
        """Remember the type of device."""
        self.device = device
        self.open: list[torch.autocast] = []

    def enter(self, module: nn.Module, given: Any) -> None:
        """Compute products in bfloat16 from here."""
        context = torch.autocast(self.device, torch.bfloat16)
        context.__enter__()
        self.open.append(context)

    def leave(self, module: nn.Module, given: Any, answer: Any) -> Any:
        """Compute in float32 again, and give the answer's tensors in it."""
        if self.open:
            self.open.pop().__exit__(None, None, None)
        return widen(answer)


def widen(answer: Any) -> Any:
    """Return a model's answer with every bfloat16 tensor in float32; caches and the like stay as they are."""
    if isinstance(answer, Tensor):
        return answer.float() if answer.dtype == torch.bfloat16 else answer
    if isinstance(answer, dict):
        for name, value in answer.items():
            if isinstance(value, Tensor):
                answer[name] = widen(value)
    return answer
