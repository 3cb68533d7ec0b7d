"""The files below a folder, none of them left out because a folder among them cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import UserError


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every file in a folder and in those within it; none where there is no folder.

    Raises:
        UserError: one of the folders cannot be read.
    """
    for place, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            yield Path(place, name)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise UserError(f"cannot read {error.filename}: {error.strerror or error}") from None
