"""Writes what a run learned as an ordinary peft LoRA checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from benchmark.errors import UserError
from benchmark.publishing.model_card import card
from benchmark.results import atomic_write, read
from benchmark.running.checkpoint import pack
from benchmark.running.rebuilding import rebuild

if TYPE_CHECKING:
    from peft import PeftConfig


def export(path: Path, folder: Path, with_card: bool = False) -> Path:
    """Write what a finished run's adapters come to so that `PeftModel.from_pretrained` loads it.

    A tuner of peft is written as it is. A sum of adapters is one LoRA of rank sum r with scale 1, exact up to
    rounding. A classification head goes into `head.safetensors` beside it, since peft has no place for one
    shared head.

    Args:
        path: a result.
        folder: made if missing.
        with_card: whether to write README.md too, a model card in the hub's format.

    Raises:
        UserError: the method's result is not a sum of low-rank updates, or something cannot be read.
    """
    result = read(path)
    method = rebuild(result, path)
    adapters, ready = method.low_rank_sum(), method.peft_checkpoint()
    if ready is not None:
        write_checkpoint(*ready, folder, result.backbone)
    elif adapters and all(len(down) for down, _ in adapters.values()):
        write_lora(adapters, folder, result.backbone)
    else:
        raise UserError(f"{result.method} has no peft form: {method.no_sum}")
    has_head = bool(method.task_model.head_size())
    if has_head:
        atomic_write(folder / "head.safetensors", pack(method.task_model.answering_head()))
    if with_card:
        text = card(result, method.task_model.backbone.kind, has_head)
        atomic_write(folder / "README.md", text.encode())
    return folder


def write_lora(adapters: dict[str, tuple[Tensor, Tensor]], folder: Path, backbone: str) -> None:
    """Write adapters (down (R, d_in), up (d_out, R)) by module name as a peft checkpoint."""
    from peft import LoraConfig

    rank = len(next(iter(adapters.values()))[0])
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # peft scales by alpha / r: 1, the scales being in the down factor
        target_modules=sorted(adapters),
    )
    tensors = {}
    for name, (down, up) in adapters.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = down
        tensors[f"base_model.model.{name}.lora_B.weight"] = up
    write_checkpoint(config, tensors, folder, backbone)


def write_checkpoint(config: PeftConfig, tensors: dict[str, Tensor], folder: Path, backbone: str) -> None:
    """Write a configuration of peft and the tensors that it is for, to be put on the named backbone."""
    config.base_model_name_or_path = backbone
    config.inference_mode = True
    atomic_write(folder / "adapter_model.safetensors", pack(tensors))
    config.save_pretrained(str(folder))
