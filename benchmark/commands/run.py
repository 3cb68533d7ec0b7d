"""The verbs that execute and score runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import DataDir, RunChoice, RunOptions, SavePredictions, StreamFile, with_flags
from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, guarded

if TYPE_CHECKING:
    from benchmark.running.run import Run


@guarded
@with_flags
def run(choice: RunChoice, options: RunOptions) -> None:
    """Train and score methods on streams.

    Finished runs are skipped, stopped ones go on where they were. With --dry-run nothing runs: times and
    memory are those of earlier results in the folder, or of published ones.
    """
    _perform(choice.runs(), options)


@guarded
@with_flags
def sweep(
    file: Annotated[
        Path, typer.Argument(help="A TOML file of [[run]] blocks, keys as the flags of bench run.")
    ],
    options: RunOptions,
) -> None:
    """Run the runs of a sweep file.

    A block [[run]] has the keys method, stream, order, seed, backbone, protocol, zero_shot and the table set.
    """
    from benchmark.running.sweep_file import read_sweep

    _perform(read_sweep(file), options)


@guarded
@with_flags
def plan(choice: RunChoice, options: RunOptions) -> None:
    """Do what `bench run --dry-run` does."""
    _perform(choice.runs(), replace(options, dry_run=True))


@guarded
def score(
    result: Annotated[Path, typer.Argument(help="A result file; its adapters lie beside it.")],
    data_dir: DataDir = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value of what scoring alone reads, such as protocol.decoding=labels."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Also write <result>.NAME.scores beside the result; give the NAME.")
    ] = None,
    stream: StreamFile = None,
    mark: Annotated[
        bool, typer.Option("--mark", help="Note beside the published result that its scores came out again.")
    ] = False,
    root: Annotated[Path, typer.Option(help="Folder of the leaderboards, for --mark.")] = Path(
        "leaderboards"
    ),
    save_predictions: SavePredictions = False,
) -> None:
    """Score a finished run's adapters again, without training.

    As they were scored, it fails where a score is not the stored one of the last row. --set changes decoding,
    normaliser, references, score_on, test_limit, target_length or evaluation_batch_size; --data-dir may hold
    other rows of the same tasks. Readings that the result lacks are added to it, for the last stage. With
    --save-predictions, balanced accuracy and macro F1 of each task are printed too.
    """
    from benchmark.analysis import missing_readings, rescoring
    from benchmark.publishing import marks

    if mark and settings:
        raise UserError("--mark is of the scores as they are stored: leave out --set")
    found = rescoring.rescore(result, data_dir, settings or (), stream)
    typer.echo(found.table())
    if out is not None:
        typer.echo(str(rescoring.write(found.found, result, out)))
    if save_predictions:
        from benchmark.analysis import predictions

        made = predictions.predict(result, data_dir, stream)
        typer.echo("\n".join(filter(None, ["", made.text(), str(predictions.save(made, result))])))
    if found.conditions:
        typer.echo(f"scored with {found.conditions}: no proof of the stored scores")
        raise typer.Exit(INCOMPLETE if mark else 0)
    typer.echo("every score is as stored" if found.reproduced else "the stored scores are not reproduced")
    if mark and found.reproduced:
        typer.echo(f"marked as re-scored in {marks.mark(result, found.found, root)}")
    added = missing_readings.fill(result, data_dir, stream) if found.reproduced else []
    if added:
        typer.echo(f"added to {result}, for the last stage: {', '.join(added)}")
    raise typer.Exit(0 if found.reproduced else INCOMPLETE)


def _perform(runs: list[Run], options: RunOptions) -> None:
    """Execute runs, or only say which."""
    conditions = options.conditions()
    if options.dry_run:
        from benchmark.commands import plan_report
        from benchmark.running.forecast import forecast
        from benchmark.running.published_costs import find_published_folders

        found = forecast(runs, options.out, options.data_dir, find_published_folders())
        gpus = conditions.whole_gpus
        text = (
            plan_report.as_data(found)
            if options.as_json
            else plan_report.as_text(found, options.workers, gpus)
        )
        typer.echo(text)
        return
    from benchmark.commands.sweep import sweep as run_sweep

    raise typer.Exit(run_sweep(runs, options))
