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
DRAWS = 10
"""How many random updates are sampled for the residual of an effect that they would leave."""


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
    adapters = [target, *earlier]
    # Coordinates in joint bases: the products become small and the norms stay.
    downs = np.concatenate([np.asarray(down, np.float64) for down, _ in adapters])
    ups = np.concatenate([np.asarray(up, np.float64) for _, up in adapters], axis=1)
    r_rows, r_columns = np.linalg.qr(downs.T)[1], np.linalg.qr(ups)[1]
    products, start = [], 0
    for down, _ in adapters:
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


def expected_residual(target: tuple[Array, Array], earlier: Sequence[tuple[Array, Array]]) -> float | None:
    """Return the residual, root of the mean square, that random updates would leave in place of the earlier.

    `sqrt(1 - n / (d_in d_out))` for n of them that are not zero, whatever their singular values: where row
    and column spaces are uniform, their span favours none of the `d_in d_out` directions (Schur's lemma).
    None for a zero target, as in `residual`.
    """
    if residual(target, []) is None:
        return None
    drawn = sum(len(update(*adapter).values) > 0 for adapter in earlier)
    return float(max(0.0, 1 - drawn / (target[0].shape[1] * target[1].shape[0])) ** 0.5)


def random_effect_residual(
    target: tuple[Array, Array],
    earlier: Sequence[tuple[Array, Array]],
    inputs: Array,
    seed: Sequence[int],
    draws: int = DRAWS,
) -> float | None:
    """Return the effect residual, root of the mean square, of a target fitted by random updates.

    They have the singular values of the earlier ones and uniformly random row and column spaces, so this is
    what is left by updates that know neither the target nor the inputs. None as in `effect_residual`.

    Args:
        target: down (r, d_in) and up (d_out, r).
        earlier: the same of each earlier update.
        inputs: X, `(tokens, d_in)`.
    """
    generator = np.random.default_rng(list(seed))
    spectra = [(update(down, up).values, down.shape[1], up.shape[0]) for down, up in earlier]
    found = []
    for _ in range(draws):
        drawn = [_random_adapter(*spectrum, generator) for spectrum in spectra]
        left = effect_residual(target, drawn, inputs)
        if left is None:
            return None
        found.append(left)
    return float(np.sqrt(np.mean(np.square(found))))


def _random_adapter(
    values: Array, d_in: int, d_out: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return down and up factors with given singular values and uniformly random row and column spaces."""
    rows, columns = (np.linalg.qr(generator.normal(size=(d, len(values))))[0] for d in (d_in, d_out))
    return rows.T * values[:, None], columns
