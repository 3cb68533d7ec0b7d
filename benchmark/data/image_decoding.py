"""Opens encoded images one at a time, resizes each once and writes it into a row of an array."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.data_errors import DataError, InvalidData
from benchmark.data.files import describe_error
from benchmark.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


# What Pillow decodes itself and people have on disk; its other formats are never tried.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")


class Unreadable(InvalidData):
    """Images that cannot be read."""

    def __init__(self, errors: Sequence[DataError], rows: frozenset[int]) -> None:
        """Keep which rows they would have filled, from 0."""
        super().__init__(errors)
        self.rows = rows


def fill(array: np.ndarray, images: Iterable[bytes | Path], size: int, source: str = "") -> None:
    """Decode images into the rows of an array, which may be larger than memory.

    The shorter side of each image is resized to `size` pixels (bicubic) and its centre is cut out: with a
    side of 224 and a size of 256 the transform that PILOT, SD-LoRA and LiteLoRA test with. What becomes of
    other modes than RGB, and of rotation marks of cameras, `open_upright` says.

    Args:
        array: `(n, side, side, 3)` uint8, with side at most `size`.
        images: n encoded images (JPEG, PNG, ...) or paths of such, in the order of the rows.
        size: pixels of the shorter side before the centre is cut out.
        source: where bytes come from, for messages; paths name themselves.

    Raises:
        Unreadable: images cannot be read; the message names the file and the row, from 0.
        ValueError: the array does not hold exactly one row of a fitting shape for each image.
    """
    import numpy as np

    side = array.shape[1]
    if array.shape[1:] != (side, side, 3) or side > size:
        raise ValueError(f"rows of shape {array.shape[1:]} do not hold squares cut from {size} pixels")
    filled, errors, unread = 0, [], set()
    for row, image in enumerate(images):
        if row >= len(array):
            raise ValueError(f"more than {len(array)} images for an array of {len(array)} rows")
        try:
            array[row] = np.asarray(centre(open_upright(image), size, side))
        except UserError as error:
            where = image if isinstance(image, Path) else source
            errors.append(DataError(f"{where}, row {row}: {error}"))
            unread.add(row)
        filled = row + 1
    if filled < len(array):
        raise ValueError(f"{filled} images for an array of {len(array)} rows")
    if errors:
        raise Unreadable(errors, frozenset(unread))


def open_upright(encoded: bytes | Path) -> Image:
    """Return an image in RGB, upright: turned as its EXIF mark says, which torchvision does not do.

    Transparency is laid on white, and of 16 bits a pixel the higher eight are kept.

    Raises:
        UserError: it cannot be read, or nothing of what it shows would be left; the message leaves out which
            image it is.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        place = encoded if isinstance(encoded, Path) else io.BytesIO(encoded)
        with PIL.Image.open(place, formats=FORMATS) as image:
            return _rgb(PIL.ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise UserError("the image does not exist") from error
    # What Pillow raises on files that are cut off, damaged, absurdly large or no image at all.
    except (
        *(OSError, EOFError, SyntaxError, ValueError, struct.error),
        PIL.Image.DecompressionBombError,
    ) as error:
        raise UserError(f"not a readable image ({describe_error(error)})") from error


def _rgb(image: Image) -> Image:
    import numpy as np
    import PIL.Image

    if image.mode.startswith("I"):
        shown, how = (
            PIL.Image.fromarray((np.asarray(image, np.int64) // 256).astype(np.uint8)),
            "8 of its 16 bits",
        )
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image, shown, how = layer, PIL.Image.alpha_composite(white, layer), "what lies on white"
    else:
        return image.convert("RGB")
    if _is_plain(shown) and not _is_plain(image):
        raise UserError(f"it is of one colour once {how} is all that is kept; save it as 8-bit RGB")
    return shown.convert("RGB")


def _is_plain(image: Image) -> bool:
    """Return whether all pixels are the same."""
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)  # type: ignore[misc]


def centre(image: Image, size: int, side: int) -> Image:
    """Return the central square of `side` pixels of an image whose shorter side was brought to `size`."""
    from PIL.Image import Resampling

    shorter = min(image.size)
    # Rounded down, as torchvision does.
    width, height = (length * size // shorter for length in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))
