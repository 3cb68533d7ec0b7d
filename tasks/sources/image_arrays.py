"""Images as arrays of an `.npz` file, handed on encoded, so that all is done to them as to image files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.layouts import Layout
from tasks.sources import images
from tasks.sources.image_sets import EncodedSplit, ImageSet
from tasks.sources.image_sources import Reading

if TYPE_CHECKING:
    import numpy as np

    from benchmark.stream import Examples

FOLDER = "vision"


def array_file(name: str) -> Reading:
    """Return the layout `vision/<name>.npz` with the class names in `vision/<name>.json`."""
    arrays, table = f"{FOLDER}/{name}.npz", f"{FOLDER}/{name}.json"
    origin = f"the data folder's {FOLDER}/"

    def read(root: Path) -> ImageSet | None:
        if not (root / arrays).is_file():
            return None
        found = images.read_images(root / arrays, root / table, dimensions=4)
        splits = [_encode_split(split, root / arrays) for split in (found.train, found.test)]
        return ImageSet(splits[0], splits[1], found.names, origin)

    return Reading(Layout(origin, ("",), (arrays,)), f"{arrays} and {table}", read)


@dataclass(frozen=True)
class EncodedArrays:
    """Images `(n, height, width, 3)` uint8 as PNG files in memory, one at a time; nothing is lost."""

    pixels: np.ndarray

    def __iter__(self) -> Iterator[bytes]:
        from io import BytesIO

        from PIL import Image

        for picture in self.pixels:
            written = BytesIO()
            Image.fromarray(picture).save(written, "PNG", compress_level=1)
            yield written.getvalue()


def _encode_split(split: Examples, source: Path) -> EncodedSplit:
    import numpy as np

    from benchmark.data.outcomes import fingerprint_of
    from benchmark.stream import Examples

    assert isinstance(split.inputs, np.ndarray) and split.labels is not None
    identity = fingerprint_of(Examples(split.inputs))
    labels = [int(label) for label in split.labels]
    return EncodedSplit(EncodedArrays(split.inputs), labels, list(split.ids), str(source), identity)
