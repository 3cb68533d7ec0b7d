"""Low-rank updates as subspaces: overlaps, representability and ranks, in float64.

An update is D = B A with down factor A (r, d_in) and up factor B (d_out, r). Its row space lies in the
layer's inputs, its column space in its outputs. Nothing here forms a d_out x d_in matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
TOLERANCE = 1e-7
"""Singular values below this share of the largest are rounding: factors are stored in float32."""


@dataclass(frozen=True)
class Update:
    """The thin singular value decomposition of B A.

    Attributes:
        values: singular values above the tolerance, largest first, `(k,)`.
        rows: orthonormal basis of the row space, `(d_in, k)`.
        columns: orthonormal basis of the column space, `(d_out, k)`.
    """

    values: Array
    rows: Array
    columns: Array

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the singular values' shares (Roy and Vetterli 2007), 0 for none."""
        if not len(self.values):
            return 0.0
        shares = self.values / self.values.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    @property
    def stable_rank(self) -> float:
        """Squared Frobenius norm over squared spectral norm; 0 for B A = 0."""
        return float((self.values**2).sum() / self.values[0] ** 2) if len(self.values) else 0.0


def update(down: Array, up: Array) -> Update:
    """Return the decomposition of `up @ down`.

    Args:
        down: A, `(r, d_in)`.
        up: B, `(d_out, r)`.
    """
    q_rows, r_rows = np.linalg.qr(np.asarray(down, np.float64).T)
    q_columns, r_columns = np.linalg.qr(np.asarray(up, np.float64))
    left, values, right = np.linalg.svd(r_columns @ r_rows.T)
    kept = int((values > TOLERANCE * values[0]).sum()) if len(values) and values[0] > 0 else 0
    return Update(values[:kept], q_rows @ right[:kept].T, q_columns @ left[:, :kept])


def overlap(first: Array, second: Array) -> float | None:
    """Return the mean squared cosine of the principal angles of two subspaces, 1 where one holds the other.

    `|Q1^T Q2|_F^2 / min(k1, k2)` for orthonormal bases Q1 `(d, k1)` and Q2 `(d, k2)`; None for an empty one.
    """
    smaller = min(first.shape[1], second.shape[1])
    return float(np.square(first.T @ second).sum() / smaller) if smaller else None


def expected_overlap(first: Array, second: Array) -> float:
    """Return the mean overlap of random subspaces of the same sizes: `max(k1, k2) / d`.

    A random projector of rank k has mean k/d times the identity, so `E |Q1^T Q2|_F^2 = k1 k2 / d`.
    """
    return max(first.shape[1], second.shape[1]) / len(first)


def residual(target: tuple[Array, Array], earlier: Sequence[tuple[Array, Array]]) -> float | None:
    """Return how far an update lies from the span of earlier ones: `min_c |D - sum_k c_k D_k|_F / |D|_F`.

    0 where it is a combination of them, 1 where it is orthogonal to all of them or there are none; None for
    D = 0. The fit is that of SD-LoRA-KD (arXiv 2501.13198).

    Args:
        target: down (r, d_in) and up (d_out, r).
        earlier: the same of each earlier update.
    """
    pairs = [target, *earlier]
    # Coordinates in joint bases: the products become small and the norms stay.
    downs = np.concatenate([np.asarray(down, np.float64) for down, _ in pairs])
    ups = np.concatenate([np.asarray(up, np.float64) for _, up in pairs], axis=1)
    r_rows, r_columns = np.linalg.qr(downs.T)[1], np.linalg.qr(ups)[1]
    products, start = [], 0
    for down, _ in pairs:
        own = slice(start, start + len(down))
        products.append((r_columns[:, own] @ r_rows[:, own].T).ravel())
        start += len(down)
    size = np.linalg.norm(products[0])
    if size == 0:
        return None
    if not earlier:
        return 1.0
    design = np.stack(products[1:], axis=1)
    fitted = design @ np.linalg.lstsq(design, products[0], rcond=None)[0]
    return float(np.linalg.norm(products[0] - fitted) / size)


def effect_residual(
    target: tuple[Array, Array], earlier: Sequence[tuple[Array, Array]], inputs: Array
) -> float | None:
    """Return how far an update's effect lies from the span of earlier ones' effects on the same inputs.

    `min_c |X D^T - sum_k c_k X D_k^T|_F / |X D^T|_F`, with what is said of `residual`: small where directions
    in which the updates differ hardly occur in the inputs. One coefficient an update, as in `residual`.

    Args:
        target: down (r, d_in) and up (d_out, r).
        earlier: the same of each earlier update.
        inputs: X, `(tokens, d_in)`.
    """
    # X (B A)^T is the update whose down factor is A X^T, turned on its side.
    seen = [(np.asarray(down, np.float64) @ inputs.T, up) for down, up in (target, *earlier)]
    return residual(seen[0], seen[1:])
