"""The base of methods that choose prompts by what the frozen model says of an input."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.data.batches import Batch
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, Method, Needs, ParameterGroup, Phase


class PromptHyperparameters(LowRankHyperparameters):
    """How prompts and keys are trained."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="of prompts and keys")
    gradient_clip: float | None = Field(
        None, gt=0, description="largest norm of a step's gradient; none: the protocol's"
    )


class QueryPrompted(Method):
    """Two passes for an answer: the frozen model's feature is the query, by it prompts are chosen.

    Attributes:
        learning: whether a loss is being computed, as opposed to an answer.
        penalty: what the prompts of the batch at hand cost beside the task's loss.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = PromptHyperparameters
    # A vector has no tokens, and a text-to-text model no feature to ask with.
    kinds = ("image", "encoder")
    changes = "input"
    no_sum = "it learned prompts, which are no change of a weight"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Freeze the backbone and put prompts on the way to its features."""
        super().__init__(context, hyperparameters)
        self.backbone = self.task_model.backbone
        self.backbone.module.requires_grad_(False)
        self.backbone.route = self._features
        self.learning = False
        self.penalty: Tensor | None = None

    def _features(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            query = self.backbone.plain_features(inputs)
        return self.prompted(inputs, query)

    def prompted(self, inputs: dict[str, Tensor], query: Tensor) -> Tensor:
        """Return the features `(n, width)` of inputs under the prompts chosen by `query` `(n, width)`."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Return the task's loss plus what the prompts cost."""
        self.learning, self.penalty = True, None
        try:
            loss = super().loss(batch)
        finally:
            self.learning = False
        return loss if self.penalty is None else loss + self.penalty

    def trained(self) -> list[nn.Parameter]:
        """Return the prompts and keys that the current task trains."""
        raise NotImplementedError

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over prompts, keys and the head."""
        chosen = self.hyperparameters
        group = ParameterGroup(self.trained(), chosen.learning_rate, chosen.weight_decay)
        clip = {} if chosen.gradient_clip is None else {"clip": chosen.gradient_clip}
        return [self.main_phase(t, [group, *self.head_groups()], **clip)]

    def passes(self) -> float:
        """Return two: one asks, one answers."""
        return 2.0

    def declare(self, batchwise: bool) -> None:
        """Say that a whole test batch is looked at, or that it is not."""
        self.needs = Needs(test_batch=batchwise)  # type: ignore[misc]


def similarity(query: Tensor, keys: Tensor) -> Tensor:
    """Return the cosine of queries `(n, d)` with keys `(m, d)`: `(n, m)`."""
    return functional.normalize(query.to(keys), dim=1) @ functional.normalize(keys, dim=1).t()


def best(similar: Tensor, count: int, batchwise: bool) -> Tensor:
    """Return the columns of the `count` highest similarities of each row, `(n, count)`, highest first.

    Args:
        similar: `(n, m)`.
        count: at most m.
        batchwise: give all rows the columns that most rows chose, most often chosen first; of columns chosen
            equally often the first counts.
    """
    own = similar.topk(count, dim=1).indices
    if not batchwise:
        return own
    votes = torch.bincount(own.flatten(), minlength=similar.shape[1])
    return votes.argsort(descending=True, stable=True)[:count].expand(len(similar), -1)
