"""Where a stream's rows come from: the first layout that the data folder has, else another source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmark.data.layouts import Layout as Layout
from benchmark.stream import LoadedStream


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
