"""Where a stream's rows come from: the first layout that the data folder has, else another source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.stream import LoadedStream


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


def read(
    folder: Path | None,
    layouts: Mapping[Layout, Callable[[Path], LoadedStream]],
    otherwise: Callable[[], LoadedStream],
) -> LoadedStream:
    """Return a stream read from the first layout that a data folder has, with the layout's origin.

    Args:
        folder: the data folder; None where none is known.
        layouts: what reads each layout from its place, most wanted first.
        otherwise: what reads the stream where the folder has none of them.
    """
    for layout, reader in layouts.items() if folder is not None else ():
        assert folder is not None
        place = layout.find(folder)
        if place is not None:
            return replace(reader(place), origin=layout.origin)
    return otherwise()
