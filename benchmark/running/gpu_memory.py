"""What a training step of a language model takes of a GPU's memory, before the model is there.

The model is built of its configuration on torch's meta device, where a tensor has a shape and no numbers, and
runs one micro-batch of the longest rows. What autograd would keep of it is counted, tensor by tensor, in the
number format that the protocol computes in, for the fullest of the GPUs that the blocks are spread over. Not
counted: what a product needs while it is computed, what the allocator holds back, and CUDA itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.lora.layer import LoraLinear
from benchmark.lora.stack import AdapterStack
from benchmark.models.backbone import Backbone, LoadedBackbone, quiet
from benchmark.models.blocks import find_stacks
from benchmark.models.checkpointing import checkpoint_blocks
from benchmark.models.label_scores import last_logits
from benchmark.models.placement import NUMBER, count_stored_bytes, shape_of, split
from benchmark.models.precision import round_frozen
from benchmark.registry import BACKBONES
from benchmark.running.kept_tensors import OUTSIDE, Kept, Products

if TYPE_CHECKING:
    from benchmark.protocol import Protocol
    from benchmark.running.run import Run


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of a step at a task after the first, on the fullest GPU.

    Attributes:
        weights: of the backbone.
        copies: of the adapted layers' weights, which hold the frozen adapters; of quantized weights there are
            none, and the frozen adapter of an earlier task lies beside them.
        adapter: the one under training with its gradient and Adam's two moments.
        activations: kept for the gradient of one micro-batch.
        rows: of a micro-batch.
        tokens: of a row, the most that there may be.
        gpus: that the blocks are spread over.
        formats: of products and frozen weights, in words.
        quantized: weights are stored in integers.
    """

    weights: int
    copies: int
    adapter: int
    activations: int
    rows: int
    tokens: int
    gpus: int = 1
    formats: str = "float32"
    quantized: bool = False

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.copies + self.adapter + self.activations

    def __str__(self) -> str:
        """Return it in words."""
        gib = [f"{part / 1024**3:.2f}" for part in (self.total, self.weights, self.copies, self.adapter)]
        where = "a GPU" if self.gpus == 1 else f"on the fullest of {self.gpus} GPUs"
        frozen = "a frozen adapter" if self.quantized else "copies with frozen adapters"
        return (
            f"{gib[0]} GiB {where} in {self.formats}: weights {gib[1]}, {frozen} {gib[2]}, adapter "
            f"with Adam {gib[3]}, {self.activations / 1024**3:.2f} kept for the gradient of {self.rows} rows "
            f"of {self.tokens} tokens; beside what products need while they are computed"
        )


def gpu_memory(run: Run, gpus: int = 1) -> GpuMemory | None:
    """Return what a step of a run takes; None where the backbone is no causal model of a known shape.

    Args:
        gpus: that the backbone is spread over.

    Raises:
        UserError: it has fewer blocks.
    """
    config = _configuration(run)
    return None if config is None else step_memory(config, run.protocol, gpus)


def _configuration(run: Run) -> Any:
    """Return the configuration of a run's causal model, without the network; None where there is none."""
    import transformers

    quiet(transformers)
    if run.backbone_folder is not None:
        config = transformers.AutoConfig.from_pretrained(run.backbone_folder, trust_remote_code=False)
        causal = not config.is_encoder_decoder
        return config if causal and type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING else None
    if run.backbone not in BACKBONES.entries:
        return None
    preset: Backbone = BACKBONES.load(run.backbone)
    return preset.shape() if preset.shape is not None else None


def step_memory(config: Any, protocol: Protocol, gpus: int = 1) -> GpuMemory:
    """Return what a step of a causal model takes.

    Args:
        gpus: that its blocks are spread over.

    Raises:
        UserError: the model has not the blocks or the layers that the protocol adapts, or fewer than GPUs.
    """
    rows = -(-protocol.batch_size // protocol.micro_batches)
    tokens = protocol.source_length + protocol.target_length
    module, adapters = _on_meta(config, protocol)
    gpu_of = dict(enumerate(split(module, gpus)))
    activations = _activations(config, protocol, rows, tokens, gpu_of)
    weights, copies = _weights(module, protocol, gpu_of)
    adapter = NUMBER * sum(parameter.numel() for parameter in adapters.parameters())
    quantized = protocol.quantization != "none"
    if quantized:
        copies = Counter({0: adapter})
    formats = ", ".join(filter(None, [protocol.precision, protocol.stored]))

    def on(gpu: int) -> GpuMemory:
        parts = weights[gpu], copies[gpu], 0 if gpu else 4 * adapter, activations[gpu]
        return GpuMemory(*parts, rows, tokens, gpus, formats, quantized)

    return max((on(gpu) for gpu in range(gpus)), key=lambda found: found.total)


def _on_meta(config: Any, protocol: Protocol) -> tuple[nn.Module, AdapterStack]:
    """Return a model with an adapter, and its weights in the formats that products take them in."""
    module = shape_of(config)
    with torch.device("meta"):
        adapters = AdapterStack(
            *(module, protocol.targets, protocol.rank, 1.0, protocol.dropout, None, protocol.blocks)
        )
        adapters.add(0)
    adapted = {layer.base for layer in adapters.layers.values()}
    round_frozen(module, protocol.precision, set() if protocol.quantization != "none" else adapted)
    return module, adapters


def _weights(
    module: nn.Module, protocol: Protocol, gpu_of: Mapping[int, int]
) -> tuple[Counter[int], Counter[int]]:
    """Return the bytes of the weights and of the adapted layers' copies, by GPU."""
    (stack,) = find_stacks(module)
    weights: Counter[int] = Counter()
    copies: Counter[int] = Counter()
    counted = set()
    for name, part in module.named_modules():
        block = stack.index(name)
        gpu = 0 if block is None else gpu_of[block]
        for own, parameter in part.named_parameters(recurse=False):
            if id(parameter) in counted or own.startswith("lora_"):
                continue
            counted.add(id(parameter))
            if isinstance(part, nn.Linear) and block is not None and protocol.quantization != "none":
                weights[gpu] += count_stored_bytes(parameter, protocol.quantization)
            else:
                weights[gpu] += parameter.numel() * parameter.element_size()
        if isinstance(part, LoraLinear):
            copies[gpu] += NUMBER * part.get_parameter("base.weight").numel()
    return weights, copies


def _activations(
    config: Any, protocol: Protocol, rows: int, tokens: int, gpu_of: Mapping[int, int]
) -> Counter[int]:
    """Return the bytes that a micro-batch keeps, by GPU; what is outside the blocks is on the first."""
    found: Counter[int] = Counter()
    kept = _measure_kept(config, protocol, rows, tokens, protocol.gradient_checkpointing)
    for block, size in kept.items():
        found[gpu_of.get(block, 0)] += size
    if protocol.gradient_checkpointing:
        # And all that one block keeps while its own gradient is computed.
        whole = _measure_kept(config, protocol, rows, tokens, checkpointed=False)
        largest: Counter[int] = Counter()
        for block, size in whole.items():
            if block != OUTSIDE:
                largest[gpu_of[block]] = max(largest[gpu_of[block]], size)
        found += largest
    return found


def _measure_kept(
    config: Any, protocol: Protocol, rows: int, tokens: int, checkpointed: bool
) -> Counter[int]:
    """Return the bytes that autograd keeps of one forward pass, beside the weights, by block."""
    module, adapters = _on_meta(config, protocol)
    for parameter in adapters.parameters():
        parameter.requires_grad_(True)
    if checkpointed:
        checkpoint_blocks(LoadedBackbone("causal", module, 0, weights_hash="none"))
    (stack,) = find_stacks(module)
    counted = Kept({p.untyped_storage()._cdata for p in module.parameters()}, list(stack.blocks))
    products = Products(
        protocol.precision == "bf16", counted.keep if protocol.quantization == "int8" else None
    )
    with torch.device("meta"):
        ids = torch.zeros(rows, tokens, dtype=torch.int64)
        targets = torch.zeros(rows, protocol.target_length, dtype=torch.int64)
        # As a model makes of the mask of padded rows; made here, since that looks at numbers.
        seen = torch.ones(rows, 1, tokens, tokens, dtype=torch.bool)
        given = {"input_ids": ids, "attention_mask": seen}

        def loss() -> Tensor:
            with products:
                logits = last_logits(module, given, protocol.target_length + 1)
            return functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), targets)

        return counted.count(loss)
