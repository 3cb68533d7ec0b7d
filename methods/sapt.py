"""SAPT: one shared attention over all adapters, held by rehearsed inputs (arXiv 2401.08295, ACL 2024).

Idea: choosing an adapter for an input and learning the adapter should be one act. A shared network turns a
row's pooled input embedding into a query, each task has a key, and the attention over keys weights the
adapters, while training and at test alike. The shared network drifts, so the attention of old inputs is held
to what it was when their task was learned. Official repository: circle-hit/SAPT.

Trained per task: the new adapter, the new key, the shared network and the head rows of the task's classes.
Frozen: the backbone, all earlier adapters and keys. Stored: T adapters, T keys and the network, all active,
weighted per input; of each task the mean attention and `rehearsed` pooled inputs, as auxiliary bytes. Needs
old data. Works on every kind of backbone.

Differences from the official code: it holds the attention with pseudo inputs that a second adapter per task
generates; here pooled embeddings of real inputs are stored instead, so old data is needed and declared. They
are all that the attention looks at, and the embedding layer is frozen, so nothing is lost by pooling first.
The attention is held at every step, where the code can wait some epochs and skip steps. Old branches run with
gradients (the code cuts them); pooling is the mean over real tokens (the code takes the maximum, padding
included). `rehearsed=0` switches the holding off.

Published settings (T5-large): SuperNI rank 4, alpha 32, learning rate 3e-4, batch 32, 100 epochs, holding
0.5; Long rank 8, 10 epochs, holding 0.1.

Defaults that differ from the released program: stored inputs in place of generated ones (`rehearsed`);
holding 0.5 is SuperNI's (Long: 0.1, used in the protocol `sapt`); no gradient clip (there 1, which its
trainer has where nothing is set; here `--set protocol.gradient_clip=1`).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import in_order
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, Needs, ParameterGroup
from benchmark.state import auxiliary, learned
from methods.pieces.input_weights import InputWeighted


class AttentionHyperparameters(LowRankHyperparameters):
    """The attention's settings beside the adapter's."""

    learning_rate: float = Field(3e-4, gt=0, le=10, description="of adapter, key and shared network")
    attention_width: int = Field(100, ge=1, description="of the shared network's hidden layer")
    holding: float = Field(0.5, ge=0, description="weight of the divergence from old inputs' old attention")
    rehearsed: int = Field(20, ge=0, description="pooled inputs stored of each task")


class SharedAttention(InputWeighted):
    """Attention weights over all adapters.

    Attributes:
        network: the shared layers, (h, d) and (d, h), then the normalisation's gain and bias, (d,) each.
        keys: one per task, `(d,)` each; all but the last frozen.
        inputs: stored pooled inputs of each finished task, `(rehearsed, d)`.
        attentions: mean attention of each finished task, `(tasks then,)`.
    """

    Hyperparameters = AttentionHyperparameters
    keeps = learned("network", "keys") + auxiliary("inputs", "attentions")
    needs = Needs(rehearsal=True)
    whole_batches = True

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Start without keys."""
        super().__init__(context, hyperparameters)
        self.network: list[nn.Parameter] = []
        self.keys: list[nn.Parameter] = []
        self.inputs: list[Tensor] = []
        self.attentions: list[Tensor] = []

    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a new adapter and key; make the shared network at the first task."""
        super().begin_task(t, rows)
        query = self.queries(rows.batch([0], training=True).to(self.task_model.device))
        size, width = query.shape[1], self.hyperparameters.attention_width
        if not self.network:
            for shape in ((width, size), (size, width)):
                self.network.append(nn.Parameter(initialisation.kaiming_uniform(query, *shape, a=5**0.5)))
            self.network += [nn.Parameter(query.new_ones(size)), nn.Parameter(query.new_zeros(size))]
        self.keys.append(nn.Parameter(initialisation.uniform(query, size, low=-1)))

    def weights(self, query: Tensor) -> Tensor:
        """Return the attention over keys, `(n, t)`: softmax of scaled products with the normalised query."""
        return self.log_attention(query).exp()

    def log_attention(self, query: Tensor) -> Tensor:
        """Return the attention's logarithm."""
        down, up, gain, bias = self.network
        hidden = functional.silu(query @ down.t() @ up.t())
        hidden = functional.layer_norm(hidden, gain.shape, gain, bias)
        keys = torch.stack([*(key.detach() for key in self.keys[:-1]), self.keys[-1]])
        return functional.log_softmax(hidden @ keys.t() / hidden.shape[1] ** 0.5, dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Return the task loss plus the weighted divergence on stored inputs."""
        loss, weight = super().loss(batch), self.hyperparameters.holding
        return loss + weight * self.divergence() if self.inputs and weight else loss

    def divergence(self) -> Tensor:
        """Return the sum over old tasks of the mean of KL(attention then || now) over their inputs."""
        now = self.log_attention(torch.cat(self.inputs))
        then = torch.cat(
            [
                functional.pad(attention, (0, now.shape[1] - len(attention))).expand(len(stored), -1)
                for attention, stored in zip(self.attentions, self.inputs, strict=True)
            ]
        )
        shares = torch.cat([stored.new_full((len(stored),), 1 / len(stored)) for stored in self.inputs])
        return shares @ functional.kl_div(now, then, reduction="none").sum(1)

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Store randomly chosen pooled inputs, and the task's mean attention."""
        count = self.hyperparameters.rehearsed
        if not count:
            return
        given = in_order(rows, self.protocol.batch_size, self.task_model.device)
        queries = torch.cat([self.queries(batch) for batch in given])
        self.attentions.append(self.weights(queries).mean(0))
        self.inputs.append(queries[torch.randperm(len(queries))[:count].to(queries.device)])

    def groups(self) -> list[ParameterGroup]:
        """Add key and network, at the adapter's learning rate; a single key leaves nothing to attend to."""
        adapter, *head = super().groups()
        if len(self.keys) == 1:
            return [adapter, *head]
        rate = self.hyperparameters.learning_rate
        return [adapter, ParameterGroup([self.keys[-1], *self.network], rate), *head]

    def report(self, t: int) -> dict[str, Any]:
        """Return the task's mean attention, by task."""
        return {"attention": self.attentions[t].tolist()} if self.attentions else {}


METHOD = SharedAttention
