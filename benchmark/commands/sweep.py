"""Executes a plan for the command line: says what comes, shows progress, reports what came."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from benchmark.commands.plan_report import announcement, run_data, warning
from benchmark.guard import INCOMPLETE, INTERRUPTED, USAGE, end_interrupted, one_line, print_stderr

if TYPE_CHECKING:
    from benchmark.commands.options import RunOptions
    from benchmark.running.events import Callback, Event
    from benchmark.running.job import Outcome
    from benchmark.running.run import Run


def sweep(runs: list[Run], options: RunOptions) -> int:
    """Run the runs and return the exit code, see `report_failures`."""
    loggers = options.loggers()
    shown = sys.stderr if options.as_json else sys.stdout
    print(announcement(runs), file=shown, flush=True)
    if not options.fresh and (line := estimate_time(runs, options)):
        print(line, file=shown, flush=True)
    outcomes = carry_out(runs, options, loggers, shown)
    if outcomes is None:
        return INTERRUPTED
    if options.save_predictions:
        for path in write_missing_predictions(outcomes, options):
            print(path, file=shown, flush=True)
    report = as_data(outcomes) if options.as_json else summary(outcomes)
    if report:
        print(report, flush=True)
    return report_failures(outcomes)


def report_failures(outcomes: list[Outcome]) -> int:
    """Print a line for each run that is not complete and return the exit code, 0 where there is none.

    It is 2 where the machine refused something, and the same command goes on once that is mended.
    """
    for outcome in outcomes:
        if outcome.error:
            print_stderr(f"failed: {outcome.run.name}: {one_line(outcome.error)}")
        elif outcome.elsewhere:
            print_stderr(f"running elsewhere: {outcome.run.name}")
    if any(outcome.machine for outcome in outcomes):
        return USAGE
    return 0 if all(outcome.state == "complete" for outcome in outcomes) else INCOMPLETE


def carry_out(
    runs: list[Run], options: RunOptions, loggers: Sequence[Callback], shown: TextIO, share: bool = False
) -> list[Outcome] | None:
    """Run the runs with their progress on `shown`; None where the user stopped them, which is then said.

    Args:
        loggers: get every event, after it is shown.
        share: whether runs with equal histories share what they learn alike.
    """
    from benchmark.commands.progress import report_progress
    from benchmark.running.driver import run
    from benchmark.running.stopping import Stop

    def say(line: str) -> None:
        print(line, file=shown, flush=True)

    try:
        with Stop(options.out, say) as stop, report_progress(len(runs), shown) as progress:

            def callback(event: Event) -> None:
                for each in (progress, *loggers):
                    each(event)

            return run(
                runs,
                out=options.out,
                data_dir=options.data_dir,
                workers=options.workers,
                device=options.device,
                fresh=options.fresh,
                callback=callback,
                conditions=replace(options.conditions(), stop=stop.file, share=share),
                say=say,
            )
    except KeyboardInterrupt:
        kept = f"every finished run and task is kept in {options.out}"
        end_interrupted(f"stopped: {kept}; the same command continues from there")
        return None


def write_missing_predictions(outcomes: list[Outcome], options: RunOptions) -> Iterator[Path]:
    """Write the predictions of complete runs that have none yet, and yield the files."""
    from benchmark.analysis.predictions import ENDING, save_predictions

    for outcome in outcomes:
        if outcome.state == "complete" and outcome.path is not None:
            file = outcome.path.with_name(outcome.path.stem + ENDING)
            if not outcome.skipped or not file.exists():
                yield save_predictions(outcome.path, options.data_dir, outcome.run.stream_file)


def estimate_time(runs: list[Run], options: RunOptions) -> str:
    """Return a line on the time that runs take, where they are known to take long; else ""."""
    from benchmark.running.forecast import forecast
    from benchmark.running.published_costs import find_published_folders

    return warning(forecast(runs, options.out, options.data_dir, find_published_folders()), options.workers)


def as_data(outcomes: list[Outcome]) -> str:
    """Return what came of each run as one JSON object."""
    runs = [
        {
            **run_data(outcome.run),
            "path": str(outcome.path) if outcome.path else None,
            "state": outcome.state,
            "skipped": outcome.skipped,
            "error": outcome.error,
            "headline": result.headline if (result := outcome.result) else None,
        }
        for outcome in outcomes
    ]
    complete = all(outcome.state == "complete" for outcome in outcomes)
    return json.dumps({"complete": complete, "runs": runs}, indent=1)


def summary(outcomes: list[Outcome]) -> str:
    """Return the table of the complete runs and where their files are."""
    from benchmark.publishing.terminal import result_table

    results = [result for outcome in outcomes if (result := outcome.result) is not None]
    paths = [f"{outcome.path}" for outcome in outcomes if outcome.path]
    table = ["", result_table(results), ""] if results else []
    return "\n".join([*table, *paths])
