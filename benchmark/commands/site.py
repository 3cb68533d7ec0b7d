"""The verbs of `bench site`: the leaderboards as a static site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.guard import guarded

app = typer.Typer(
    help="Write the leaderboards as a static site, and show it.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
@guarded
def build(
    root: Annotated[Path, typer.Option(help="Folder with the results.")] = Path("leaderboards"),
    out: Annotated[Path, typer.Option(help="Folder for the site.")] = Path("site"),
    pictures: Annotated[bool, typer.Option(help="Draw pictures, with the plots extra.")] = True,
    docs: Annotated[
        str, typer.Option(help="Address of the documentation, as seen from the first page, to link to.")
    ] = "",
) -> None:
    """Write the pages, with the result files beside them."""
    from benchmark.publishing import site

    typer.echo("\n".join(str(path) for path in site.build(root, out, pictures, docs)))


@app.command()
@guarded
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of the site.")] = Path("site"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any.")] = 8000,
) -> None:
    """Show a built site on this machine until Ctrl-C."""
    from benchmark.publishing.site_server import HOST, server

    with server(folder, port) as running:
        typer.echo(f"http://{HOST}:{running.server_port}/ (Ctrl-C ends)")
        running.serve_forever()
