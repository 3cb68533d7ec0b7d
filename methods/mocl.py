"""MoCL: adapters are weighted by how well their tasks' keys match the input (arXiv 2404.00790, NAACL 2024).

Idea: a new task can use what similar old tasks have learned, as far as it is similar. Each task has a key in
the space of input embeddings; the cosines of a row's embedding with all keys weight the adapters, while
training a new one as well as at test. Nothing old changes. Official repository:
boschresearch/MoCL-NAACL-2024.

Trained per task: the new adapter, the new key and the head rows of the task's classes. Frozen: the backbone,
all earlier adapters and keys. Stored: T adapters and T keys, all active, weighted per input. Needs neither
task id, old data nor statistics. Works on every kind of backbone.

Follows the scripts of the official code where the text differs: the weights are softmax(8 cos), not the
cosines; the matching loss, which draws the new key towards the task's inputs, is on. Differences: the query
is the mean input embedding; old keys are frozen, as in the paper and in the release for prefixes, where the
release for LoRA keeps training them with the new one; the protocol's head answers, where the code has one
head per task; its class-incremental mode, which fits Gaussians to the embeddings of each task, is left out:
the weights alone answer.

Defaults that differ from the released program: none.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.data.batches import Batch, Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import ParameterGroup
from benchmark.state import learned, stored
from methods.pieces.input_weights import InputWeighted


class MatchingHyperparameters(LowRankHyperparameters):
    """The keys' settings beside the adapter's."""

    sharpness: float = Field(8.0, gt=0, description="of the softmax over cosines")
    matching: float = Field(1.0, ge=0, description="weight of the loss that draws a key to its inputs")


class MoCL(InputWeighted):
    """Softmax weights over all adapters, by keys.

    Attributes:
        past_keys: those of the frozen adapters, `(frozen, d)`.
        key: the current adapter's, where there is one.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = MatchingHyperparameters
    keeps = stored("past_keys") + learned("key")
    # The matching loss is a mean over rows, a language model's own one over tokens.
    whole_batches = True
    past_keys: Tensor | None = None
    key: nn.Parameter | None = None

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter and a random key."""
        query = self.queries(rows.batch([0], training=True).to(self.task_model.device))
        self.past_keys = query[:0] if self.past_keys is None else self.keys().detach()
        super().begin_task(t, rows)
        self.key = nn.Parameter(initialisation.uniform(query, query.shape[1]))

    def keys(self) -> Tensor:
        """Return the keys of all adapters held, `(adapters, d)`."""
        assert self.past_keys is not None
        if self.key is None:
            return self.past_keys
        return torch.cat([self.past_keys, self.key[None]])

    def weights(self, query: Tensor) -> Tensor:
        """Return softmax(sharpness cos(query, keys)), `(n, adapters)`."""
        return functional.softmax(self.hyperparameters.sharpness * self.matches(query), dim=1)

    def matches(self, query: Tensor) -> Tensor:
        """Return the cosine of every query with every key, `(n, adapters)`."""
        return functional.normalize(query, dim=1) @ functional.normalize(self.keys(), dim=1).t()

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus the mean distance of the new key from the task's inputs."""
        loss = super().loss(batch)
        distance = 1 - self.matches(self.queries(batch))[:, -1].mean()
        return loss + self.hyperparameters.matching * distance

    def groups(self) -> list[ParameterGroup]:
        """Add the key, at the adapter's learning rate."""
        adapter, *head = super().groups()
        assert self.key is not None
        return [adapter, ParameterGroup([self.key], self.hyperparameters.learning_rate), *head]

    def drop_current(self) -> None:
        """Forget the adapter just learned and its key."""
        super().drop_current()
        self.key = None


METHOD = MoCL
