"""The `bench` command: verbs and flags. What they do lives elsewhere and is imported when it is asked for."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.analysis import compare, figures, headroom, ledger, metrics, redundancy, report
from benchmark.commands.backbone import app as backbone
from benchmark.commands.data import app as data
from benchmark.commands.options import DeviceName, Format, print_found
from benchmark.commands.publish import export, submit
from benchmark.commands.run import plan, run, score, sweep
from benchmark.commands.sections import Sections
from benchmark.commands.site import app as site
from benchmark.commands.study import study
from benchmark.commands.tuning import tune
from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, guarded

app = typer.Typer(
    cls=Sections,
    help="Compare continual parameter-efficient fine-tuning methods.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
analyse = typer.Typer(
    help="Compare results; write figures; conventions; redundancy; a study.", no_args_is_help=True
)
develop = typer.Typer(
    help="Time steps; measure headroom; write the ledger and the site.", no_args_is_help=True
)


class Topic(StrEnum):
    """What `bench list` can list."""

    methods = "methods"
    streams = "streams"
    backbones = "backbones"
    loggers = "loggers"
    orders = "orders"
    protocols = "protocols"


class ReadingName(StrEnum):
    """The readings of a run, as `benchmark.results.READINGS` names them."""

    trained_head = "trained_head"
    class_means = "class_means"
    task_incremental = "task_incremental"


def show_version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("continual-peft-bench"))
        except PackageNotFoundError:
            typer.echo("not installed, run from a checkout")
        raise typer.Exit


@app.callback()
def bench(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compare continual parameter-efficient fine-tuning methods."""


@guarded
def list_(
    topic: Annotated[
        Topic | None, typer.Argument(help="What to list; nothing: all but orders and protocols.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Facts and settings of one method.")] = None,
    stream: Annotated[str | None, typer.Option(help="Facts of one stream or .toml file.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Facts of one backbone.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Load each entry and say which fail.")] = False,
) -> None:
    """List methods, streams, backbones and loggers.

    `orders` and `protocols` print those of the stream given by --stream.
    """
    from benchmark.commands import inspection

    if topic in (Topic.orders, Topic.protocols):
        if stream is None:
            raise UserError(f"whose {topic.value}? add --stream X (see: bench list streams)")
        typer.echo(inspection.orders(stream) if topic is Topic.orders else inspection.protocols(stream))
        return
    details = [
        describe(name)
        for name, describe in (
            (method, inspection.method),
            (stream, inspection.stream),
            (backbone, inspection.backbone),
        )
        if name is not None
    ]
    if details:
        typer.echo("\n\n".join(details))
        return
    kinds = [topic.value] if topic else list(inspection.REGISTRIES)
    if not check:
        typer.echo(inspection.overview(kinds))
        return
    text, sound = inspection.check(kinds, sys.stderr)
    typer.echo(text)
    raise typer.Exit(0 if sound else INCOMPLETE)


@guarded
def show(
    result: Annotated[Path, typer.Argument(help="A result file, a packed file or a folder of results.")],
    form: Format = None,
) -> None:
    """Print the scores and costs of one result, or the scores of several side by side.

    With --format, the scores on each task after the last one, a row for each method.
    """
    from benchmark.publishing import terminal
    from benchmark.result_files import read_all

    found, problems = read_all(result)
    runs = [run for _, run in found]
    if form is not None:
        from benchmark.publishing.collect import sections
        from benchmark.publishing.paper_tables import task_tables, write_tables

        text = write_tables(task_tables(sections(runs)), form)
    else:
        text = terminal.show(runs[0], found[0][0]) if len(runs) == 1 else terminal.result_table(runs)
    print_found(text, problems)


@guarded
def leaderboard(
    root: Annotated[Path, typer.Option(help="Folder with the results.")] = Path("leaderboards"),
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("leaderboards"),
    check: Annotated[bool, typer.Option("--check", help="Only say which tables are out of date.")] = False,
    sort_by: Annotated[
        ReadingName, typer.Option(help="The reading that sorts the rows.")
    ] = ReadingName.trained_head,
    stream: Annotated[
        list[Path] | None,
        typer.Option(help="TOML file of your own stream, for --check of a board of your own."),
    ] = None,
    form: Format = None,
) -> None:
    """Write the leaderboards from result files.

    --check writes nothing and fails where a table is out of date, or a result could not have been submitted.
    --format writes nothing either, and prints the boards' tables.
    """
    from benchmark.publishing import leaderboard as boards
    from benchmark.publishing.submission import recheck
    from benchmark.running.catalogue import know

    if form is not None:
        if check:
            raise UserError("--check looks at the written pages and --format prints others; give one of them")
        typer.echo(boards.format_tables(root, sort_by.value, form))
        return
    if not check:
        written = boards.build(root, out, sort_by.value)
        typer.echo("\n".join(str(path) for path in written) or "no results, nothing written")
        return
    for path in stream or ():
        know(path)
    lines = [f"refused: {reason}" for reason in recheck(root)]
    stale = [] if lines else boards.check(root, out)
    lines += [f"out of date: {page} (bench leaderboard writes it anew)" for page in stale]
    typer.echo("\n".join(lines) or "leaderboards are up to date")
    raise typer.Exit(INCOMPLETE if lines else 0)


@guarded
def speed(
    tasks: Annotated[str, typer.Option(help="Numbers of tasks, separated by commas.")] = "1,5,10,20,50",
    width: Annotated[int, typer.Option(min=1, help="Width of the layers.")] = 384,
    blocks: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = 6,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of an input.")] = 65,
    batch: Annotated[int, typer.Option(min=1, help="Inputs of a step.")] = 16,
    rank: Annotated[int, typer.Option(min=1, help="Rank of an adapter.")] = 10,
    method: Annotated[
        str | None, typer.Option(help="Time these methods instead, at the last of --tasks over task 1.")
    ] = None,
    device: DeviceName = "cpu",
) -> None:
    """Time a training step as tasks add up."""
    counts = [part.strip() for part in tasks.split(",")]
    if not all(count.isdecimal() and int(count) > 0 for count in counts):
        raise UserError(f"--tasks '{tasks}' must be numbers above 0, separated by commas")
    from benchmark.profiling import speed as timing

    size = timing.Size(width, blocks, tokens, batch, rank)
    if method is None:
        timing.main([int(count) for count in counts], size, device)
        return
    from benchmark.profiling import method_speed
    from benchmark.registry import METHODS
    from benchmark.running.plan import keys

    method_speed.main(keys(METHODS, method), int(counts[-1]), size, device)


app.command("list")(list_)
for verb in (run, sweep, tune, show, score, export, submit, leaderboard):
    app.command()(verb)
for verb in (compare, study, metrics, redundancy, report, figures):
    analyse.command()(verb)
for verb in (speed, headroom, ledger):
    develop.command()(verb)
data.add_typer(backbone, name="backbone")
app.add_typer(data, name="data")
app.add_typer(analyse, name="analyse")
app.add_typer(develop, name="develop")
develop.add_typer(site, name="site")

# Not shown, since each is another name of something that is: `run --dry-run`, or what a group holds.
for verb in (plan, compare, study, metrics, redundancy, report, figures, speed, headroom, ledger):
    app.command(hidden=True)(verb)
app.add_typer(site, name="site", hidden=True)
app.add_typer(backbone, name="backbone", hidden=True)


def main() -> None:
    """Run the command line."""
    app(prog_name="bench")
