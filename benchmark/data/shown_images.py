"""Images in a domain, each made when it is read: of all rows of a task a run reads a few."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import scipy

from benchmark.data import image_shifts
from benchmark.data.mapped_rows import MappedImages
from benchmark.data.row_cache import code_of


class ShownImages(MappedImages):
    """Images through a domain of `benchmark.data.image_shifts`."""

    costly = True

    def __init__(
        self,
        images: np.ndarray,
        numbers: np.ndarray,
        domain: str,
        rows: np.ndarray | None = None,
        identity: str | None = None,
    ) -> None:
        """Look at images through a domain.

        Args:
            images: `(n, height, width)` or `(n, height, width, 3)` uint8, as they were stored.
            numbers: `(n,)`, the row numbers that a domain takes.
            domain: its name.
            rows: which of the n are seen, in this order; None for all of them.
            identity: what tells the n from others; None to have it found.
        """
        super().__init__(images, None, rows, identity or identity_of(images, numbers, domain))
        self._numbers, self._domain = numbers, domain

    def __getitem__(self, chosen: Any) -> Any:
        """Return an image for a number, an array for a slice, a choice of images for an index array."""
        if isinstance(chosen, np.ndarray):
            return ShownImages(self._pixels, self._numbers, self._domain, self.rows[chosen], self.identity)
        rows = np.atleast_1d(self.rows[chosen])
        shown = image_shifts.DOMAINS[self._domain](self._pixels[rows], self._numbers[rows])
        return shown if isinstance(chosen, slice) else shown[0]


def identity_of(images: np.ndarray, numbers: np.ndarray, domain: str) -> str:
    """Return what tells images in a domain from any others: the stored ones, and what is done to them."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(numbers, np.int64).data)
    made = [str(images.shape), domain, code_of(image_shifts), np.__version__, scipy.__version__]
    return hashlib.sha256("\0".join([digest.hexdigest(), *made]).encode()).hexdigest()
