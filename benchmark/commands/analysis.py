"""The verbs that read results: what `bench` can say about runs that are finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.guard import guarded

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@guarded
def metrics(
    result: Annotated[Path, typer.Argument(help="A result file.")],
    single: Annotated[
        Path | None, typer.Option(help="A result whose diagonal has each task learned alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a result's numbers by every convention in use, and who uses it."""
    from benchmark.analysis import translator
    from benchmark.results import read

    alone = None if single is None else read(single)
    found = translator.of_result(read(result), alone)
    typer.echo(json.dumps(translator.as_data(found), indent=1) if as_json else translator.table(found))


@guarded
def ledger(
    root: Annotated[Path, typer.Option(help="Folder with results and published/.")] = Path("leaderboards"),
    out: Annotated[Path, typer.Option(help="Folder for the ledger.")] = Path("leaderboards"),
) -> None:
    """Write published numbers beside ours, with a verdict on each."""
    from benchmark.publishing import ledger as published

    typer.echo(str(published.build(root, out)))


@guarded
def redundancy(
    result: Annotated[list[Path], typer.Argument(help="Result files; the adapters lie beside them.")],
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Also score without each adapter; needs the data.")
    ] = False,
    effects: Annotated[
        bool, typer.Option("--effects", help="Also fit the effects on rows of each task; needs the data.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with the data.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the pictures of each result.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="A markdown page whose tables to write; its other words stay.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how much the adapters of different tasks overlap."""
    from benchmark.analysis import redundancy as analysis

    data, texts, analysed = [], [], []
    for path in result:
        inputs, removed = None, None
        if effects:
            from benchmark.analysis.task_inputs import task_inputs

            inputs = task_inputs(path, data_dir)
        found = analysis.analyse(path, inputs)
        record, blocks = found.as_data(), [analysis.tables(found)]
        if leave_one_out:
            from benchmark.analysis import leave_one_out as removal

            removed = removal.remove_each(path, data_dir)
            record["leave_one_out"] = removed.as_data()
            blocks.append(removal.table(removed))
        if pictures is not None:
            from benchmark.publishing import plots

            drawn = {"overlap": plots.overlaps(found)}
            if len(found.tasks) > 1:
                drawn["residual"] = plots.residuals(found)
            for name, picture in drawn.items():
                blocks += [str(each) for each in plots.save(picture, pictures / f"{path.stem}-{name}")]
        data.append(record)
        analysed.append((found, removed))
        texts.append("\n\n".join(blocks))
    if page is not None:
        from benchmark.publishing.redundancy_page import write_page

        texts.append(str(write_page(analysed, page)))
    typer.echo(json.dumps(data, indent=1) if as_json else "\n\n\n".join(texts))


@guarded
def report(
    source: Annotated[Path, typer.Argument(help="A result file, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one HTML page with tables and pictures of a run or of all runs in a folder."""
    from benchmark.publishing import report as pages

    typer.echo(str(pages.build(source, out)))


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for command in (metrics, ledger, redundancy, report):
        app.command()(command)
