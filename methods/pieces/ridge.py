"""Ridge regression from sums that add up over tasks, with the ridge chosen on held-out rows."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGES = tuple(10.0**power for power in range(-8, 9))
TRAINING_SHARE = 0.8


def solution(gram: Tensor, products: Tensor, ridge: float) -> Tensor:
    """Return (X^T X + ridge I)^-1 X^T Y, `(d, classes)`, from `gram` (d, d) and `products` (d, classes)."""
    regular = gram.double() + ridge * torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    return torch.linalg.solve(regular, products.double()).to(products)


def rounding(gram: Tensor) -> float:
    """Return the size of the error with which a Gram matrix is stored: a smaller ridge would drown in it."""
    return float(torch.finfo(gram.dtype).eps * gram.norm())


def choose_ridge(rows: Tensor, targets: Tensor, least: float = 0.0) -> float:
    """Return the ridge whose solution for the first 0.8 of the rows errs least on the others.

    Args:
        rows: `(n, d)`, in random order.
        least: smaller ridges are not considered, see `rounding`.
    """
    count = int(len(rows) * TRAINING_SHARE)
    errors = measure_held_out_errors(rows[:count], targets[:count], rows[count:], targets[count:])
    considered = [(e, -ridge) for e, ridge in zip(errors, RIDGES, strict=True) if ridge >= least]
    # Where nothing tells them apart, as with one row, the largest is the safest.
    return -min(considered)[1] if considered else RIDGES[-1]


def measure_held_out_errors(
    rows: Tensor, targets: Tensor, other_rows: Tensor, other_targets: Tensor
) -> list[float]:
    """Return, by ridge, the mean squared error on other rows of the solution for `rows`.

    With rows = U S V^T the solution is V S / (S^2 + ridge) U^T Y: one decomposition serves all ridges.
    """
    left, values, right = torch.linalg.svd(rows.double(), full_matrices=False)
    given, seen = left.t() @ targets.double(), other_rows.double() @ right.t()
    errors = []
    for ridge in RIDGES:
        predicted = (seen * (values / (values.square() + ridge))) @ given
        errors.append(float((predicted - other_targets.double()).square().mean()))
    return errors
