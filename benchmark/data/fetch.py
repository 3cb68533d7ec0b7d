"""Brings a stream's hub sets here: into the cache of `datasets`, or as parquet in a data folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.hub import SOURCE, Hub, HubSet, LocalSource, local_folder
from benchmark.errors import UserError
from benchmark.results import atomic_write, to_json
from benchmark.stream import Stream

if TYPE_CHECKING:
    from datasets import Dataset

Report = Callable[[str], None]


def fetch(stream: Stream, folder: Path | None, report: Report) -> None:
    """Load every hub set of a stream.

    A set that is in the data folder already is not asked for again, and of a set that was cut off only the
    missing splits are written: a set's folder gets its name when it is whole.

    Args:
        folder: the data folder to write to; None for the cache alone.
        report: is given one line for each step.

    Raises:
        UserError: the stream has no hub sets, the hub cannot be reached, or a file cannot be written.
    """
    sets = list(dict.fromkeys(stream.sources.hub))
    if not sets:
        raise UserError(f"nothing to fetch: the stream '{stream.name}' {_elsewhere(stream)}")
    hub = Hub(None, "the sets that `bench data fetch --data-dir FOLDER` writes on a machine with a network")
    for number, one in enumerate(sets, 1):
        place = f"[{number}/{len(sets)}] {one.identifier}{f' {one.config}' if one.config else ''}"
        target = None if folder is None else local_folder(folder, one)
        if target is not None and target.is_dir():
            report(f"{place}: already in {target}")
            continue
        report(f"{place}: asking the hub")
        splits, commit = hub.load(one)
        if target is not None:
            for line in save(one, splits, commit, target):
                report(f"{place}: {line}")
        rows = ", ".join(f"{split} {len(found)}" for split, found in splits.items())
        report(f"{place}: {rows} rows at {commit or 'an unknown commit'}, {target or 'in the cache'}")


def save(one: HubSet, splits: dict[str, Dataset], commit: str | None, target: Path) -> Iterator[str]:
    """Write a set's splits as parquet files; yield a line for each.

    Raises:
        UserError: a file cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial")
    source = to_json(LocalSource(identifier=one.identifier, config=one.config, commit=commit).model_dump())
    try:
        if partial.is_dir() and (partial / SOURCE).read_bytes() != source:
            shutil.rmtree(partial)  # begun at another commit
        atomic_write(partial / SOURCE, source)
        for split, rows in splits.items():
            path = partial / f"{split}.parquet"
            if not path.exists():
                temporary = path.with_suffix(".tmp")
                rows.to_parquet(str(temporary))
                os.replace(temporary, path)
            yield f"{split} written"
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None


def _elsewhere(stream: Stream) -> str:
    if stream.sources.bundled:
        return f"comes with {stream.sources.bundled}"
    if stream.sources.layouts:
        places = " or ".join(layout.where for layout in stream.sources.layouts)
        return f"is read from {places} in a data folder and is not on the hub"
    return "names no set of the hub"
