"""Classifier alignment: after each task the head learns from Gaussians of all classes seen (SLCA).

Idea: a head whose rows were trained task by task scores old and new classes on different scales. Once a task
is learned, mean and covariance of the features of its classes are kept; then all rows of the head are trained
together on features drawn from the Gaussians of every class seen. From the second task on the aligned head
answers, while the next task is trained with the head as it was before. Zhang et al., SLCA, arXiv 2303.05118
(ICCV 2023); it is what tables call "+CA". Official repository: GengDavid/SLCA.

Kept of old classes: mean and covariance of their features, counts, and the head that training goes on with,
as auxiliary bytes. So every method asks for statistics with it. Classes count as they were when their task
was learned: later tasks move features, which SLCA's slow learning rate of the backbone is to prevent.

Differences: SLCA trains the whole backbone; here what moves features is the method's. A class that comes
again has the Gaussian of all its rows. Drawing goes through eigenvectors of the covariance, where the code
takes a Cholesky factor.

Defaults that differ from the released program: the temperature of Cars is 0.05 there; of all other sets 0.1,
as here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.data.batches import Batch, EqualRows, Rows
from benchmark.models.class_gaussians import ClassGaussians
from benchmark.models.feature_statistics import FeatureStatisticsTaskModel
from benchmark.models.head import GrowingHead
from benchmark.phase import ParameterGroup, Phase
from benchmark.state import part

# Of the official code, models/slca.py and all of its configurations in exps/ (alignment = 5 epochs there).
DRAWN = 256
"""Features drawn of a class in an epoch, and the rows of a step."""
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
TEMPERATURE = 0.1
RIDGE = 1e-4
LEAST_SHARE = 0.9
SMALLEST_NORM = 1e-7

GAUSSIANS, ALIGNED = "class_gaussians.", "aligned."


class AlignedTaskModel(FeatureStatisticsTaskModel):
    """A head that is trained as any, and a copy of it that is aligned after each task and answers.

    Attributes:
        gaussians: of the features of every class seen.
        aligned: the head that answers; None during a task, and until the second is learned.
        newest: the task learned last.
    """

    def __init__(self, *arguments: Any) -> None:
        """Start without classes."""
        super().__init__(*arguments)
        self.gaussians = ClassGaussians(self.backbone.width, next(self.backbone.module.parameters()))
        self.aligned: GrowingHead | None = None
        self.newest = 0
        self._features: list[tuple[Tensor, Tensor]] = []

    def begin_task(self, tasks: Sequence[int]) -> None:
        """Make room for the tasks' classes, and let the head that they train answer meanwhile."""
        super().begin_task(tasks)
        self.newest, self.aligned = max(tasks), None

    def take(self, features: Tensor, labels: Tensor) -> None:
        """Keep a batch until the task's rows are complete."""
        self._features.append((features, labels))

    def answer_scores(self, features: Tensor) -> Tensor:
        """Return the logits of the aligned head, or of the trained one where there is none."""
        return (self.head if self.aligned is None else self.aligned)(features)

    def alignment(self) -> tuple[Phase, Rows] | None:
        """Take in the task's Gaussians; return how the head is aligned, and on what, from the second on."""
        features, labels = (torch.cat(parts) for parts in zip(*self._features, strict=True))
        self._features.clear()
        self.gaussians.add(features, labels, len(self.head), self.newest)
        if self.newest == 0:
            return None
        self.aligned = deepcopy(self.head)
        group = ParameterGroup(list(self.aligned.parameters()), LEARNING_RATE, WEIGHT_DECAY)
        phase = Phase(
            name="align",
            groups=[group],
            loss=self.alignment_loss,
            epochs=self.protocol.alignment,
            batch_size=DRAWN,
            optimizer="sgd",
            momentum=MOMENTUM,
            schedule="cosine-by-epoch",
        )
        return phase, DrawnFeatures(self.gaussians, self.newest)

    def alignment_loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy over all classes of logits brought to one scale.

        A row's logits are divided by the mean of their norms within each block of the head, that is within
        each task's classes, and by the temperature.
        """
        assert self.aligned is not None and batch.labels is not None
        logits = self.aligned(batch.inputs["features"])
        blocks = logits.split([len(bias) for bias in self.aligned.biases], dim=1)
        norms = torch.stack([block.norm(dim=1) + SMALLEST_NORM for block in blocks], dim=1)
        return functional.cross_entropy(logits / norms.mean(1, keepdim=True) / TEMPERATURE, batch.labels)

    def auxiliary_bytes(self) -> int:
        """Return the bytes of the Gaussians, and of the head that training goes on with beside the other."""
        spare = [] if self.aligned is None else self.head.state().values()
        return self.gaussians.bytes() + sum(each.nbytes for each in spare)

    def answering_head(self) -> dict[str, Tensor]:
        """Return the aligned head, where there is one."""
        return super().answering_head() if self.aligned is None else self.aligned.state()

    def state(self) -> dict[str, Tensor]:
        """Return both heads and the Gaussians."""
        held = {GAUSSIANS + name: value for name, value in self.gaussians.state().items()}
        aligned = {} if self.aligned is None else self.aligned.state()
        return super().state() | held | {ALIGNED + name: value for name, value in aligned.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over both heads and the Gaussians."""
        super().restore(state)
        self.gaussians.restore(part(state, GAUSSIANS))
        self.aligned = None
        if aligned := part(state, ALIGNED):
            self.aligned = GrowingHead(self.backbone.width)
            self.aligned.restore(aligned, self.device)


@dataclass
class DrawnFeatures(EqualRows):
    """`DRAWN` rows of every class seen, drawn from its Gaussian anew whenever they are read.

    The mean of a class of task i is scaled by 0.9 + 0.1 (i + 1) / (t + 1): features of old classes are
    expected to have shrunk.

    Attributes:
        newest: t, the task learned last.
        columns: `(k,)`, the head columns of the classes seen.
        means: `(k, d)`, scaled.
        factors: `(k, d, d)`, of the covariances plus `RIDGE`.
    """

    gaussians: ClassGaussians
    newest: int
    columns: Tensor = field(init=False)
    means: Tensor = field(init=False)
    factors: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Work out what every drawing needs."""
        self.columns = self.gaussians.seen()
        shares = LEAST_SHARE + (1 - LEAST_SHARE) * (self.gaussians.tasks[self.columns] + 1) / (
            self.newest + 1
        )
        self.means = self.gaussians.means[self.columns] * shares[:, None]
        self.factors = self.gaussians.factors(RIDGE)

    def __len__(self) -> int:
        return DRAWN * len(self.columns)

    def batch(self, rows: Sequence[int], training: bool = False) -> Batch:
        """Return newly drawn features `(n, d)` under the argument `features`."""
        classes = torch.as_tensor(rows, device=self.means.device) // DRAWN
        # Drawn on the CPU, so that a seed means the same features on every device.
        noise = torch.randn(len(classes), self.means.shape[1]).to(self.means)
        features = self.means[classes] + torch.einsum("nde,ne->nd", self.factors[classes], noise)
        return Batch({"features": features}, self.columns[classes], rows=list(rows))
