"""DualPrompt: a prompt for all tasks in the first blocks, one a task further up (arXiv 2204.04799).

Idea: what tasks share and what sets them apart is learned in different places. A general prompt stands before
the keys and values of the first blocks for all tasks, an expert prompt before those of the next blocks for
its own. While training, the task's own expert is used and its key is pulled towards the task's queries, the
frozen model's features; at test the expert with the most similar key is used. Official repository:
google-research/l2p (JAX).

Trained per task: the general prompt, the new expert and its key, and the head rows of the task's classes.
Frozen: the backbone, earlier experts and keys. Stored: one general prompt, T experts and keys; the general
one and one expert take part in a prediction, and all are active, since each is chosen for some row. Two
passes for a prediction. Needs neither task id, old data nor statistics at test. Works on images and encoders;
a vector has no attention, and a text-to-text model no feature to ask with.

Places: general in blocks 0 and 1, expert in 2 to 4 of 12, each 5 keys and 5 values long, as published; in a
model of another depth as deep in proportion (`spans`).

Differences: the official code and its ports give a whole test batch the expert that most of its rows chose,
which tells something of the task; here every row chooses (`batchwise` switches the vote on, and the need of a
test batch is then declared). The ports reshape the chosen prompts without swapping axes, which mixes the keys
and values of a batch; here every row gets its own, as in the paper. A new expert starts where the last one
ended, as in the code (`shared_prompt_pool`); its key is initialised afresh, uniform in [-1, 1]. At test
the programs choose among the keys of the whole pool, those of tasks not yet seen included, whose experts are
untrained; here among the keys of tasks seen. The pull is weighted 1.0 (the official configuration and
JH-LEE-KR/dualprompt-pytorch; PILOT has 0.1).

Defaults that differ from the released program: learning rate 0.001, PILOT's (there 0.0028 at batch 24, for
ImageNet-R 0.00047, growing with the batch of all devices); prompts and keys uniform in [-1, 1), as in the
ports (there [0, 0.01)); a choice by row, as there for ImageNet-R (for CIFAR-100 by batch); experts of 5 (for
ImageNet-R 20); a pool as large as the stream has tasks (there 10).

Published: ViT-B/16, Adam, 5 epochs (CIFAR-100), batch 24, learning rate 0.03 x batch / 256 = 0.0028 in the
official configuration, 0.001 in PILOT; a gradient norm of at most 1 (`gradient_clip`).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark import initialisation
from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.method import Context
from benchmark.state import learned
from methods.pieces.prefixes import Prefixes, spans
from methods.pieces.prompting import PromptHyperparameters, QueryPrompted, best, similarity


class DualHyperparameters(PromptHyperparameters):
    """Sizes of both kinds of prompt."""

    general_length: int = Field(5, ge=1, description="keys, and values, of the general prompt in a block")
    expert_length: int = Field(5, ge=1, description="keys, and values, of an expert in a block")
    pull: float = Field(1.0, ge=0, description="weight of the similarity of the task's key")
    pool_size: int | None = Field(None, ge=1, description="most experts; none: as many as there are tasks")
    batchwise: bool = Field(False, description="one expert a test batch, by majority")
    gradient_clip: float | None = Field(
        1.0, gt=0, description="largest norm of a step's gradient; none: the protocol's"
    )


class DualPrompt(QueryPrompted):
    """A general prompt, and an expert with a key for each task.

    Attributes:
        general: `(blocks, 2, length, width)`, keys and values.
        experts: one a task, of that shape.
        keys: one a task, `(width,)`; all but the last frozen.
    """

    Hyperparameters = DualHyperparameters
    keeps = learned("general", "experts", "keys")
    checkpoints = False

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Initialise the general prompt.

        Raises:
            UserError: the pool holds fewer experts than there are tasks.
        """
        super().__init__(context, hyperparameters)
        self.declare(hyperparameters.batchwise)
        most = hyperparameters.pool_size
        if most is not None and most < self.task_count:
            raise UserError(
                f"a pool of {most} expert prompts cannot hold the {self.task_count} tasks of this stream; "
                f"set --set pool_size={self.task_count} or more, or none"
            )
        self.prefixes = Prefixes(self.backbone)
        self.shared, self.own = spans(len(self.prefixes.layers), 2, 5)
        self.general = self._sample(len(self.shared), 2, hyperparameters.general_length, self.prefixes.width)
        self.experts: list[nn.Parameter] = []
        self.keys: list[nn.Parameter] = []

    def _sample(self, *shape: int) -> nn.Parameter:
        first = next(self.backbone.module.parameters())
        return nn.Parameter(initialisation.uniform(first, *shape, low=-1))

    def begin_task(self, t: int, rows: Rows) -> None:
        """Add the task's expert, which starts as the last one, and its key."""
        length = self.hyperparameters.expert_length
        if self.experts:
            self.experts.append(nn.Parameter(self.experts[-1].detach().clone()))
        else:
            self.experts.append(self._sample(len(self.own), 2, length, self.prefixes.width))
        self.keys.append(self._sample(self.backbone.width))

    def prompted(self, inputs: dict[str, Tensor], query: Tensor) -> Tensor:
        """Return the features under the general prompt and each row's expert, `(n, width)`."""
        if self.learning:
            similar = similarity(query, self.keys[-1][None])
            self.penalty = -self.hyperparameters.pull * similar.mean()
            experts = self.experts[-1][:, :, None]
        else:
            similar = similarity(query, torch.stack(list(self.keys)))
            chosen = best(similar, 1, self.hyperparameters.batchwise)[:, 0]
            experts = torch.stack(list(self.experts), dim=2)[:, :, chosen]
        prefixes = dict(zip(self.shared, self.general[:, :, None], strict=True))
        prefixes |= dict(zip(self.own, experts, strict=True))
        with self.prefixes.holding(prefixes):
            return self.backbone.plain_features(inputs)

    def trained(self) -> list[nn.Parameter]:
        """Return the general prompt, the last expert and its key."""
        return [self.general, self.experts[-1], self.keys[-1]]

    def adapter_counts(self) -> tuple[int, int]:
        """Return the general prompt and the experts: all are active, since some row may choose any expert."""
        count = 1 + len(self.experts)
        return count, count


METHOD = DualPrompt
