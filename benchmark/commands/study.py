"""The verb that runs a study and writes its page."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import RunOptions, with_flags
from benchmark.errors import UserError
from benchmark.guard import INTERRUPTED, guarded

if TYPE_CHECKING:
    from benchmark.running.run import Run
    from benchmark.study.stages import Study

Page = Annotated[
    bool, typer.Option("--page", help="Run nothing: write the page from the results that there are.")
]
Publish = Annotated[
    Path | None, typer.Option(help="Also write page, picture and packed results into this folder.")
]


@guarded
@with_flags
def study(
    name: Annotated[str, typer.Argument(help="A study among the sweeps, such as litelora, or a .toml file.")],
    options: RunOptions,
    page: Page = False,
    publish: Publish = None,
) -> None:
    """Run a study whose outcomes are fixed before it runs, and write one page.

    Finished runs are skipped. A study that is stopped has a page about the runs that are complete.
    """
    from benchmark.study.stages import Study
    from benchmark.study.study_file import read_study

    if options.as_json:
        raise UserError("bench study writes a page and has no --json; bench run prints results as JSON")
    path, file = read_study(name)
    found = Study(file, options.out, need_backbone=not page)
    if options.dry_run:
        typer.echo(_next(found, options))
        return
    code = 0 if page else _run_all(found, options)
    _write(found, path, options.out, publish)
    raise typer.Exit(code)


def _run_all(found: Study, options: RunOptions) -> int:
    """Run stage after stage and return the exit code; a stage that is not complete ends the study."""
    from benchmark.running.sweep_folder import HISTORIES, SweepFolder

    total = found.count_stages(options.workers)
    for place, stage in enumerate(found.stages(options.workers), 1):
        left = [run for run in stage.runs if options.fresh or not found.has(run)]
        done = f"{len(stage.runs) - len(left)} of {len(stage.runs)} done"
        print(f"stage {place} of {total}, {stage.name}: {done}", flush=True)
        if left:
            code = _run(left, options)
            found.refresh()
            if code:
                return code
    # What the runs shared has no reader left.
    shutil.rmtree(SweepFolder(options.out).root / HISTORIES, ignore_errors=True)
    return 0


def _next(found: Study, options: RunOptions) -> str:
    """Return what the first stage that is not complete would run; later ones depend on its results."""
    from benchmark.commands import plan_report
    from benchmark.running.forecast import forecast

    for stage in found.stages(options.workers):
        left = [run for run in stage.runs if not found.has(run)]
        if left:
            plan = forecast(left, options.out, options.data_dir)
            return f"next, {stage.name}:\n{plan_report.as_text(plan, options.workers)}"
    return "every run of the study is complete"


def _run(runs: list[Run], options: RunOptions) -> int:
    from benchmark.commands.sweep import carry_out, report_failures

    # A path of lambdas learns the same over and over until decisions part.
    outcomes = carry_out(runs, options, options.loggers(), sys.stdout, share=True)
    return INTERRUPTED if outcomes is None else report_failures(outcomes)


def _write(found: Study, path: Path, out: Path, publish: Path | None) -> None:
    """Write page and picture beside the results, and into the folder that is published."""
    from benchmark.result_files import pack
    from benchmark.results import atomic_write
    from benchmark.study import page as pages
    from benchmark.study.curve_plot import draw
    from benchmark.study.evidence import gather

    if publish is not None and (results := found.results()):
        # First: they are of use to whoever goes on with the study, also while none gives a page.
        atomic_write(publish / f"{path.stem}.jsonl", pack(results))
        typer.echo(str(publish / f"{path.stem}.jsonl"))
    evidence = gather(found)
    folders = [out] if publish is None else [out, publish]
    for folder in folders:
        text = pages.write(evidence, path.stem, f"bench study {path} --page --out {folder}")
        atomic_write(folder / f"{path.stem}.md", text.encode())
        atomic_write(folder / f"{path.stem}.svg", draw(evidence).encode())
        typer.echo(str(folder / f"{path.stem}.md"))
