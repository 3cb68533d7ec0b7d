"""N-LoRA: new adapters are kept sparse so that updates seldom collide (arXiv 2410.10179, COLING 2025).

Idea: two tasks' updates interfere where both change the same weights. If every update is sparse, few entries
collide, and the tasks' updates come out nearly orthogonal as a result. So an L1 penalty on the new update
replaces O-LoRA's penalty. Official repository: PKU-YuanGroup/N-LoRA.

Trained per task: the new adapter and the head rows of the task's classes. Frozen: the backbone and all
earlier adapters. Stored: T adapters, all active. Needs neither task id, old data nor statistics.

Official code and paper differ; `variant` chooses. The paper penalises the entries of the update B A
(d_out x d_in). The released code multiplies the stored factors the other way round, which gives an r x r
matrix, so the published lambdas belong to that one. It exists only where a layer has as many outputs as
inputs. By default each layer has the form of the code where it is square, and the paper's elsewhere.

The two forms differ in size: of random factors the sum over |B A| is about (d / r)^1.5 times that over |A B|
(d^2 sqrt(r) against r^2 sqrt(d)), 300 to 1,500 at the widths of real models. The published 0.4 on the paper's
form would therefore keep every update at zero; there the default lambda is 0.4 (r / d)^1.5, d the root of
inputs times outputs, which penalises an update as the code does.

Published settings (T5-large): rank 8, alpha 32 and dropout 0.1 on query and value, AdamW, 10 epochs, batch 32
(order 1: 48). Orders 1 to 3: learning rate 1e-3, lambda 0.4. Order 4: 5e-4, lambda 1.2 for WiC, RTE, IMDB,
Yelp, SST-2, DBpedia and Yahoo, 0.4 for the other eight. Order 5: 8e-4, 0.55. Order 6: 1e-3, 1.8 (scripts of
the official code).

Defaults that differ from the released program: lambda and form on layers that are not square, where the
program cannot run; lambda on orders 4 to 6; no gradient clip (there 1, which its trainer has where nothing is
set; here `--set protocol.gradient_clip=1`).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.lora.layer import LoraLinear
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context
from benchmark.space import Between, Space
from methods.inc_lora import IncrementalLoRA
from methods.pieces.penalties import dense_size, measure_crossed_size

PUBLISHED = 0.4
"""Lambda of order 1, on the form of the released code."""


class SparseHyperparameters(LowRankHyperparameters):
    """N-LoRA's penalty beside the adapter's settings."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    variant: Literal["official", "paper"] | None = Field(
        None, description="entries of A B (r x r), or of B A; none: A B where a layer is square, else B A"
    )
    sparsity: float | None = Field(
        None,
        ge=0,
        description="lambda, on the new update's entries; none: 0.4 on A B, 0.4 (r / d)^1.5 on B A",
    )


class SparseLoRA(IncrementalLoRA):
    """Incremental LoRA with an L1 penalty on the current update."""

    Hyperparameters = SparseHyperparameters
    search: ClassVar[Space] = {"sparsity": Between(0.01, 2)}

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Refuse layers on which the official form does not exist.

        Raises:
            UserError: `variant=official` and a layer is not square.
        """
        super().__init__(context, hyperparameters)
        if hyperparameters.variant == "official":
            for name, layer in self.stack.layers.items():
                if layer.base.in_features != layer.base.out_features:
                    raise UserError(
                        f"n-lora's official form needs layers with as many outputs as inputs, but {name} is "
                        f"{layer.base.in_features} x {layer.base.out_features}; use --set variant=paper"
                    )

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus lambda times the summed absolute entries."""
        found = [self.penalty(layer, own.lora_A, own.lora_B) for layer, own in self.stack.current_adapters()]
        return super().loss(batch) + torch.stack(found).sum()

    def penalty(self, layer: LoraLinear, down: Tensor, up: Tensor) -> Tensor:
        """Return lambda times the summed absolute entries of one layer's update, in the form it has there."""
        chosen = self.hyperparameters
        square = layer.base.in_features == layer.base.out_features
        crossed = square if chosen.variant is None else chosen.variant == "official"
        if crossed:
            return (PUBLISHED if chosen.sparsity is None else chosen.sparsity) * measure_crossed_size(
                down, up
            )
        weight = chosen.sparsity
        if weight is None:
            weight = dense_weight(len(down), down.shape[1], len(up))
        return weight * dense_size(down, up)


def dense_weight(rank: int, inputs: int, outputs: int) -> float:
    """Return the lambda that weighs |B A| of random factors as `PUBLISHED` does |A B| of a square layer."""
    return PUBLISHED * (rank / (inputs * outputs) ** 0.5) ** 1.5


METHOD = SparseLoRA
