"""What class means of features serve for beside classifying: negatives for a triplet loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def augmented_triplet(
    features: Tensor, labels: Tensor, columns: Tensor, directions: Tensor, margin: float
) -> Tensor:
    """Return the mean of max(0, farthest positive - nearest negative + margin) over unit vectors `(n, d)`.

    Positives of a row are the batch's rows of its class, negatives those of other classes and the directions
    `(k, d)` of other classes, whose columns `(k,)` are given. A row without a negative costs nothing.
    """
    # The mode that multiplies matrices finds a row at some distance from itself.
    exactly = "donot_use_mm_for_euclid_dist"
    between = torch.cdist(features, features, compute_mode=exactly)
    same = labels[:, None] == labels
    positive = between.masked_fill(~same, 0).amax(1)
    to_means = torch.cdist(features, directions, compute_mode=exactly)
    own = labels[:, None] == columns
    infinite = float("inf")
    others = [between.masked_fill(same, infinite), to_means.masked_fill(own, infinite)]
    return functional.relu(positive - torch.cat(others, dim=1).amin(1) + margin).mean()


def complete_means(means: list[Tensor]) -> list[Tensor]:
    """Return class means of every task in the spaces of all tasks; EASE's completion (arXiv 2403.12030).

    In the space k of a later task a class is put together from the classes of tasks k and later, weighted by
    the softmax of its cosines with them in its own task's space.

    Args:
        means: by task t, of its classes in spaces 0 to t, `(t + 1, classes, d)`.

    Returns:
        By task, `(tasks, classes, d)`.
    """
    full = []
    for task, own in enumerate(means):
        spaces = list(own)
        for space in range(task + 1, len(means)):
            newer = means[space:]
            there = functional.normalize(torch.cat([seen[task] for seen in newer]), dim=1)
            likeness = functional.softmax(functional.normalize(own[task], dim=1) @ there.t(), dim=1)
            spaces.append(likeness @ torch.cat([seen[space] for seen in newer]))
        full.append(torch.stack(spaces))
    return full
