"""L2P: prompts picked from a pool by the input and put before its tokens (arXiv 2112.08654, CVPR 2022).

Idea: all tasks share a pool of prompts, each with a learned key. The frozen model's feature of an input is a
query; the prompts of the most similar keys are put before the input's tokens, and the mean of their last
states is the feature that the head sees. Chosen keys are pulled towards the queries that chose them. Official
repository: google-research/l2p (JAX).

Trained per task: the whole pool, all keys that were chosen, and the head rows of the task's classes. Frozen:
the backbone. Stored: the pool and its keys, the same for any number of tasks; any prompt may be chosen, so
all are active. Two passes for a prediction. Needs neither task id, old data nor statistics, but see below.
Works on images and encoders; a vector has no tokens, and a text-to-text model no feature to ask with.

Batches: the official code gives a whole batch the prompts that most of its rows chose (`batchwise`), while
training and at test. An answer then depends on the rows it is scored with, and since test batches hold rows
of one task they give something of it away. This is declared as the need of a test batch, so the method is
not ranked with those that do without; `l2p-by-row` is the same method without it.

Differences: the official configuration for CIFAR-100 has a pull of 1.0 and 4 prompts of 10 tokens; the
defaults here, 0.1 and 5 prompts of 5 tokens, are those of the common PyTorch ports (JH-LEE-KR/l2p-pytorch,
PILOT). The pull is the sum over chosen keys, averaged over rows, as in all of them. Prompts stand before the
class token and have no position. Prompts start uniform in [0, 0.01), as in the official code (JH-LEE-KR:
[0, 1)); keys start in [-1, 1), as DualPrompt's do. The official keys start as its prompts do and so all point
much the same way: the five chosen first are pulled along together and become one. A later task trains the
prompts that earlier ones chose, and the features of old classes move with them.

Defaults that differ from the released program: pull 0.1 (there 1.0), 5 prompts of 5 tokens from a pool of 10
(there 4 of 10 tokens; 5-datasets: pull 0.5, a pool of 20), keys uniform in [-1, 1) (there [0, 0.01)), a rate
that does not grow with the batch (there with the batch of all devices; CORe50: SGD, and the whole model
trained).

Published: ViT-B/16, Adam, learning rate 0.03 x batch / 256 = 0.001875 at batch 16, 5 epochs (CIFAR-100), a
gradient norm of at most 1 (`gradient_clip`).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from benchmark import initialisation
from benchmark.method import Context, Needs
from benchmark.state import learned
from methods.pieces.prompt_tokens import PromptTokens
from methods.pieces.prompting import PromptHyperparameters, QueryPrompted, best, similarity


class PoolHyperparameters(PromptHyperparameters):
    """The pool's settings."""

    learning_rate: float = Field(0.001875, gt=0, le=10, description="of prompts and keys")
    pool_size: int = Field(10, ge=1, description="prompts in the pool, for all tasks together")
    length: int = Field(5, ge=1, description="tokens of a prompt")
    chosen: int = Field(5, ge=1, description="prompts put before an input")
    pull: float = Field(0.1, ge=0, description="weight of the similarity of chosen keys")
    batchwise: bool = Field(True, description="one choice a batch, by majority, at test too")
    gradient_clip: float | None = Field(
        1.0, gt=0, description="largest norm of a step's gradient; none: the protocol's"
    )

    @model_validator(mode="after")
    def _enough(self) -> PoolHyperparameters:
        if self.chosen > self.pool_size:
            raise ValueError(f"chosen={self.chosen} prompts are more than pool_size={self.pool_size}")
        return self


class LearningToPrompt(QueryPrompted):
    """A pool of prompts, `(pool, length, width)`, and its keys, `(pool, width)`."""

    Hyperparameters = PoolHyperparameters
    keeps = learned("prompts", "keys")
    needs = Needs(test_batch=True)
    whole_batches = True

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Initialise pool and keys."""
        super().__init__(context, hyperparameters)
        self.declare(hyperparameters.batchwise)
        self.tokens = PromptTokens(
            self.backbone, hyperparameters.chosen * hyperparameters.length, self.protocol.source_length
        )
        first, width = next(self.backbone.module.parameters()), self.backbone.width
        shape = (hyperparameters.pool_size, hyperparameters.length, width)
        self.prompts = nn.Parameter(initialisation.uniform(first, *shape, high=0.01))
        # In all directions, so that keys chosen together do not end as one; see the module.
        self.keys = nn.Parameter(initialisation.uniform(first, hyperparameters.pool_size, width, low=-1))

    def prompted(self, inputs: dict[str, Tensor], query: Tensor) -> Tensor:
        """Return the mean last state of the prompts put before the tokens."""
        similar = similarity(query, self.keys)
        picked = best(similar, self.hyperparameters.chosen, self.hyperparameters.batchwise)
        if self.learning:
            self.penalty = -self.hyperparameters.pull * similar.gather(1, picked).sum(1).mean()
        vectors = self.prompts[picked].flatten(1, 2)
        return self.tokens.hidden(inputs, vectors)[:, : vectors.shape[1]].mean(1)

    def trained(self) -> list[nn.Parameter]:
        """Return pool and keys."""
        return [self.prompts, self.keys]

    def adapter_counts(self) -> tuple[int, int]:
        """Return the pool's prompts: all are active, since any row may choose any of them."""
        return len(self.prompts), len(self.prompts)


METHOD = LearningToPrompt
