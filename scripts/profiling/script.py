"""What the measuring scripts share: their options, how they end, and that every run must be complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from benchmark.errors import UserError
from benchmark.running.driver import run
from benchmark.running.events import Callback
from benchmark.running.run import Run

Methods = Annotated[str, typer.Option("--method", help="Methods, separated by commas.")]
StreamKey = Annotated[str, typer.Option("--stream", help="A stream; its protocol names the backbone.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable.")]


def run_all(runs: list[Run], out: Path, data_dir: Path | None, workers: int, callback: Callback) -> None:
    """Execute runs on the CPU, as `bench run` does.

    Raises:
        UserError: one of them did not complete.
    """
    for outcome in run(runs, out, data_dir, workers, "cpu", False, callback):
        if outcome.error:
            raise UserError(f"{outcome.run.name}: {outcome.error}")


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a markdown table."""
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def start(main: Callable[..., None]) -> None:
    """Run a script's main function on the command line; a user's mistake ends in one line."""
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
