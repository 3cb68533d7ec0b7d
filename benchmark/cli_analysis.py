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
    from benchmark import translator
    from benchmark.results import read

    alone = None if single is None else read(single)
    found = translator.of_result(read(result), alone)
    typer.echo(json.dumps(translator.as_data(found), indent=1) if as_json else translator.table(found))


@guarded
def ledger(
    root: Annotated[Path, typer.Option(help="Folder with results and published numbers.")] = Path(
        "leaderboards"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the ledger.")] = Path("leaderboards"),
) -> None:
    """Write published numbers beside ours, with a verdict on each."""
    from benchmark import ledger as published

    typer.echo(str(published.build(root, out)))


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for command in (metrics, ledger):
        app.command()(command)
