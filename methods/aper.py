"""APER: adapt on the first task, then class means of both models' features (arXiv 2303.07338, IJCV 2024).

Idea: the pretrained model generalises and the adapted one knows the domain. One pair is trained on the first
task and frozen; the features of the model with and without it are put side by side, each class is remembered
by the mean of its rows' pairs of features, and a prediction is the class of the highest cosine. Official
repository: zhoudw-zdw/RevisitingCIL.

Trained: the pair and the head, on the first task alone. Frozen: the backbone, and all from then on. Stored:
one pair, which is active; one mean of twice the feature's width a class, as auxiliary bytes. Needs statistics
of old classes, these means; neither task id nor old data. The head only trains. A prediction takes two
passes. Works where there is a feature to average: on vectors, images and encoders.

Differences: the pair is the protocol's LoRA, where the official code has a bottleneck adapter, prompts,
scale-and-shift or the whole model to choose from; the head that trains is the protocol's, not a cosine one.

Settings of LAMDA-PILOT's version of the code: SGD with a cosine schedule, 0.01 on CIFAR-100 and 0.05 on
ImageNet-R, 20 and 10 epochs, batch 48 and 16.

Defaults that differ from the released program: none for CIFAR-100; ImageNet-R's learning rate there is 0.05.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.method import Accounting
from methods.pieces.feature_classifier import MeanClassifier
from methods.pieces.first_task import FirstTaskAdapted


class APER(MeanClassifier, FirstTaskAdapted):
    """Class means of pretrained and adapted features; see the module."""

    def width(self) -> int:
        """Return the size of both features together."""
        return 2 * super().width()

    def features(self, batch: Batch) -> Tensor:
        """Return the pretrained and the adapted feature side by side, `(n, 2 width)`."""
        both = []
        for task in (None, 0):
            with self.through(task):
                both.append(super().features(batch))
        return torch.cat(both, dim=1)

    def accounting(self) -> Accounting:
        """Count both passes."""
        return replace(super().accounting(), passes_per_prediction=2.0)


METHOD = APER
