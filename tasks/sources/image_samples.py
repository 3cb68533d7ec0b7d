"""The sample of a set of images that published results stand on, found again in the whole set by content.

`samples/<name>.npz` lists the sample without holding any of it: `train` and `test`, the digests of the rows
in their order. A digest is of an image's pixels and the name of its class, so that any copy of the set does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.results import atomic_write, to_json
from tasks.sources.image_sets import EncodedSplit, ImageSet

if TYPE_CHECKING:
    import numpy as np

Report = Callable[[str], None]

LISTS = Path(__file__).with_name("samples")


def digest(pixels: np.ndarray, name: str) -> int:
    """Return 64 bits that tell an image `(height, width, 3)` uint8 of the class `name` from every other."""
    content = pixels.tobytes() + name.encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")


def write_sample(
    whole: ImageSet, name: str, side: int, folder: Path, report: Report = lambda line: None
) -> Path:
    """Write `vision/<name>.npz` and `vision/<name>.json` of a data folder, and return the former.

    Args:
        name: of the list, and of the arrays.
        side: of the images in pixels; none of another size is in the sample.
        report: is given a line before each split is read.

    Raises:
        UserError: rows of the sample are not in the set, an image cannot be read, or nothing can be written.
    """
    import numpy as np

    wanted = np.load(LISTS / f"{name}.npz", allow_pickle=False)
    target = folder / "vision" / f"{name}.npz"
    arrays: dict[str, np.ndarray] = {}
    for split, rows in (("train", whole.train), ("test", whole.test)):
        places = {int(key): place for place, key in enumerate(wanted[split])}
        images = np.zeros((len(places), side, side, 3), np.uint8)
        labels = np.full(len(places), -1, np.int16)
        report(f"{split}: looking for {len(places)} images among {len(rows.labels)}")
        for pixels, label in _decode(rows):
            place = places.get(digest(pixels, whole.names[label]))
            if place is not None:
                images[place], labels[place] = pixels, label
        missing = int((labels < 0).sum())
        if missing:
            raise UserError(
                f"{missing} of the {len(places)} {split} images of the sample are not in {whole.origin}; "
                f"they are compared pixel by pixel, {side} x {side}, and by the names of their classes"
            )
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    written = BytesIO()
    np.savez_compressed(written, **arrays)
    atomic_write(target.with_suffix(".json"), to_json({"class_names": list(whole.names)}))
    atomic_write(target, written.getvalue())
    return target


def _decode(split: EncodedSplit) -> Iterator[tuple[np.ndarray, int]]:
    import numpy as np

    from benchmark.data.image_decoding import open_upright

    for image, label in zip(split.images, split.labels, strict=True):
        yield np.asarray(open_upright(image)), label
