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
