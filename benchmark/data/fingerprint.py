"""A hash of what a run sees: equal on every machine for equal tasks, different for a byte that differs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from benchmark.stream import Examples, Task

if TYPE_CHECKING:
    import numpy as np

    from benchmark.data.mapped_rows import MappedImages


class _Digest:
    """SHA-256 over parts; each is preceded by its kind and length, so no two lists of parts run together."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def add(self, kind: str, content: bytes) -> None:
        self.hash.update(f"{kind}:{len(content)}:".encode())
        self.hash.update(content)

    def texts(self, kind: str, texts: Collection[str]) -> None:
        self.add(kind, str(len(texts)).encode())
        for text in texts:
            self.add("text", text.encode("utf-8", "surrogatepass"))

    def array(self, kind: str, array: np.ndarray) -> None:
        import numpy as np

        # Little-endian and row by row, whatever the machine and the array's own layout.
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        self.add(kind, f"{plain.dtype.kind}{plain.dtype.itemsize}{plain.shape}".encode())
        self.add("bytes", plain.tobytes())

    def images(self, kind: str, images: MappedImages) -> None:
        """Add what `array` would of the images as one array, which may be larger than memory."""
        from benchmark.data.mapped_rows import IMAGES

        self.add(kind, f"u1{images.shape}".encode())
        self.hash.update(f"bytes:{math.prod(images.shape)}:".encode())
        for start in range(0, len(images), IMAGES):
            self.hash.update(images[start : start + IMAGES])
            images.release()


def fingerprint(tasks: list[Task]) -> str:
    """Return the SHA-256 (64 hexadecimal digits) over the tasks in order.

    It covers names, classes, wordings, and of every split the ids, inputs, labels and references, in the
    order of the rows.
    """
    digest = _Digest()
    for task in tasks:
        words = task.wording
        digest.texts("task", [task.name])
        digest.texts("classes", task.classes)
        digest.texts("wording", [words.group, words.dataset, words.instruction, words.definition])
        if words.closing or words.cut != "end":
            digest.texts("closing", [words.closing, words.cut])
        for split, rows in (("train", task.train), ("validation", task.validation), ("test", task.test)):
            digest.texts("split", [split])
            if rows is not None:
                _add_rows(digest, rows)
    return digest.hash.hexdigest()


def fingerprint_of(rows: Examples) -> str:
    """Return the SHA-256 (64 hexadecimal digits) over one split: ids, inputs, labels and references."""
    digest = _Digest()
    _add_rows(digest, rows)
    return digest.hash.hexdigest()


def _add_rows(digest: _Digest, rows: Examples) -> None:
    import numpy as np

    from benchmark.data.mapped_rows import MappedImages

    digest.texts("ids", rows.ids)
    if isinstance(rows.inputs, np.ndarray):
        digest.array("inputs", rows.inputs)
    elif isinstance(rows.inputs, MappedImages):
        if rows.inputs.digests is None:
            digest.images("inputs", rows.inputs)
        else:  # not the pixels themselves, which would all have to be read
            digest.array("images", rows.inputs.digests)
    else:
        digest.texts("inputs", rows.inputs)
    if rows.labels is not None:
        digest.array("labels", rows.labels)
    for accepted in rows.references or []:
        digest.texts("references", accepted)
