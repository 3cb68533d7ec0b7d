"""What a row looks like before the first layer: the query by which adapters are weighted per input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.models.backbone import LoadedBackbone


@torch.no_grad()
def pool_embeddings(backbone: LoadedBackbone, batch: Batch) -> Tensor:
    """Return the mean input embedding of each row, `(n, d)`.

    Of text these are the embeddings of the prompt's real tokens, answers left out; of images those of patches
    and class token; a vector is its own.
    """
    module: Any = backbone.module
    if backbone.kind == "vector":
        return batch.inputs["x"]
    if backbone.kind == "image":
        return module.embeddings(batch.inputs["pixel_values"]).mean(1)
    embedded = module.get_input_embeddings()(batch.inputs["input_ids"])
    mask = batch.inputs["attention_mask"].bool()
    if batch.targets is not None and batch.targets.shape == mask.shape and batch.left:
        # While training, a causal model's prompt and answer are one sequence.
        mask = mask & (batch.targets == -100)
    weights = mask[..., None].to(embedded.dtype)
    return (embedded * weights).sum(1) / weights.sum(1)
