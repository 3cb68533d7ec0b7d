"""What a training step of a language model takes of a GPU's memory, before the model is there.

The model is built of its configuration on torch's meta device, where a tensor has a shape and no numbers, and
runs one micro-batch of the longest rows. What autograd would keep of it is counted, tensor by tensor. Not
counted: what a product needs while it is computed, what the allocator holds back, and CUDA itself. Numbers
are those of float32; with another precision a step takes no more of what is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.lora.stack import AdapterStack
from benchmark.models.backbone import Backbone, LoadedBackbone, quiet
from benchmark.models.blocks import find_stacks
from benchmark.models.checkpointing import checkpoint_blocks
from benchmark.models.label_scores import last_logits
from benchmark.registry import BACKBONES

if TYPE_CHECKING:
    from benchmark.protocol import Protocol
    from benchmark.running.run import Run

NUMBER = 4
"""Bytes of a float32 number."""


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of a step at a task after the first.

    Attributes:
        weights: of the backbone.
        copies: of the adapted layers' weights, which hold the frozen adapters.
        adapter: the one under training with its gradient and Adam's two moments.
        activations: kept for the gradient of one micro-batch.
        rows: of a micro-batch.
        tokens: of a row, the most that there may be.
    """

    weights: int
    copies: int
    adapter: int
    activations: int
    rows: int
    tokens: int

    def __str__(self) -> str:
        """Return it in words."""
        total = self.weights + self.copies + self.adapter + self.activations
        gib = [f"{part / 1024**3:.2f}" for part in (total, self.weights, self.copies, self.adapter)]
        return (
            f"{gib[0]} GiB a GPU in float32: weights {gib[1]}, copies with frozen adapters {gib[2]}, adapter "
            f"with Adam {gib[3]}, {self.activations / 1024**3:.2f} kept for the gradient of {self.rows} rows "
            f"of {self.tokens} tokens; beside what products need while they are computed"
        )


def gpu_memory(run: Run) -> GpuMemory | None:
    """Return what a step of a run takes; None where the backbone is no causal model of a known shape."""
    config = _configuration(run)
    return None if config is None else step_memory(config, run.protocol)


def _configuration(run: Run) -> Any:
    """Return the configuration of a run's causal model, without the network; None where there is none."""
    import transformers

    if run.backbone_folder is not None:
        config = transformers.AutoConfig.from_pretrained(run.backbone_folder, trust_remote_code=False)
        causal = not config.is_encoder_decoder
        return config if causal and type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING else None
    if run.backbone not in BACKBONES.entries:
        return None
    preset: Backbone = BACKBONES.load(run.backbone)
    return preset.shape() if preset.shape is not None else None


def step_memory(config: Any, protocol: Protocol) -> GpuMemory:
    """Return what a step of a causal model takes.

    Raises:
        UserError: the model has not the blocks or the layers that the protocol adapts.
    """
    rows = -(-protocol.batch_size // protocol.micro_batches)
    tokens = protocol.source_length + protocol.target_length
    kept = _kept(config, protocol, rows, tokens, checkpointed=False)
    if protocol.gradient_checkpointing:
        module, _ = _on_meta(config, protocol)
        (stack,) = find_stacks(module)
        # The inputs of all blocks, and all that one block keeps while its own gradient is computed.
        kept = _kept(config, protocol, rows, tokens, checkpointed=True) + kept // len(stack)
    module, adapters = _on_meta(config, protocol)
    weights = {id(p): p for name, p in module.named_parameters() if "lora_" not in name}
    return GpuMemory(
        NUMBER * sum(parameter.numel() for parameter in weights.values()),
        NUMBER * sum(layer.weight.numel() for layer in adapters.layers.values()),
        4 * NUMBER * sum(parameter.numel() for parameter in adapters.parameters()),
        kept,
        rows,
        tokens,
    )


def _on_meta(config: Any, protocol: Protocol) -> tuple[nn.Module, AdapterStack]:
    import transformers

    quiet(transformers)
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        module.eval().requires_grad_(False)
        adapters = AdapterStack(
            *(module, protocol.targets, protocol.rank, 1.0, protocol.dropout, None, protocol.blocks)
        )
        adapters.add(0)
    return module, adapters


def _kept(config: Any, protocol: Protocol, rows: int, tokens: int, checkpointed: bool) -> int:
    """Return the bytes that autograd keeps of one forward pass, beside the weights."""
    module, adapters = _on_meta(config, protocol)
    for parameter in adapters.parameters():
        parameter.requires_grad_(True)
    if checkpointed:
        checkpoint_blocks(LoadedBackbone("causal", module, 0, weights_hash="none"))
    with torch.device("meta"):
        ids = torch.zeros(rows, tokens, dtype=torch.int64)
        targets = torch.zeros(rows, protocol.target_length, dtype=torch.int64)
        # As a model makes of the mask of padded rows; made here, since that looks at numbers.
        seen = torch.ones(rows, 1, tokens, tokens, dtype=torch.bool)
        given = {"input_ids": ids, "attention_mask": seen}

        def loss() -> Tensor:
            logits = last_logits(module, given, protocol.target_length + 1)
            return functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), targets)

        return saved_bytes(loss, {p.untyped_storage()._cdata for p in module.parameters()})


def saved_bytes(loss: Callable[[], Tensor], known: set[int]) -> int:
    """Return the bytes of all storages that autograd keeps of a computation, each once.

    Args:
        loss: computes it.
        known: storages, by `_cdata`, that are not counted.
    """
    storages: dict[int, Any] = {}
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        # Held, so that no other storage takes its place meanwhile.
        held.append(tensor)
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    return sum(storage.nbytes() for key, storage in storages.items() if key not in known)
