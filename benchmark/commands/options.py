"""The flags of `bench run` and its kin, each stated once: which runs, and how they are run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from benchmark.errors import Incomplete, UserError
from benchmark.text_table import TableFormat

if TYPE_CHECKING:
    from benchmark.running.events import Callback
    from benchmark.running.job import Conditions
    from benchmark.running.run import Run


def check_device(name: str) -> str:
    """Return the name of a device.

    Raises:
        UserError: it is none; whether this machine has it is looked at before the first run.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UserError(f"device '{name}' must be one of cpu, cuda, cuda:N (the GPU of number N), auto")
    return name


def _device(name: str) -> str:
    try:
        return check_device(name)
    except UserError as error:
        raise typer.BadParameter(str(error)) from None


Methods = Annotated[
    str, typer.Option("--method", help="Methods, separated by commas; all: every built-in one.")
]
Streams = Annotated[str, typer.Option("--stream", help="Task streams or .toml files, separated by commas.")]
Orders = Annotated[str | None, typer.Option("--order", help="Task orders: 1,3 or 1-3 or all.")]
Seeds = Annotated[str, typer.Option("--seed", help="Seeds: 0,5 or 0-2.")]
Backbone = Annotated[
    str | None, typer.Option(help="A listed backbone, a folder or a hub id. Default: the protocol's.")
]
ProtocolName = Annotated[str | None, typer.Option("--protocol", help="Budget and rules. Default: smoke.")]
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
StreamFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="The .toml file of the result's stream, if it is of one."),
]
Out = Annotated[Path, typer.Option(help="Folder for results.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of parallel runs; above 1 uses Ray.")]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device", parser=_device, metavar="[auto|cpu|cuda|cuda:N]", help="Where to run; cuda:1: GPU 1."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not reuse finished or started runs.")]
Retry = Annotated[bool, typer.Option("--retry", help="Run failed runs again.")]
Timeout = Annotated[float | None, typer.Option(help="Timeout per run, in seconds; uses Ray.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster: auto or ray://host:port. Default: this machine.")
]
Cpus = Annotated[float, typer.Option(help="CPUs that Ray sets aside for a run.")]
Gpus = Annotated[
    float,
    typer.Option(min=0, help="Share of a GPU that Ray sets aside for a run, or GPUs that it is spread over."),
]
Memory = Annotated[float | None, typer.Option(help="GiB that Ray sets aside for a run.")]
Log = Annotated[
    str | None, typer.Option(help="Additional loggers, comma-separated (see: bench list loggers).")
]
Format = Annotated[
    TableFormat | None,
    typer.Option("--format", help="Print tables for a paper or a program. Default: for the terminal."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def print_found(text: str, problems: Sequence[str]) -> None:
    """Print what can be said of the results that can be used; the others are named at the end."""
    if problems:
        raise Incomplete(text, problems)
    typer.echo(text)


def check_one_form(as_json: bool, form: TableFormat | None) -> None:
    """Check that a reading command was given one way to print.

    Raises:
        UserError: it was given two.
    """
    if as_json and form is not None:
        raise UserError(f"--json and --format {form} are two ways to print; give one (JSON: --json)")


SavePredictions = Annotated[
    bool,
    typer.Option(
        "--save-predictions",
        help="Also write <result>.predictions.parquet: answer and score of each test row at the end.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print what would run, what is done and what the rest will take, then stop."
    ),
]


@dataclass(frozen=True)
class RunChoice:
    """Which runs are meant: every method on every stream, order and seed."""

    method: Methods
    stream: Streams
    order: Orders = None
    seed: Seeds = "0"
    backbone: Backbone = None
    protocol: ProtocolName = None
    settings: Set = None
    zero_shot: ZeroShot = False
    score_at: ScoreAt = None
    tuned: TunedFiles = None

    def runs(self) -> list[Run]:
        """Return the runs.

        Raises:
            UserError: a name or a setting is unknown, or a file of `bench tune` cannot be read.
        """
        from benchmark.running.plan import plan
        from benchmark.tuning.tuning_file import by_place

        score_at = () if self.score_at is None else (f"protocol.score_at={self.score_at}",)
        return plan(
            self.method,
            self.stream,
            self.order,
            self.seed,
            self.backbone,
            self.protocol,
            (*(self.settings or ()), *score_at),
            self.zero_shot,
            by_place(self.tuned or ()),
        )


@dataclass(frozen=True)
class RunOptions:
    """How runs are run and shown; none of it changes a number."""

    data_dir: DataDir = None
    out: Out = Path("runs")
    workers: Workers = 1
    device: DeviceName = "cpu"
    fresh: Fresh = False
    as_json: Json = False
    dry_run: DryRun = False
    retry: Retry = False
    timeout: Timeout = None
    address: Address = None
    cpus: Cpus = 1
    gpus: Gpus = 0
    memory: Memory = None
    log: Log = None
    save_predictions: SavePredictions = False

    def conditions(self) -> Conditions:
        """Return the conditions that the flags mean.

        Raises:
            UserError: they cannot be met.
        """
        from benchmark.running.job import Conditions

        limits = {"--timeout": self.timeout, "--cpus": self.cpus, "--memory": self.memory}
        for flag, value in limits.items():
            if value is not None and value <= 0:
                raise UserError(f"{flag} {value:g} must be above 0")
        gpus = self.gpus
        if gpus and self.device == "cpu":
            raise UserError(
                f"--gpus {gpus:g} sets GPUs aside that --device cpu leaves idle; add --device cuda"
            )
        if gpus and ":" in self.device:
            raise UserError(
                f"--gpus {gpus:g} lets Ray choose the GPU of each run, and --device {self.device} names one; "
                "use --device cuda"
            )
        if gpus > 1 and gpus != int(gpus):
            raise UserError(
                f"--gpus {gpus:g}: a run takes a part of one GPU or several whole ones; the nearest valid "
                f"values are {int(gpus)} and {int(gpus) + 1}"
            )
        memory = None if self.memory is None else int(self.memory * 1024**3)
        return Conditions(self.retry, self.timeout, self.address, self.cpus, gpus, memory)

    def loggers(self) -> list[Callback]:
        """Return the loggers asked for.

        Raises:
            UserError: a name is unknown, or what a logger needs is not installed.
        """
        from benchmark.registry import LOGGERS
        from benchmark.running.plan import keys

        asked = keys(LOGGERS, self.log, flag="--log") if self.log else []
        return [LOGGERS.load(key)(self.out) for key in asked]


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command whose parameters are dataclasses of options take their fields as flags.

    What is no dataclass stays a parameter of the command.
    """
    hints = get_type_hints(command, include_extras=True)
    given = inspect.signature(command).parameters
    groups = {name: hints[name] for name in given if is_dataclass(hints[name])}
    flags: list[inspect.Parameter] = []
    for name, parameter in given.items():
        if name not in groups:
            flags.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            kind = inspect.Parameter.KEYWORD_ONLY
            flags.append(inspect.Parameter(field.name, kind, default=default, annotation=types[field.name]))

    @wraps(command)
    def called(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **values)

    called.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    called.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return called
