"""Merging by average: adapters are learned apart, and the mean of their changes answers (folklore).

Idea: weights that were fine-tuned from one model for different tasks can be averaged, and the mean keeps a
part of each. The plainest of the merging rules, which the others have to beat; model soups (arXiv 2203.05482)
and task arithmetic (arXiv 2212.04089) are its ancestors.

Trained per task: an adapter from the pretrained model, and the head rows of the task's classes. Frozen: the
backbone and all earlier adapters. Stored: T adapters; one change, merged into the weights, answers. Needs
neither task id, old data nor old classes' statistics. Works on every kind of backbone. `scale` is the factor
of the mean: 1 is the average, T the sum of task arithmetic.

The mean is a sum of low-rank updates, so it is exported exactly. It is of the products: averaging factors
would mix one task's down factor with another's up factor.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.pieces.merging import AdapterMerging, Change


class AverageMerging(AdapterMerging):
    """The mean of all changes; see the module."""

    def merged(self) -> Change:
        """Return the mean change by layer."""
        changes = [self.change(index) for index in range(len(self.stack.frozen_tasks))]
        names = self.stack.layers if changes else ()
        return {name: torch.stack([change[name] for change in changes]).mean(0) for name in names}

    def low_rank_sum(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return all adapters stacked, with scale over T in the down factor."""
        share = self.hyperparameters.scale * self.stack.scaling / max(len(self.stack.frozen_tasks), 1)
        return {
            name: (share * layer.frozen.lora_A, layer.frozen.lora_B)
            for name, layer in self.stack.layers.items()
        }


METHOD = AverageMerging
