"""The `bench data` commands: verbs and flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataDir, Format, check_one_form
from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, guarded, print_stderr

app = typer.Typer(help="List, describe, verify, fetch and sample the data of streams.", no_args_is_help=True)

GivenStream = Annotated[str, typer.Argument(metavar="STREAM", help="A listed stream or a .toml file.")]
Order = Annotated[str | None, typer.Option(help="A task order. Default: the first.")]
ProtocolName = Annotated[str | None, typer.Option(help="A protocol. Default: smoke.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value of the stream, repeatable.")]


@app.command("list")
@guarded
def list_(data_dir: DataDir = None, form: Format = None) -> None:
    """List streams and where their data would come from now.

    Nothing is loaded from the network.
    """
    from benchmark.commands import data_tables as data_commands

    typer.echo(data_commands.listing(data_dir, form))


@app.command()
@guarded
def describe(
    stream: GivenStream,
    order: Order = None,
    protocol: ProtocolName = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    form: Format = None,
) -> None:
    """Say what a stream is: tasks, classes, rows, an example.

    --format prints the table of its tasks alone.
    """
    from benchmark.commands import data_tables as data_commands

    chosen, request = data_commands.choose(stream, order, protocol, data_dir, settings or ())
    typer.echo(data_commands.describe(chosen, request, form))


@app.command()
@guarded
def verify(
    stream: GivenStream,
    order: Order = None,
    protocol: ProtocolName = None,
    backbone: Annotated[str | None, typer.Option(help="A backbone. Default: the protocol's.")] = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    form: Format = None,
) -> None:
    """Look for errors in all rows of a stream.

    Exits with 1 where there is an error; warnings are listed and do no harm.
    """
    check_one_form(as_json, form)
    from benchmark.commands import data_tables as data_commands

    report = data_commands.examine(stream, order, protocol, data_dir, settings or (), backbone)
    typer.echo(data_commands.as_json(report) if as_json else data_commands.as_text(report, form))
    raise typer.Exit(0 if report.sound else INCOMPLETE)


@app.command()
@guarded
def fetch(
    stream: GivenStream,
    data_dir: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write parquet files here. Default: the cache alone.")
    ] = None,
) -> None:
    """Load a stream's sets from the Hugging Face hub, for work without a network."""
    from benchmark.data.fetch import fetch as bring
    from benchmark.running.catalogue import load_stream

    bring(load_stream(stream), data_dir, typer.echo)


@app.command()
@guarded
def sample(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="A stream of which a sample is published.")],
    to: Annotated[Path, typer.Option(file_okay=False, help="Data folder to write to, another than DIR.")],
    data_dir: DataDir = None,
) -> None:
    """Write the sample of rows that published results stand on.

    They are found by content in the whole set: in the data folder, or on the hub. Runs then read --to.
    """
    from benchmark.data import files
    from benchmark.running.catalogue import load_stream

    write, whole = load_stream(stream).write_sample, files.data_dir(data_dir)
    if write is None:
        raise UserError(f"of the stream '{stream}' no sample is published; its runs read the whole set")
    if whole is not None and whole.resolve() == to.resolve():
        raise UserError(f"--to {to} is the folder of the whole set, which runs would read; give another one")
    typer.echo(str(write(whole, to, print_stderr)))


@app.command()
@guarded
def cache(
    clear: Annotated[
        str | None, typer.Option(metavar="KIND", help="Delete a kind of entries, such as prefix; or all.")
    ] = None,
    unused_days: Annotated[
        float, typer.Option(min=0, help="With --clear: only what was not used for so many days.")
    ] = 0,
    form: Format = None,
) -> None:
    """Say what the cache holds, or delete some of it.

    What is deleted is made again when it is needed.
    """
    from benchmark.commands import cache_table

    typer.echo(cache_table.listing(form) if clear is None else cache_table.clear(clear, unused_days))
