"""TIES merging: trim, elect a sign per weight, average what agrees (arXiv 2306.01708, NeurIPS 2023).

Idea: changes of different tasks cancel out where small entries are noise and where signs disagree. Of each
change only the largest entries are kept; at each weight the sign of larger total mass is elected; the mean is
taken over the tasks that have an entry of that sign. Official repository: prateeky2806/ties-merging.

Trained per task: an adapter from the pretrained model, and the head rows of the task's classes. Frozen: the
backbone and all earlier adapters. Stored: T adapters, since every merge looks at all changes; one change,
merged into the weights, answers. Needs neither task id, old data nor old classes' statistics. Works on every
kind of backbone. The merged change has full rank, so there is no peft form.

Merged by peft's `ties` on the dense changes of all adapted layers in one vector, so entries compete across
layers. Differences from the official code: of n entries floor(n density) are kept, there one more; where the
total mass is zero the positive sign is elected, there the one of most.

Published settings: the largest 20 % are kept (`topk20`), signs by mass (`mass`); the factor of the merged
change is searched from 0.8 to 2.5 on validation rows, and 1 without such; T5 is trained by AdamW at 1e-4.

Defaults that differ from the released program: the factor 1 (there searched); Adam at 1e-3 (there AdamW at
1e-4, without decay).
"""

from __future__ import annotations

import torch
from pydantic import Field

from methods.pieces.merging import AdapterMerging, Change, MergeHyperparameters, flat, unflat


class TrimHyperparameters(MergeHyperparameters):
    """How much is kept beside the merge's settings."""

    density: float = Field(0.2, gt=0, lt=1, description="share of each change's entries that is kept")


class TiesMerging(AdapterMerging):
    """Trim, elect, average; see the module."""

    Hyperparameters = TrimHyperparameters

    def merged(self) -> Change:
        """Return the merged change by layer."""
        from peft.utils.merge_utils import ties

        changes = [self.change(index) for index in range(len(self.stack.frozen_tasks))]
        if not changes:
            return {}
        vectors = [flat(change) for change in changes]
        equal = torch.ones(len(vectors), dtype=vectors[0].dtype, device=vectors[0].device)
        return unflat(ties(vectors, equal, self.hyperparameters.density), changes[0])


METHOD = TiesMerging
