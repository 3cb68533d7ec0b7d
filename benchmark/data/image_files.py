"""Image files: folders of them by split and class, and their pixels. Only what Pillow decodes itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.data_errors import DataError
from benchmark.data.image_decoding import SUFFIXES, centre, open_upright
from benchmark.errors import UserError
from benchmark.folders import walk_files

if TYPE_CHECKING:
    import numpy as np


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """Return the images of a split by class: every folder in it is one, with images or without.

    Classes and images come in the order of their names. What begins with a dot is left out: it is not the
    user's, but that of an editor or a system.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"the image folder {folder} does not exist")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: images_below(path) for path in classes}


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and in those within it, by name; none where there is no folder.

    Raises:
        UserError: a folder cannot be read.
    """
    return sorted(
        path
        for path in walk_files(folder)
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


# Pictures whose loss would go unnoticed; other files may lie beside images for a reason.
OTHER_PICTURES = (
    *(".apng", ".avif", ".dng", ".cr2", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jxl"),
    *(".nef", ".pbm", ".pgm", ".ppm", ".psd", ".raw", ".svg", ".tga", ".tif", ".tiff"),
)


def list_unread(folders: Iterable[Path]) -> list[DataError]:
    """Return what lies in folders of classes and is not read, by folder and ending.

    That is an error for pictures, in a format that is not read or in the folder of no class, and else odd.

    Args:
        folders: each of one split, with a folder for each class in it.
    """
    errors = []
    for split in folders:
        counts: Counter[tuple[Path, str]] = Counter()
        for path in sorted(walk_files(split)):
            parts = path.relative_to(split).parts
            ending = path.suffix.lower()
            if any(part.startswith(".") for part in parts) or (len(parts) > 1 and ending in SUFFIXES):
                continue
            if path.is_file():
                counts[split / parts[0] if len(parts) > 1 else split, ending] += 1
        for (folder, ending), count in counts.items():
            files = f"{count} file{'s' if count > 1 else ''}"
            what = f"{files} ending in {ending}" if ending else f"{files} without an ending"
            fatal = ending in OTHER_PICTURES or ending in SUFFIXES
            why = "not in the folder of a class" if folder == split else f"read are: {', '.join(SUFFIXES)}"
            errors.append(DataError(f"{folder}: {what} not read; {why}", fatal=fatal))
    return errors


def location(value: Any, folder: Path) -> bytes | Path | None:
    """Return the encoded bytes or the file that a cell of a table names; None where it names no image.

    Raises:
        UserError: it is a text that no file can be called.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, (str, bytes, Path)) or not value:
        return None
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"{value!r:.60} names no file")
    return value if isinstance(value, bytes) else folder / value


def decode(value: Any, folder: Path, size: int | None) -> np.ndarray:
    """Return `(height, width, 3)` uint8 of an image.

    Args:
        value: a path relative to `folder`, encoded bytes, or the `{"bytes", "path"}` of the hub's tables.
        size: the side in pixels to scale to, by the shorter side and the middle of the longer; None keeps
            the image as it is.

    Raises:
        UserError: it is no image that can be read.
    """
    import numpy as np

    encoded = location(value, folder)
    if encoded is None:
        raise UserError("no image")
    image = open_upright(encoded)
    return np.asarray(image if size is None else centre(image, size, size))
