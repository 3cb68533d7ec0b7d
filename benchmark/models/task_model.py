"""What is learned and how it is answered: a head over features, or a label string after a prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.data import encoding, images, prompts
from benchmark.data.batches import Batch, ImageRows, Rows, TokenRows, VectorRows
from benchmark.models.answers import Answer
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.head import GrowingHead
from benchmark.models.special_tokens import padding_id
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.models.prefix_cache import FrozenPrefix
    from benchmark.phase import Phase


class TaskModel(ABC):
    """Turns rows into a loss and into predictions for one backbone, one stream and one protocol."""

    def __init__(self, backbone: LoadedBackbone, tasks: list[Task], protocol: Protocol) -> None:
        """Fix the classes' columns: first seen, first numbered."""
        self.backbone = backbone
        self.tasks = tasks
        self.protocol = protocol
        self.columns: dict[str, int] = {}
        for task in tasks:
            for name in task.classes:
                self.columns.setdefault(name, len(self.columns))
        self._hooks: list[Callable[[Batch], None]] = []
        self.prefix: FrozenPrefix | None = None
        self.answers: list[Answer] | None = None

    def with_prefix(self, rows: Rows, answers: list[list[int]] | None = None) -> Rows:
        """Return encoded rows, with the states of the frozen prefix where there is one.

        Args:
            answers: token ids of what a causal model's prompts are scored with; None where it generates.
        """
        return rows if self.prefix is None else self.prefix.attach(rows, answers)

    def note(self, answer: Answer) -> None:
        """Keep what a prediction was made from, if somebody collects it in `answers`."""
        if self.answers is not None:
            self.answers.append(answer)

    def blank_readings(self) -> dict[str, str]:
        """Return the readings that cannot exist here, each with the reason."""
        return {}

    def choose(self, scores: Tensor, task: int | None) -> list[Any]:
        """Return the answers of highest score `(n, classes seen)`, among the given task's classes if any."""
        raise NotImplementedError

    def before_batch(self, hook: Callable[[Batch], None]) -> None:
        """Call `hook` with every batch before the backbone reads it, as to weight adapters by its rows."""
        self._hooks.append(hook)

    def announce(self, batch: Batch) -> None:
        """Say that the backbone is about to read a batch."""
        for hook in self._hooks:
            hook(batch)

    @property
    def device(self) -> torch.device:
        """Where the backbone lies."""
        return next(self.backbone.module.parameters()).device

    @property
    def image_settings(self) -> images.ImageSettings | None:
        """How pixels are handed to the backbone; None where it takes no images."""
        settings = self.backbone.images
        if settings is not None and self.protocol.pixels == "unit":
            return images.ImageSettings(settings.size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return settings

    def task_columns(self, task: Task) -> list[int]:
        """Return the head columns of a task's classes."""
        return [self.columns[name] for name in task.classes]

    @cached_property
    def tokenizer_identity(self) -> str:
        """What decides the backbone's token ids, as a hash."""
        return encoding.tokenizer_identity(self.backbone.tokenizer)

    def token_key(self, task: Task, examples: Examples) -> list[str]:
        """Return what the tokens of a split depend on."""
        return encoding.token_key(self.tokenizer_identity, task, examples, self.protocol)

    def prompts(self, task: Task, examples: Examples, open_ended: bool = False) -> list[list[int]]:
        """Return the token ids of each text in the protocol's prompt."""
        tokenizer = self.backbone.tokenizer
        return prompts.encode_all(tokenizer, task, list(examples.texts), self.protocol, open_ended)

    @abstractmethod
    def encode(self, task: Task, examples: Examples) -> Rows:
        """Tokenise or resize a split, once."""

    @abstractmethod
    def begin_task(self, tasks: Sequence[int]) -> None:
        """Make room for the classes of the tasks about to be trained on."""

    def end_task(  # noqa: B027 (most learn nothing more)
        self, rows: Rows, answer: Callable[[Batch], object]
    ) -> None:
        """Take what is kept of a task once it is learned.

        Args:
            rows: the training rows just learned.
            answer: the method's prediction, which knows how it sets the model for a batch.
        """

    def alignment(self) -> tuple[Phase, Rows] | None:
        """Return what is still trained once a task's end has been seen, and on what; None for nothing."""
        return None

    def auxiliary_bytes(self) -> int:
        """Return the bytes kept between tasks beside the head."""
        return 0

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean training loss of a batch."""
        return self.outputs(batch)[0]

    @abstractmethod
    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits it was computed from.

        These are `(n, classes seen)` for classification and `(n, length, vocabulary)` for text to text.
        """

    @abstractmethod
    def predict(self, batch: Batch, task: int | None = None) -> list[Any]:
        """Return one answer per row; `task` is its index where the task is given away at test time."""

    @abstractmethod
    def references(self, task: Task, examples: Examples) -> list[Any]:
        """Return what `predict` should have answered, one entry per row."""

    @abstractmethod
    def metric(self, task: Task) -> str:
        """Return the name of the score, see `benchmark.scoring.task_metrics.NAMES`."""

    def normaliser(self, task: Task) -> str:
        """Return what texts are brought to before they are compared."""
        return self.protocol.normaliser

    @property
    def can_answer(self) -> bool:
        """Whether there is anything to answer with; a head has no class before the first task."""
        return True

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every parameter of backbone, adapters and head."""
        yield from self.backbone.module.parameters()

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the head's parameters that the current task trains; none for text to text."""
        return []

    def head_size(self) -> int:
        """Return how many numbers the head holds."""
        return 0

    def answering_head(self) -> dict[str, Tensor]:
        """Return the tensors that turn a feature into an answer, for use without this package."""
        return self.state()

    def state(self) -> dict[str, Tensor]:
        """Return the head."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027 (nothing to take over is right)
        """Take over what `state` returned."""


class ClassificationTaskModel(TaskModel):
    """One growing head over the backbone's feature; cross-entropy over current or over all seen classes."""

    def __init__(self, backbone: LoadedBackbone, tasks: list[Task], protocol: Protocol) -> None:
        """Start with a head without classes."""
        super().__init__(backbone, tasks, protocol)
        self.head = GrowingHead(backbone.width)
        self.current: list[int] = []

    def encode(self, task: Task, examples: Examples) -> Rows:
        """Return vectors, resized images or token ids with labels as head columns."""
        assert examples.labels is not None
        columns = np.asarray(self.task_columns(task))
        labels = torch.from_numpy(columns[examples.labels].astype(np.int64))
        if self.backbone.kind == "vector":
            vectors = torch.from_numpy(np.asarray(examples.inputs, dtype=np.float32))
            return VectorRows(vectors.to(next(self.backbone.module.parameters()).dtype), labels)
        if self.backbone.kind == "image":
            settings = self.image_settings
            assert settings is not None
            pictures = encoding.resize_images(cast(Any, examples.inputs), settings.size)
            return self.with_prefix(
                ImageRows(pictures, labels, settings, self.protocol.augmentation, self.protocol.crop_area)
            )
        tokenizer, causal = self.backbone.tokenizer, self.backbone.kind == "causal"
        key = [*self.token_key(task, examples), *(["causal"] if causal else [])]
        read = {"prompts": lambda rows: self.prompts(task, rows, open_ended=causal)}
        ids = encoding.token_lists(key, examples, read)
        return self.with_prefix(TokenRows(ids["prompts"], padding_id(tokenizer), labels))

    def begin_task(self, tasks: Sequence[int]) -> None:
        """Grow the head to the tasks' classes and let only the blocks that hold them change."""
        self.current = sorted({column for task in tasks for column in self.task_columns(self.tasks[task])})
        example = next(self.backbone.module.parameters())
        self.head.grow(max(self.current) + 1 - len(self.head), example)
        trained = self.current if self.protocol.loss == "local" else list(range(len(self.head)))
        self.head.train_only(trained)

    def features(self, batch: Batch) -> Tensor:
        """Return what the head reads, `(n, width)`."""
        self.announce(batch)
        return self.backbone.features(batch.inputs)

    def logits(self, batch: Batch) -> Tensor:
        """Return `(n, classes seen)`."""
        return self.head(self.features(batch))

    def answer_scores(self, features: Tensor) -> Tensor:
        """Return what the answer is the largest of for features `(n, width)`, `(n, classes seen)`."""
        return self.head(features)

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy under the protocol's `loss`, and the logits."""
        assert batch.labels is not None
        logits = self.logits(batch)
        return self.cross_entropy(logits, batch.labels), logits

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits `(n, classes seen)` under the protocol's `loss`."""
        if self.protocol.loss == "local":
            place = torch.full((len(self.head),), -100, device=logits.device)
            place[self.current] = torch.arange(len(self.current), device=logits.device)
            logits, labels = logits[:, self.current], place[labels]
        return functional.cross_entropy(logits, labels)

    @torch.no_grad()
    def predict(self, batch: Batch, task: int | None = None) -> list[int]:
        """Return the columns of highest score, over all classes seen or over the given task's."""
        return self.answer(self.features(batch), task)

    def answer(self, features: Tensor, task: int | None) -> list[int]:
        """Return what `predict` does for features `(n, width)`, and note what it was made from."""
        scores = self.answer_scores(features)
        predictions = self.choose(scores, task)
        self.note(Answer(predictions, features, scores))
        return predictions

    def choose(self, scores: Tensor, task: int | None) -> list[int]:
        """Return the columns of highest score, over all classes seen or over the given task's."""
        return best_columns(scores, None if task is None else self.task_columns(self.tasks[task]))

    def references(self, task: Task, examples: Examples) -> list[int]:
        """Return the columns of the labels."""
        assert examples.labels is not None
        columns = self.task_columns(task)
        return [columns[label] for label in examples.labels]

    def metric(self, task: Task) -> str:
        """Return accuracy."""
        return "accuracy"

    @property
    def can_answer(self) -> bool:
        """Whether the head has classes."""
        return len(self.head) > 0

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every parameter of backbone, adapters and head."""
        yield from super().parameters()
        yield from self.head.parameters()

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the blocks of the head that hold the current task's classes."""
        return self.head.trainable()

    def head_size(self) -> int:
        """Return the numbers of all blocks."""
        return sum(parameter.numel() for parameter in self.head.parameters())

    def state(self) -> dict[str, Tensor]:
        """Return the head's blocks."""
        return self.head.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the head's blocks."""
        self.head.restore(state, self.device)


def best_columns(scores: Tensor, columns: Sequence[int] | None) -> list[int]:
    """Return each row's column of the highest score `(n, classes)`, among the given ones where they exist."""
    if columns is not None:
        allowed = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
        allowed[[column for column in columns if column < len(allowed)]] = True
        scores = scores.masked_fill(~allowed, float("-inf"))
    return scores.argmax(1).tolist()
