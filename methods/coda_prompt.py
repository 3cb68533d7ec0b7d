"""CODA-Prompt: prompts mixed from components by attention to the input (arXiv 2211.13218, CVPR 2023).

Idea: instead of choosing a prompt, all are mixed, so that choosing can be learned with the task's own loss.
In each block a component has a key and an attention vector; its weight is the cosine of its key and the query
multiplied by its attention, the query being the frozen model's feature. Each task adds components that start
orthogonal to all earlier ones and trains them alone. Official repository: GT-RIPL/CODA-Prompt.

Trained per task: its own components, keys and attentions, and the head rows of the task's classes. Frozen:
the backbone and all earlier components. Stored: the components of the tasks seen, a budget split evenly; all
are active, weighted per input. Two passes for a prediction. Needs neither task id, old data nor statistics.
Works on images and encoders; a vector has no attention, and a text-to-text model no feature to ask with.

Places: keys and values of blocks 0 to 4 of 12, as published; in a model of another depth as deep in
proportion (`spans`).

Orthogonality: new components, keys and attentions are random at first and made orthonormal to each other and
to all earlier ones (Gram-Schmidt, by way of QR, which is exact where trained earlier ones are no longer
orthogonal). With a weight `orthogonality` above zero a penalty holds each set T close to it: the mean of the
squared entries of T T^t - 1, summed over the three sets and the blocks. Its default is 0, as in the released
scripts. The first release had 0.1 times a further 1e-6 in the code, which is next to nothing; without that
factor 0.1 outweighs the task's loss. A pool larger than the feature cannot be orthogonal
and is refused; the default is the published 100, or the feature's width where that is less.

Differences: the first release of the official code initialises all components at once; here, as in its later
one, a task's own are made when it begins. A remainder of the pool that the tasks do not share evenly is
unused, as there.

Defaults that differ from the released program: none; where a feature is narrower than 100, the pool is as
large as the feature.

Published: ViT-B/16, 100 components of length 8 (4 keys, 4 values), Adam, learning rate 0.001, which falls by
epoch along a quarter of a cosine to 1.6 %, batch 128, 20 epochs (CIFAR-100) or 50 (ImageNet-R).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.lora.layer import exact
from benchmark.method import Context
from benchmark.state import learned
from methods.pieces.prefixes import Prefixes, spans
from methods.pieces.prompting import PromptHyperparameters, QueryPrompted

LARGEST_POOL = 100


class ComponentHyperparameters(PromptHyperparameters):
    """The components' settings."""

    pool_size: int | None = Field(
        None,
        ge=1,
        description="components of all tasks; none: 100, or the feature's width where that is less",
    )
    length: int = Field(8, ge=2, multiple_of=2, description="of a component: keys and values, half each")
    orthogonality: float = Field(0.0, ge=0, description="weight of the orthogonality penalty")


class CodaPrompt(QueryPrompted):
    """Components of every task, each with a key and an attention in every prompted block.

    Attributes:
        components: one a task, `(blocks, m, length x width)`.
        keys: one a task, `(blocks, m, width)`.
        attentions: one a task, `(blocks, m, width)`.
        share: m, the components of a task.
    """

    Hyperparameters = ComponentHyperparameters
    keeps = learned("components", "keys", "attentions")
    checkpoints = False
    schedule = "quarter-cosine-by-epoch"  # as in the official code

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without components.

        Raises:
            UserError: the pool holds fewer components than there are tasks, or more than can be orthogonal.
        """
        super().__init__(context, hyperparameters)
        self.prefixes = Prefixes(self.backbone)
        (self.blocks,) = spans(len(self.prefixes.layers), 5)
        width = self.backbone.width
        pool = hyperparameters.pool_size or min(LARGEST_POOL, width)
        if pool < self.task_count:
            raise UserError(
                f"a pool of {pool} components cannot hold the {self.task_count} tasks of this stream; "
                f"set --set pool_size={self.task_count} or more"
            )
        if pool > width:
            raise UserError(
                f"{pool} components cannot be orthogonal in features of width {width}; "
                f"set --set pool_size={width} or less"
            )
        self.share = pool // self.task_count
        self.components: list[nn.Parameter] = []
        self.keys: list[nn.Parameter] = []
        self.attentions: list[nn.Parameter] = []

    def _sets(self) -> tuple[list[nn.Parameter], ...]:
        return self.components, self.keys, self.attentions

    def begin_task(self, t: int, rows: Rows) -> None:
        """Add the task's components, orthogonal to all earlier ones."""
        width = self.backbone.width
        sizes = self.hyperparameters.length * self.prefixes.width, width, width
        first = next(self.backbone.module.parameters())
        for values, size in zip(self._sets(), sizes, strict=True):
            none = first.new_zeros(len(self.blocks), 0, size)
            past = torch.cat([none, *(x.detach() for x in values)], dim=1)
            new = torch.stack([orthonormal(self.share, past_of_block) for past_of_block in past])
            values.append(nn.Parameter(new))

    def _join_sets(self, values: list[nn.Parameter]) -> Tensor:
        """Return a set over all tasks, `(blocks, m x tasks, size)`; a gradient reaches the last task's."""
        return torch.cat([*(x.detach() for x in values[:-1]), values[-1]], dim=1)

    def prompted(self, inputs: dict[str, Tensor], query: Tensor) -> Tensor:
        """Return the features under each row's mixture, `(n, width)`."""
        components, keys, attentions = (self._join_sets(values) for values in self._sets())
        prefixes = {}
        for number, block in enumerate(self.blocks):
            weights = component_weights(query, keys[number], attentions[number])
            mixed = (weights @ components[number]).unflatten(1, (2, -1, self.prefixes.width))
            prefixes[block] = mixed.transpose(0, 1)
        if self.learning and self.hyperparameters.orthogonality:
            sets = [values for of_blocks in (components, keys, attentions) for values in of_blocks]
            departures = torch.stack([departure(values) for values in sets])
            self.penalty = self.hyperparameters.orthogonality * departures.sum()
        with self.prefixes.holding(prefixes):
            return self.backbone.plain_features(inputs)

    def trained(self) -> list[nn.Parameter]:
        """Return the last task's components, keys and attentions."""
        return [values[-1] for values in self._sets()]

    def adapter_counts(self) -> tuple[int, int]:
        """Return the components of the tasks seen, all of them active."""
        count = self.share * len(self.keys)
        return count, count


def component_weights(query: Tensor, keys: Tensor, attentions: Tensor) -> Tensor:
    """Return the weight of each component for each query, `(n, m)`: cos(query x attention, key)."""
    attended = functional.normalize(query.to(keys)[:, None] * attentions, dim=2)
    return torch.einsum("nmd,md->nm", attended, functional.normalize(keys, dim=1))


def departure(values: Tensor) -> Tensor:
    """Return how far rows `(m, d)` are from orthonormal: the mean of the squared entries of V V^t - 1."""
    return (values @ values.t() - torch.eye(len(values)).to(values)).square().mean()


def orthonormal(count: int, past: Tensor) -> Tensor:
    """Return random rows `(count, d)` that are orthonormal to each other and orthogonal to `past` `(k, d)`.

    count + k may not exceed d.
    """
    earlier = exact(past)
    drawn = torch.randn(count, past.shape[1], dtype=earlier.dtype).to(earlier.device)
    # Of the earlier ones only their span counts: trained, they are neither unit nor orthogonal.
    basis = torch.linalg.qr(torch.cat([earlier, drawn]).t()).Q
    return basis[:, len(past) :].t().to(past)


METHOD = CodaPrompt
