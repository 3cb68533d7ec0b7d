"""The verbs that plan, run and score cells, and the flags that they share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, guarded

if TYPE_CHECKING:
    from benchmark.running.cell import Cell
    from benchmark.running.job import Conditions


class Device(StrEnum):
    """Where a cell runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Methods = Annotated[
    str, typer.Option("--method", help="Methods, separated by commas; all: every built-in one.")
]
Streams = Annotated[str, typer.Option("--stream", help="Task streams or .toml files, separated by commas.")]
Orders = Annotated[str | None, typer.Option("--order", help="Task orders: 1,3 or 1-3 or all.")]
Seeds = Annotated[str, typer.Option("--seed", help="Seeds: 0,5 or 0-2.")]
Backbone = Annotated[
    str | None, typer.Option(help="A listed backbone, a folder or a hub id. Default: the protocol's.")
]
ProtocolName = Annotated[str | None, typer.Option("--protocol", help="Budget and rules. Default: quick.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, repeatable, such as protocol.epochs=3.")
]
TunedFiles = Annotated[
    list[Path] | None, typer.Option("--tuned", help="A file of bench tune whose choice to use, repeatable.")
]
ZeroShot = Annotated[bool, typer.Option("--zero-shot", help="Also score tasks not learned yet.")]
ScoreAt = Annotated[
    str | None,
    typer.Option(
        help="every: all tasks seen after each task; diagonal+last: the one just learned, then all."
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="Folder with the data. Default: BENCH_DATA.")
]
Out = Annotated[Path, typer.Option(help="Folder for results.")]
Workers = Annotated[int, typer.Option(min=1, help="Cells at a time; above 1 they are placed by Ray.")]
DeviceName = Annotated[Device, typer.Option("--device", help="Where to run.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not reuse finished or started cells.")]
Retry = Annotated[bool, typer.Option("--retry", help="Run cells again that failed before.")]
Timeout = Annotated[float | None, typer.Option(help="Most seconds for one cell; then it has failed.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster: auto or ray://host:port. Default: this machine.")
]
Cpus = Annotated[float, typer.Option(help="CPUs that Ray sets aside for a cell.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs that Ray sets aside for a cell, such as 0.5.")]
Memory = Annotated[float | None, typer.Option(help="GiB that Ray sets aside for a cell.")]
Log = Annotated[
    str | None,
    typer.Option(help="Loggers to tell as well, separated by commas (see: bench list loggers)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan as bench plan does, then stop.")]


def _with_score_at(settings: list[str] | None, score_at: str | None) -> list[str]:
    """Return the settings with the one that the flag stands for."""
    return [*(settings or ()), *([] if score_at is None else [f"protocol.score_at={score_at}"])]


@guarded
def run(
    method: Methods,
    stream: Streams,
    order: Orders = None,
    seed: Seeds = "0",
    backbone: Backbone = None,
    protocol: ProtocolName = None,
    settings: Set = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    workers: Workers = 1,
    device: DeviceName = Device.cpu,
    fresh: Fresh = False,
    zero_shot: ZeroShot = False,
    score_at: ScoreAt = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    retry: Retry = False,
    timeout: Timeout = None,
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    log: Log = None,
    tuned: TunedFiles = None,
) -> None:
    """Train and score methods on streams.

    Finished cells are skipped, stopped ones go on where they were.
    """
    from benchmark.running.plan import plan as plan_cells
    from benchmark.tuning.tuning_file import by_place

    conditions = _conditions(retry, timeout, address, cpus, gpus, memory, device)
    found = by_place(tuned or ())
    cells = plan_cells(
        *(
            method,
            stream,
            order,
            seed,
            backbone,
            protocol,
            _with_score_at(settings, score_at),
            zero_shot,
            found,
        )
    )
    _perform(cells, out, data_dir, workers, device, fresh, as_json, dry_run, conditions, log)


@guarded
def sweep(
    file: Annotated[
        Path, typer.Argument(help="A TOML file of [[run]] blocks, keys as the flags of bench run.")
    ],
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    workers: Workers = 1,
    device: DeviceName = Device.cpu,
    fresh: Fresh = False,
    as_json: Json = False,
    dry_run: DryRun = False,
    retry: Retry = False,
    timeout: Timeout = None,
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    log: Log = None,
) -> None:
    """Run the cells of a sweep file.

    A block [[run]] has the keys method, stream, order, seed, backbone, protocol, zero_shot and the table set.
    """
    from benchmark.running.sweep_file import read_sweep

    conditions = _conditions(retry, timeout, address, cpus, gpus, memory, device)
    _perform(read_sweep(file), out, data_dir, workers, device, fresh, as_json, dry_run, conditions, log)


@guarded
def plan(
    method: Methods,
    stream: Streams,
    order: Orders = None,
    seed: Seeds = "0",
    backbone: Backbone = None,
    protocol: ProtocolName = None,
    settings: Set = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    workers: Workers = 1,
    zero_shot: ZeroShot = False,
    score_at: ScoreAt = None,
    as_json: Json = False,
    tuned: TunedFiles = None,
) -> None:
    """Print the cells of a run, which of them are done, and what the rest will take.

    Times and memory are those of earlier results in the folder.
    """
    from benchmark.running.plan import plan as plan_cells
    from benchmark.tuning.tuning_file import by_place

    found = by_place(tuned or ())
    cells = plan_cells(
        *(
            method,
            stream,
            order,
            seed,
            backbone,
            protocol,
            _with_score_at(settings, score_at),
            zero_shot,
            found,
        )
    )
    _show(cells, out, data_dir, workers, as_json)


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
    stream: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The .toml file of the result's stream, if it is of one."
        ),
    ] = None,
) -> None:
    """Score a finished run's adapters again, without training.

    As they were scored, it fails where a score is not the stored one of the last row. --set changes decoding,
    normaliser, references, score_on, test_limit, target_length or evaluation_batch_size; --data-dir may hold
    other rows of the same tasks.
    """
    from benchmark.analysis import rescoring

    found = rescoring.rescore(result, data_dir, settings or (), stream)
    typer.echo(found.table())
    if out is not None:
        typer.echo(str(rescoring.write(found.found, result, out)))
    if found.conditions:
        typer.echo(f"scored with {found.conditions}: no proof of the stored scores")
        return
    typer.echo("every score is as stored" if found.reproduced else "the stored scores are not reproduced")
    raise typer.Exit(0 if found.reproduced else INCOMPLETE)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (run, sweep, plan, score):
        app.command()(verb)


def _conditions(
    retry: bool,
    timeout: float | None,
    address: str | None,
    cpus: float,
    gpus: float,
    memory: float | None,
    device: Device,
) -> Conditions:
    """Return the conditions that the flags mean, refusing those that cannot be met."""
    from benchmark.running.job import Conditions

    for flag, value in (("--timeout", timeout), ("--cpus", cpus), ("--memory", memory)):
        if value is not None and value <= 0:
            raise UserError(f"{flag} {value:g} must be above 0")
    if gpus and device is Device.cpu:
        raise UserError(f"--gpus {gpus:g} sets GPUs aside that --device cpu leaves idle; add --device cuda")
    if gpus > 1 and not gpus.is_integer():
        raise UserError(f"--gpus {gpus:g} must be a part of one GPU or a whole number")
    bytes_of_memory = None if memory is None else int(memory * 1024**3)
    return Conditions(retry, timeout, address, cpus, gpus, bytes_of_memory)


def _perform(
    cells: list[Cell],
    out: Path,
    data_dir: Path | None,
    workers: int,
    device: Device,
    fresh: bool,
    as_json: bool,
    dry_run: bool,
    conditions: Conditions,
    log: str | None,
) -> None:
    if dry_run:
        _show(cells, out, data_dir, workers, as_json)
        return
    from benchmark.commands.sweep import sweep as run_sweep
    from benchmark.registry import LOGGERS
    from benchmark.running.plan import keys

    loggers = [LOGGERS.load(key)(out) for key in keys(LOGGERS, log, flag="--log")] if log else []
    code = run_sweep(cells, out, data_dir, workers, device.value, fresh, as_json, conditions, loggers)
    raise typer.Exit(code)


def _show(cells: list[Cell], out: Path, data_dir: Path | None, workers: int, as_json: bool) -> None:
    from benchmark.commands import plan_report
    from benchmark.running.forecast import forecast

    found = forecast(cells, out, data_dir)
    typer.echo(plan_report.as_data(found) if as_json else plan_report.as_text(found, workers))
