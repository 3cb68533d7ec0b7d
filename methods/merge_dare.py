"""DARE merging: drop entries at random, rescale the rest, average (arXiv 2311.03099, ICML 2024).

Idea: most entries of a change are redundant. Each is dropped with one probability and what is left is divided
by the share kept, so that the expected change is the same; sparse changes then disturb each other less when
they are averaged. Official repository: yule-BUAA/MergeLM.

Trained per task: an adapter from the pretrained model, and the head rows of the task's classes. Frozen: the
backbone. Stored: the merged change, as large as the adapted weights and of constant size; it answers, merged
into the weights. Needs neither task id, old data nor old classes' statistics. Works on every kind of
backbone. The merged change has full rank, so there is no peft form.

Dropped and rescaled by peft's `dare_linear` on the dense change. Differences: a change is dropped from once,
when its task ends, so that the running mean is that of all sparse changes and no adapter has to be kept; the
factor of the mean is `scale`. The default share kept is this suite's choice and not quoted from the paper.

Defaults that differ from the released program: half of the entries are kept (there 0.9 by default and 0.8 in
its example of merging); learning rate and optimiser are this suite's.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.pieces.merging import Change, MergeHyperparameters, RunningMerging, flat, unflat


class DropHyperparameters(MergeHyperparameters):
    """How much is kept beside the merge's settings."""

    density: float = Field(0.5, gt=0, lt=1, description="share of each change's entries that is kept")


class DareMerging(RunningMerging):
    """The mean of sparse changes; see the module."""

    Hyperparameters = DropHyperparameters

    def merge(self, t: int, change: Change) -> Change:
        """Return the mean of t + 1 sparse changes from that of t."""
        sparse = unflat(drop_entries(flat(change), self.hyperparameters.density), change)
        if not self.running:
            return sparse
        return {name: value + (sparse[name] - value) / (t + 1) for name, value in self.running.items()}


def drop_entries(vector: Tensor, density: float) -> Tensor:
    """Return a vector with entries kept by chance and divided by that chance, the others zero."""
    from peft.utils.merge_utils import dare_linear

    # Sampled on the CPU, so that a seed means the same entries on every device.
    return dare_linear([vector.cpu()], torch.ones(1, dtype=vector.dtype), density).to(vector.device)


METHOD = DareMerging
