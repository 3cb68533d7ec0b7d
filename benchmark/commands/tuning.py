"""`bench tune`: the flags of a search for hyper-parameters."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    Backbone,
    DataDir,
    Device,
    DeviceName,
    Methods,
    Orders,
    Out,
    ProtocolName,
    Retry,
    Set,
    Streams,
)
from benchmark.guard import INTERRUPTED, guarded, tell


class Selection(StrEnum):
    """Which rows decide between trials."""

    validation = "validation"
    paper = "paper"


@guarded
def tune(
    method: Methods,
    stream: Streams,
    trials: Annotated[int, typer.Option(min=1, help="Points to try, the same number for each method.")] = 20,
    selection: Annotated[
        Selection, typer.Option(help="Rows that decide: validation, or TEST rows as in some papers.")
    ] = Selection.validation,
    order: Orders = None,
    seed: Annotated[str, typer.Option(help="Seeds of every trial; their scores are averaged.")] = "1000",
    backbone: Backbone = None,
    protocol: ProtocolName = None,
    settings: Set = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    device: DeviceName = Device.cpu,
    retry: Retry = False,
) -> None:
    """Search the hyper-parameters of methods on streams.

    Trials are runs in the output folder: those that exist are not run again. What was chosen is written to
    <out>/tuning/<stream>/<protocol>/<method>.json, which bench run --tuned takes. A searched value given
    with --set stays as it is.
    """
    from benchmark.commands.progress import watching
    from benchmark.registry import METHODS
    from benchmark.running.job import Conditions
    from benchmark.running.plan import find_streams, keys
    from benchmark.running.stopping import Stop
    from benchmark.tuning import search as tuning
    from benchmark.tuning.tuning_file import as_text, read

    asked = [
        tuning.Search(key, each, trials, order, seed, backbone, protocol, settings or (), selection.value)
        for each in find_streams(stream).values()
        for key in keys(METHODS, method)
    ]
    counts = [tuning.runs(search) for search in asked]  # refuses what cannot be searched before any is run
    try:
        with Stop(out, lambda line: print(line, flush=True)) as stop:
            for search, count in zip(asked, counts, strict=True):
                with watching(count, sys.stdout) as callback:
                    conditions = Conditions(retry=retry, stop=stop.file)
                    path = tuning.tune(search, out, data_dir, device.value, conditions, callback)
                typer.echo(f"\n{as_text(read(path), path)}\n\n{path}")
    except KeyboardInterrupt:
        tell(f"stopped: every finished trial is kept in {out}; the same command continues from there")
        raise typer.Exit(INTERRUPTED) from None
