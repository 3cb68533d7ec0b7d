"""What a plan needs before its first run: a device and each stream's data, looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.files import data_dir as chosen_data_dir
from benchmark.data.hub import Hub
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.running.catalogue import load_stream

if TYPE_CHECKING:
    from benchmark.running.run import Run
    from benchmark.stream import Stream


def check_ready(runs: Sequence[Run], data_dir: Path | None, device: str | None, gpus: int = 1) -> None:
    """Refuse a plan whose device or data are not here; rows are read only where a hub has to be asked.

    Args:
        data_dir: folder of data; None for the variable BENCH_DATA.
        device: None where another machine may run the runs.
        gpus: that one run computes on.

    Raises:
        UserError: one line names what is missing and what to do.
    """
    if device is not None:
        from benchmark.running.building import prepare_device

        prepare_device(device, gpus)
    folder = chosen_data_dir(data_dir)
    for run in {run.stream: run for run in runs if run.stream_file is None}.values():
        stream = load_stream(run.stream_reference)
        if (wanted := missing(stream, folder)) is not None:
            raise UserError(f"the stream '{run.stream}' has no data here: {wanted}; {_instead()}")
        if _from_hub(stream, folder):
            _ask_hub(run, data_dir)


def missing(stream: Stream, folder: Path | None) -> str | None:
    """Return what a stream needs that is not there; None where something is, or a hub may have it."""
    sources = stream.sources
    if sources.bundled or sources.hub or not sources.layouts or _is_laid_out(stream, folder):
        return None
    places = " or ".join(layout.where for layout in sources.layouts)
    return f"it needs {places} in a data folder (--data-dir or BENCH_DATA)"


def _is_laid_out(stream: Stream, folder: Path | None) -> bool:
    return folder is not None and any(layout.find(folder) is not None for layout in stream.sources.layouts)


def _from_hub(stream: Stream, folder: Path | None) -> bool:
    """Whether a stream's rows would come from a hub, not from a data folder."""
    sources = stream.sources
    if sources.bundled or not sources.hub or _is_laid_out(stream, folder):
        return False
    return not all(Hub(folder, "").folder(one) for one in sources.hub)


def _ask_hub(run: Run, data_dir: Path | None) -> None:
    from benchmark.running.worker import load_data

    try:
        load_data(run, data_dir)
    except UserError as error:
        raise UserError(f"{error}; {_instead()}") from None


def _instead() -> str:
    return f"see `bench data list`; these streams need nothing: {', '.join(_find_bundled(STREAMS.names()))}"


def _find_bundled(names: Iterable[str]) -> list[str]:
    """Return the built-in streams whose rows come with a package."""
    return [
        name
        for name in names
        if STREAMS.entry(name).distribution is None and load_stream(name).sources.bundled
    ]
