"""Forms in which people have a stream's files in their data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """A form in which people have a stream on disk.

    Attributes:
        origin: what a result says about where its rows came from.
        places: folders in the data folder that it may be; "" is the data folder itself.
        marks: paths in such a folder, of which one is enough to recognise it.
    """

    origin: str
    places: tuple[str, ...]
    marks: tuple[str, ...]

    def find(self, folder: Path) -> Path | None:
        """Return the first place that shows a mark, or None."""
        places = [folder / place for place in self.places]
        return next((place for place in places if any((place / mark).exists() for mark in self.marks)), None)

    @property
    def where(self) -> str:
        """The first place with what marks it, for messages."""
        return "/".join(part for part in (self.places[0], self.marks[0]) if part not in ("", "."))
