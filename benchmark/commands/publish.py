"""The verbs that hand results on: to the leaderboards, and as adapters with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataDir, StreamFile
from benchmark.guard import INCOMPLETE, guarded, print_stderr


@guarded
def submit(
    result: Annotated[list[Path], typer.Argument(help="Result files; adapters or their hashes beside them.")],
    root: Annotated[Path, typer.Option(help="Folder of the leaderboards.")] = Path("leaderboards"),
    stream: Annotated[
        Path | None, typer.Option(help="TOML file of your own stream, for a board of your own.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what would happen.")] = False,
) -> None:
    """Check results and place them among the published ones.

    Nothing is placed where one is refused. `bench leaderboard` then writes the tables.
    """
    from benchmark.publishing.submission import submit as place
    from benchmark.running.catalogue import know

    if stream is not None:
        know(stream)
    verdict = place(result, root, dry_run=check)
    for reason in verdict.refused:
        print_stderr(f"refused: {reason}")
    for path in verdict.placed:
        typer.echo(str(path))
    raise typer.Exit(INCOMPLETE if verdict.refused else 0)


@guarded
def export(
    result: Annotated[Path, typer.Argument(help="A result file.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the adapter.")],
    card: Annotated[
        bool, typer.Option("--card", help="Also write README.md: code that runs as it is, and the scores.")
    ] = False,
    data_dir: DataDir = None,
    stream: StreamFile = None,
) -> None:
    """Write a learned run as one peft adapter.

    The card's code needs the data only where its prompt puts words of the task around texts.
    """
    from benchmark.publishing.export import export as write

    typer.echo(str(write(result, folder, card, None, data_dir, stream)))
