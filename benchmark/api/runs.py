"""`bench.run`: what `bench run` does, called from Python."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.results import Results, read_results
from benchmark.errors import UserError
from benchmark.settings import write_setting

if TYPE_CHECKING:
    from benchmark.commands.options import RunOptions
    from benchmark.running.events import Event
    from benchmark.running.job import Outcome
    from benchmark.running.run import Run

Names = str | Iterable[str]
SLIPS = {"methods": "method", "streams": "stream", "seed": "seeds", "order": "orders", "worker": "workers"}


def run(
    method: Names,
    stream: Names | Path,
    seeds: int | str | Iterable[int] = 0,
    orders: str | Iterable[str] | None = None,
    out: str | Path = "runs",
    *,
    backbone: str | None = None,
    protocol: str | None = None,
    zero_shot: bool = False,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    fresh: bool | None = None,
    retry: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Results:
    """Train and score every method on every stream, order and seed, and return these runs' results.

    Finished runs are read and not run again, stopped ones go on. Files are those of `bench run`.

    Args:
        method, stream: names, or several as a list or separated by commas; a stream also as a TOML file.
        seeds: a number, several, or a text such as "0-2".
        orders: names, or a text such as "1-3" or "all"; None: the stream's first.
        out: folder of the results.
        backbone, protocol: None: the protocol's, and the stream's first.
        zero_shot: also score tasks not learned yet.
        data_dir: None: the variable BENCH_DATA.
        device: "cpu", "cuda", "cuda:1" or "auto".
        workers: number of parallel runs; above 1 Ray starts processes, which know files and packages alone.
        fresh: whether finished runs are run again. None: those of a method or stream registered in this
            process are, since the class may have changed under its name; the others are not.
        retry: repeat runs that failed before.
        quiet: no line for each finished task.
        settings: of the method, the stream or the protocol, as `--set`: `epochs=3`, or
            `**{"protocol.epochs": 3}` where two have the name.

    Raises:
        UserError: a name or a value is not understood, or a run failed; finished ones are kept in `out`.
        KeyboardInterrupt: it was stopped; what is finished is kept, and the same call goes on there where
            `fresh` lets it.
    """
    from benchmark.commands.options import RunChoice, RunOptions, check_device

    for slip, meant in SLIPS.items():
        if slip in settings:
            raise UserError(f"run() has no '{slip}'; write {meant}={settings[slip]!r}")
    check_device(device)
    if not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers={workers!r} must be a whole number above 0")
    chosen = RunChoice(
        _join_names("method", method),
        _join_names("stream", stream),
        None if orders is None else _join_names("orders", orders),
        _join_names("seeds", seeds),
        backbone,
        protocol,
        [f"{name}={write_setting(value)}" for name, value in settings.items()],
        zero_shot,
    ).runs()
    folder = None if data_dir is None else Path(data_dir)
    if folder is not None and not folder.is_dir():
        raise UserError(f"data_dir={str(data_dir)!r} is no folder")
    options = RunOptions(folder, Path(out), workers, device, bool(fresh), retry=retry)
    outcomes = _perform(chosen, options, fresh, quiet)
    failed = [outcome for outcome in outcomes if outcome.state != "complete"]
    if failed:
        first = failed[0]
        raise UserError(
            f"{len(failed)} of {len(outcomes)} runs not complete, the first {first.run.name}: "
            f"{first.error or first.state}; the others are kept in {out}"
        )
    return read_results(outcome.path for outcome in outcomes if outcome.path is not None)


def _perform(runs: list[Run], options: RunOptions, fresh: bool | None, quiet: bool) -> list[Outcome]:
    """Run runs in the terms of the driver, and return what came of each."""
    from benchmark.commands.progress import PlainProgress
    from benchmark.commands.sweep import estimate_time
    from benchmark.running import driver
    from benchmark.running.catalogue import is_registered_here
    from benchmark.running.stopping import Stop

    own = [run for run in runs if is_registered_here(run)]
    if own and options.workers > 1:
        raise UserError(
            f"{own[0].name} needs what is registered in this process alone, which the processes of "
            f"workers={options.workers} cannot see: put it in a file of methods/ or tasks/, or use workers=1"
        )

    def say(line: str) -> None:
        if not quiet:
            print(line, flush=True)

    if not fresh and (line := estimate_time(runs, options)):
        say(line)
    callback = PlainProgress(len(runs), sys.stdout)

    def report(event: Event) -> None:
        if not quiet:
            callback(event)

    again = own if fresh is None else (runs if fresh else [])
    outcomes = []
    with Stop(options.out, say) as stop:
        for anew in (False, True):
            group = [run for run in runs if (run in again) is anew]
            if group:
                outcomes += driver.run(
                    group,
                    out=options.out,
                    data_dir=options.data_dir,
                    workers=options.workers,
                    device=options.device,
                    fresh=anew,
                    callback=report,
                    conditions=replace(options.conditions(), stop=stop.file),
                    say=say,
                )
    return outcomes


def _join_names(name: str, given: object) -> str:
    """Return names or numbers as the commands take them, separated by commas."""
    parts = [given] if isinstance(given, (str, int, Path)) else given
    if not isinstance(parts, Iterable):
        raise UserError(f"{name}={given!r} must be a name or a number, or a list of them")
    texts = [str(part) for part in parts]
    if not texts:
        raise UserError(f"{name} is empty; give at least one")
    return ",".join(texts)
