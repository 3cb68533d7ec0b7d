"""Progressive Prompts: a soft prompt per task, put before those of all earlier tasks (arXiv 2301.12314).

Idea: a task learns a soft prompt before the frozen model's tokens, with the frozen prompts of all earlier
tasks behind it, so that it can use what they learned and cannot change it. A prompt is learned through a
small residual network, which is dropped afterwards. Official repository: arazd/ProgressivePrompts.

Trained per task: its prompt and the network, and the head rows of the task's classes. Frozen: the backbone
and all earlier prompts. Stored: T prompts; task i is answered with those of tasks i to 1, so up to T are
active. One pass for a prediction, longer by the prompts. Needs the task id: nothing says which prompts to
use, and nothing can be forgotten. Works wherever there are tokens: text to text, encoders, and images, where
the paper has no runs; a vector has none.

Differences: the paper chooses the best epoch on validation rows, here that is the protocol's `selection`. The
code leaves off the end of a text that is too long with its prompts; here such a stream is refused. Of an
encoder the states of the prompts are left out of the feature. On images a prompt starts as random patches of
the task's own rows, as it does from random words on texts. The code's word embeddings of T5 are not frozen by
its default settings; here the whole backbone is.

Published (T5-large): 10 tokens a prompt, AdamW, learning rate 0.3, weight decay 1e-5, batch 8; a network with
a hidden layer of 800.

Defaults that differ from the released program: the rate of the head, which there is none of; the network,
which there has to be asked for (`--prefix_MLP`, here `bottleneck=0` for none).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.data.batches import Batch, Rows
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import Context, Method, Needs, ParameterGroup, Phase
from benchmark.space import Space
from benchmark.state import learned
from methods.pieces.prompt_tokens import PromptTokens


class ProgressiveHyperparameters(LowRankHyperparameters):
    """The prompts' settings."""

    learning_rate: float = Field(0.3, gt=0, le=10, description="of the prompt and its network")
    head_learning_rate: float | None = Field(1e-3, gt=0, le=10, description="of the head; none: the same")
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    weight_decay: float = Field(1e-5, ge=0, le=1, description="on the prompt, its network and the head")
    length: int = Field(10, ge=1, description="tokens of a prompt")
    bottleneck: int = Field(800, ge=0, description="hidden size of the residual network; 0: no network")


class ProgressivePrompts(Method):
    """A prompt per task, `(length, width)`.

    Attributes:
        prompts: of all tasks; the last one is raw while its task is learned.
        network: through which the current prompt is read; None between tasks.
        asked: the task whose prompts are used.
    """

    Hyperparameters = ProgressiveHyperparameters
    keeps = learned("prompts")
    checkpoints = False
    # Prompts take rates far above those of weights; the paper's is 0.3.
    search: ClassVar[Space] = {"learning_rate": (0.03, 0.1, 0.3, 1.0)}
    needs = Needs(task_id=True)
    kinds = ("image", "encoder", "seq2seq", "causal")
    changes = "input"
    settled = True
    no_sum = "it learned prompts, which are no change of a weight"

    def __init__(self, context: Context, hyperparameters: Any) -> None:
        """Freeze the backbone and make room for the prompts of all tasks.

        Raises:
            UserError: the backbone cannot take so many tokens.
        """
        super().__init__(context, hyperparameters)
        self.backbone = self.task_model.backbone
        self.backbone.module.requires_grad_(False)
        length = self.protocol.source_length
        if self.backbone.kind == "causal":
            length += self.protocol.target_length
        self.tokens = PromptTokens(self.backbone, self.task_count * hyperparameters.length, length)
        if self.backbone.kind in ("image", "encoder"):
            self.backbone.route = self._features
        self.prompts: list[nn.Parameter] = []
        self.network: nn.Sequential | None = None
        self.asked = 0

    @torch.no_grad()
    def begin_task(self, t: int, rows: Rows) -> None:
        """Start a prompt as random tokens, and the network that it is learned through."""
        start = self._random_tokens(rows)
        self.prompts.append(nn.Parameter(start))
        width, hidden = start.shape[1], self.hyperparameters.bottleneck
        if hidden:
            layers = nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.LayerNorm(width)
            self.network = nn.Sequential(*layers).to(start)
        self.asked = t

    def _random_tokens(self, rows: Rows) -> Tensor:
        length = self.hyperparameters.length
        if self.backbone.kind != "image":
            words = self.tokens.words().weight
            return words[torch.randint(len(words), (length,)).to(words.device)].clone()
        chosen = torch.randint(len(rows), (length,)).tolist()
        module: Any = self.backbone.module
        embedded = module.embeddings(rows.batch(chosen).to(self.task_model.device).inputs["pixel_values"])
        patch = torch.randint(embedded.shape[1], (length,))
        return embedded[torch.arange(length), patch].clone()

    def _vectors(self) -> Tensor:
        """Return the prompts of the asked task and all earlier ones, newest first, `(p, width)`."""
        used = list(self.prompts[: self.asked + 1])
        newest: Tensor = used[-1]
        if self.network is not None and self.asked == len(self.prompts) - 1:
            newest = newest + self.network(newest)
        return torch.cat([newest, *(prompt.detach() for prompt in reversed(used[:-1]))])

    def _features(self, inputs: dict[str, Tensor]) -> Tensor:
        vectors = self._vectors()
        rows = len(next(iter(inputs.values())))
        hidden = self.tokens.hidden(inputs, vectors.expand(rows, -1, -1))
        return self.backbone.pool(hidden[:, len(vectors) :], inputs)

    def _prompting(self) -> AbstractContextManager[None]:
        return self.tokens.holding(self._vectors())

    def loss(self, batch: Batch) -> Tensor:
        """Return the current task's loss with the prompts before the tokens."""
        self.asked = len(self.prompts) - 1
        if self.backbone.route is not None:
            return super().loss(batch)
        with self._prompting():
            return super().loss(self.tokens.with_places(batch))

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None) -> list[Any]:
        """Answer with the prompts of the given task and those before it."""
        assert task is not None
        self.asked = task
        if self.backbone.route is not None:
            return super().predict(batch, task)
        with self._prompting():
            return super().predict(self.tokens.with_places(batch), task)

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the prompt, its network and the head."""
        chosen = self.hyperparameters
        learned = [self.prompts[-1], *(self.network.parameters() if self.network else ())]
        group = ParameterGroup(learned, chosen.learning_rate, chosen.weight_decay)
        return [self.main_phase(t, [group, *self.head_groups()])]

    @torch.no_grad()
    def end_task(self, t: int, rows: Rows) -> None:
        """Keep what the network makes of the prompt, and drop the network."""
        self.asked = t
        final = self._vectors()[: self.hyperparameters.length]
        self.prompts[-1] = nn.Parameter(final.clone(), requires_grad=False)
        self.network = None

    def adapter_counts(self) -> tuple[int, int]:
        """Return every prompt twice: the last task's answers depend on all of them."""
        return len(self.prompts), len(self.prompts)

    def after_restore(self) -> None:
        """Go on between tasks, where no network is."""
        self.network = None


METHOD = ProgressivePrompts
