"""Gradient projection memory: which input directions of a layer old tasks rely on, and which are free.

GPM (arXiv 2103.09762) keeps an orthonormal basis of the directions that must not change. DualGPM (InfLoRA,
arXiv 2404.00228) keeps the basis of their complement once that is the smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SubspaceMemory:
    """An orthonormal basis `(d, k)` of one layer's inputs.

    Attributes:
        retains: False: the basis spans what must not change ("remove" in InfLoRA's code). True: it spans what
            is still free ("retain").
    """

    basis: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    retains: bool = False

    @classmethod
    def empty(cls, like: Tensor) -> SubspaceMemory:
        """Return the memory of no task; `like` is `(d, ...)`."""
        return cls(like.new_zeros(len(like), 0))

    def free_share(self) -> float:
        """Return the share of the directions that are free."""
        share = self.basis.shape[1] / len(self.basis)
        return share if self.retains else 1 - share

    def free(self, columns: Tensor) -> Tensor:
        """Return the part of `(d, m)` in the free directions."""
        within = self.basis @ (self.basis.t() @ columns)
        return within if self.retains else columns - within

    def update(self, moments: Tensor, threshold: float, power: int = 2, dual: bool = True) -> None:
        """Take in a task's second moments so that a share `threshold` of their energy is remembered.

        Args:
            moments: `(d, d)` mean of x x^T.
            threshold: share of the energy, 0 to 1.
            power: of the moments' singular values in the energy: 2 is InfLoRA's, 1 is GPM's, whose singular
                values are of the inputs themselves.
            dual: whether to change over to the complement once the basis spans more than half of the space.
        """
        if self.retains:
            self._release(moments, threshold, power)
        else:
            self._remember(moments, threshold, power)
            if dual and 2 * self.basis.shape[1] > len(self.basis):
                self.basis, self.retains = complement(self.basis), True

    def _remember(self, moments: Tensor, threshold: float, power: int) -> None:
        total = energies(moments, power)[1].sum()
        rest = self.free(moments)
        if power == 1:
            rest = self.free(rest.t())
        left, lost = energies(rest, power)
        share = 1 - lost.sum() / total
        present = int((lost > rounding(moments) ** power).sum())
        # Directions are added while the share is below the threshold, the first task at least one.
        reached = share + torch.cumsum(lost, 0) / total
        first = self.basis.shape[1] == 0
        # Of the first task the direction that crosses the threshold is left out, of later ones it is added.
        before = reached if first else torch.cat([share.reshape(1), reached[:-1]])
        count = min(max(int((before < threshold).sum()), int(first)), present)
        # Rounding leaves small directions a share inside the memory, which would add up over tasks.
        fresh = torch.linalg.qr(self.free(left[:, :count]))[0]
        self.basis = torch.cat([self.basis, fresh], dim=1)

    def _release(self, moments: Tensor, threshold: float, power: int) -> None:
        total = energies(moments, power)[1].sum()
        inside = self.free(moments)
        if power == 1:
            inside = self.free(inside.t())
        left, held = energies(inside, power)
        share = held.sum() / total
        present = int((held > rounding(moments) ** power).sum())
        count, size = 0, self.basis.shape[1]
        while count < min(size, present) and share >= 1 - threshold:
            share = share - held[count] / total
            count += 1
        if count:
            gone = left[:, :count]
            rest = self.basis - gone @ (gone.t() @ self.basis)
            self.basis = torch.linalg.svd(rest, full_matrices=False)[0][:, : size - count]

    def state(self) -> dict[str, Tensor]:
        """Return basis and mode."""
        return {"basis": self.basis, "retains": torch.tensor(int(self.retains))}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        basis, self.retains = state["basis"], bool(state["retains"])
        # A complement comes from an SVD, column by column in memory, and a product's rounding depends on it.
        self.basis = basis.t().contiguous().t() if self.retains else basis


def free_rows(memory: SubspaceMemory, columns: Tensor, rank: int) -> Tensor:
    """Return rows (r, d), the leading left singular vectors of the free part of `(d, m)`.

    Rows past the rank of that part are zero: rounding alone would choose them, inside the memory as likely as
    outside.
    """
    left, values = energies(memory.free(columns), power=1)
    return memory.free(left[:, :rank]).t() * (values[:rank, None] > rounding(columns))


def energies(matrix: Tensor, power: int) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors `(d, d)` and the singular values to a power, largest first."""
    left, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    return left, values**power


def rounding(moments: Tensor) -> Tensor:
    """Return the size below which a singular value of a part of `(d, d)` is rounding and its vector noise."""
    return 4 * len(moments) ** 0.5 * torch.finfo(moments.dtype).eps * moments.norm()


def complement(basis: Tensor) -> Tensor:
    """Return an orthonormal basis `(d, d - k)` of what `(d, k)` does not span."""
    return torch.linalg.svd(basis, full_matrices=True)[0][:, basis.shape[1] :]
