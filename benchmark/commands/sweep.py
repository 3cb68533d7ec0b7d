"""Runs the cells of a plan for the command line: says what comes, shows progress, reports what came."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.commands.plan_report import announcement, cell_data
from benchmark.guard import INCOMPLETE, INTERRUPTED, USAGE, one_line, tell

if TYPE_CHECKING:
    from benchmark.commands.options import RunOptions
    from benchmark.running.cell import Cell
    from benchmark.running.events import Event, Watch
    from benchmark.running.job import Conditions, Outcome


def sweep(
    cells: list[Cell],
    options: RunOptions,
    conditions: Conditions,
    loggers: Sequence[Watch] = (),
) -> int:
    """Run the cells and return the exit code: 0 only where every cell is complete.

    It is 2 where the machine refused something, and the same command goes on once that is mended.

    Args:
        conditions: that `options` mean.
        loggers: are told every event, after it is shown.
    """
    from benchmark.commands.progress import watching
    from benchmark.running.driver import run
    from benchmark.running.stopping import Stop

    shown = sys.stderr if options.as_json else sys.stdout
    print(announcement(cells), file=shown, flush=True)
    try:
        with (
            Stop(options.out, lambda line: print(line, file=shown, flush=True)) as stop,
            watching(len(cells), shown) as watch,
        ):

            def tell_all(event: Event) -> None:
                for one in (watch, *loggers):
                    one(event)

            outcomes = run(
                cells,
                out=options.out,
                data_dir=options.data_dir,
                workers=options.workers,
                device=options.device.value,
                fresh=options.fresh,
                watch=tell_all,
                conditions=replace(conditions, stop=stop.file),
                say=lambda line: print(line, file=shown, flush=True),
            )
    except KeyboardInterrupt:
        kept = f"every finished cell and task is kept in {options.out}"
        tell(f"stopped: {kept}; the same command continues from there")
        return INTERRUPTED
    report = as_data(outcomes) if options.as_json else summary(outcomes)
    if report:
        print(report, flush=True)
    for outcome in outcomes:
        if outcome.error:
            tell(f"failed: {outcome.cell.name}: {one_line(outcome.error)}")
        elif outcome.elsewhere:
            tell(f"running elsewhere: {outcome.cell.name}")
    if any(outcome.machine for outcome in outcomes):
        return USAGE
    return 0 if all(outcome.state == "complete" for outcome in outcomes) else INCOMPLETE


def as_data(outcomes: list[Outcome]) -> str:
    """Return what came of each cell as one JSON object."""
    cells = [
        {
            **cell_data(outcome.cell),
            "path": str(outcome.path) if outcome.path else None,
            "state": outcome.state,
            "skipped": outcome.skipped,
            "error": outcome.error,
            "headline": result.headline if (result := outcome.result) else None,
        }
        for outcome in outcomes
    ]
    complete = all(outcome.state == "complete" for outcome in outcomes)
    return json.dumps({"complete": complete, "cells": cells}, indent=1)


def summary(outcomes: list[Outcome]) -> str:
    """Return the table of the complete cells and where their files are."""
    from benchmark.publishing.leaderboard import result_table

    results = [result for outcome in outcomes if (result := outcome.result) is not None]
    paths = [f"{outcome.path}" for outcome in outcomes if outcome.path]
    table = ["", result_table(results), ""] if results else []
    return "\n".join([*table, *paths])
