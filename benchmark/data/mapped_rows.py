"""Texts, token lists and images as numbers of rows over shared arrays, without an object a row.

The arrays may be memory-mapped (`benchmark.data.row_cache`), so a million rows cost no memory but that of
those being looked at, and to choose some is to choose their numbers. Rows of unequal length are one flat
array and where each row begins in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np

from benchmark.data.row_cache import Arrays, map_cached, release

Row = TypeVar("Row")
BLOCK = 1024
IMAGES = 128  # looked at together: 19 MB at 224 pixels


class Ragged(Sequence[Row], Generic[Row]):
    """A sequence of rows; an index array chooses rows as it does of a numpy array, a slice makes a list."""

    def __init__(
        self, flat: Any, offsets: np.ndarray, rows: np.ndarray | None = None, identity: str | None = None
    ) -> None:
        """Look at rows of a flat sequence.

        Args:
            flat: the rows' elements, one row behind the other.
            offsets: `(n + 1,)` where each row begins, and where the last one ends.
            rows: which of the n rows are seen, in this order; None for all of them.
            identity: what tells all n from any other n rows there ever were; None where nobody knows.
        """
        self.flat, self.offsets, self.rows, self.identity = flat, offsets, rows, identity

    def _row(self, elements: Any) -> Row:
        """Return a row from its slice of the flat sequence."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Return the number of rows seen."""
        return len(self.offsets) - 1 if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, chosen: int) -> Row: ...
    @overload
    def __getitem__(self, chosen: slice) -> list[Row]: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, chosen: np.ndarray) -> Self: ...

    def __getitem__(self, chosen: Any) -> Any:
        """Return one row, a list of rows for a slice, or a choice of rows for an array of their numbers."""
        if isinstance(chosen, np.ndarray):
            rows = chosen if self.rows is None else self.rows[chosen]
            return type(self)(self.flat, self.offsets, rows, self.identity)
        if isinstance(chosen, slice):
            places = np.arange(*chosen.indices(len(self)))
            rows = places if self.rows is None else self.rows[places]
            ends = zip(self.offsets[rows].tolist(), self.offsets[rows + 1].tolist(), strict=True)
            return [self._row(self.flat[start:end]) for start, end in ends]
        place = range(len(self))[chosen]
        row = place if self.rows is None else self.rows[place]
        return self._row(self.flat[self.offsets[row] : self.offsets[row + 1]])

    def __iter__(self) -> Iterator[Row]:
        """Yield every row, and hold no more of a mapped file than a block of rows."""
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]
            self.release()

    def release(self) -> None:
        """Give back the memory of what has been read of mapped arrays."""
        release(self.offsets)
        if isinstance(self.flat, np.ndarray):
            release(self.flat)
        elif isinstance(self.flat, Ragged):
            self.flat.release()

    def __eq__(self, other: object) -> bool:
        """Compare row by row with any sequence, as two lists are compared."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Say what it is and how long, not what it holds."""
        return f"{type(self).__name__}({len(self)} rows)"


class TokenLists(Ragged[list[int]]):
    """Token ids of each row; flat: int32."""

    def _row(self, elements: Any) -> list[int]:
        return elements.tolist()


class Texts(Ragged[str]):
    """A text each row; flat: UTF-8 bytes, uint8."""

    def _row(self, elements: Any) -> str:
        return elements.tobytes().decode("utf-8", "surrogatepass")


class TextLists(Ragged[list[str]]):
    """Texts of each row, such as the accepted answers; flat: `Texts`."""

    def _row(self, elements: Any) -> list[str]:
        return list(elements)


class MappedImages(Sequence[np.ndarray]):
    """Decoded images; an index array chooses some, as of a numpy array.

    Attributes:
        costly: whether an image is made when it is read, so that even few are better not read twice.
    """

    costly = False

    def __init__(
        self,
        pixels: np.ndarray,
        digests: np.ndarray | None,
        rows: np.ndarray | None = None,
        identity: str | None = None,
    ) -> None:
        """Look at images of an array.

        Args:
            pixels: `(n, height, width)` or `(n, height, width, 3)` uint8, the height being the width.
            digests: `(n, 32)` uint8, SHA-256 of each image's bytes, which then stand for the images in
                fingerprints; None where the pixels themselves do.
            rows: which of the n are seen, in this order; None for all of them.
            identity: what tells all n from any other n images there ever were; None where nobody knows.
        """
        self._pixels, self._digests, self.identity = pixels, digests, identity
        self.rows = np.arange(len(pixels)) if rows is None else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """What the images would be as one array."""
        return (len(self.rows), *self._pixels.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        return self._pixels.dtype

    @property
    def digests(self) -> np.ndarray | None:
        """SHA-256 of each image seen, `(n, 32)` uint8, or None."""
        return None if self._digests is None else self._digests[self.rows]

    def __len__(self) -> int:
        """Return the number of images seen."""
        return len(self.rows)

    def __getitem__(self, chosen: Any) -> Any:
        """Return an image for a number, an array for a slice, a choice of images for an index array."""
        if isinstance(chosen, np.ndarray):
            return MappedImages(self._pixels, self._digests, self.rows[chosen], self.identity)
        return self._pixels[self.rows[chosen]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all images seen as an array in memory, for what needs them at once."""
        return np.asarray(self[:], dtype)

    def release(self) -> None:
        """Give back the memory of what has been read."""
        release(self._pixels)


def map_images(
    key: Sequence[str], shape: tuple[int, ...], fill: Callable[[np.ndarray], None]
) -> MappedImages:
    """Return images decoded into the cache, or mapped from there where they have been decoded before.

    Args:
        key: what the decoded images depend on: the files' identity, the transform and its code.
        shape: `(n, height, width, ...)` of all of them.
        fill: decodes them into a uint8 array of this shape, which may be larger than memory.
    """

    def build(arrays: Arrays) -> None:
        pixels = arrays.create("pixels", shape, np.dtype(np.uint8))
        fill(pixels)
        for start in range(0, len(pixels), IMAGES):
            block = pixels[start : start + IMAGES]
            hashes = b"".join(hashlib.sha256(image.tobytes()).digest() for image in block)
            arrays.append("digests", np.frombuffer(hashes, np.uint8).reshape(len(block), -1))
            release(pixels)

    found = map_cached("images", [*key, str(shape)], build)
    return MappedImages(found["pixels"], found["digests"])


class RaggedWriter:
    """Appends rows to two arrays of a cache entry: `<name>` and `<name>_offsets`."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        """Begin with no rows."""
        self.arrays, self.name, self.end = arrays, name, 0
        arrays.append(f"{name}_offsets", np.zeros(1, np.int64))

    def append(self, flat: np.ndarray, lengths: Iterable[int]) -> None:
        """Append rows.

        Args:
            flat: their elements, one row behind the other.
        """
        self.arrays.append(self.name, flat)
        self.lengths(lengths)

    def lengths(self, lengths: Iterable[int]) -> None:
        """Append where rows end, alone, for rows whose elements go elsewhere."""
        ends = np.cumsum(np.fromiter(lengths, np.int64)) + self.end
        self.arrays.append(f"{self.name}_offsets", ends.astype(np.int64))
        self.end = int(ends[-1]) if len(ends) else self.end

    def tokens(self, rows: Sequence[Sequence[int]]) -> None:
        """Append lists of token ids."""
        self.append(np.fromiter(chain.from_iterable(rows), np.int32), map(len, rows))

    def texts(self, rows: Iterable[str]) -> None:
        """Append texts."""
        # Names of files may hold half a surrogate pair, for a byte that is no UTF-8.
        encoded = [text.encode("utf-8", "surrogatepass") for text in rows]
        self.append(np.frombuffer(b"".join(encoded), np.uint8), map(len, encoded))
