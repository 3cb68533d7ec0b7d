"""A study of LiteLoRA's gate as a TOML file: what is run, and which outcomes decide, fixed before the runs.

title = "Does a learned gate find the adapters that are needed?"
stream = "toy"
runs = "0-4"
tuning = "10-11"
set = { planes = 3, tasks = 6 }
[settings.litelora]
selection_epochs = 8
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from benchmark.data.toml_file import read_checked
from benchmark.errors import UserError
from benchmark.running.plan import parse_seeds
from benchmark.running.sweep_file import Names, Value

FOLDER = Path("sweeps")
HELP = "bench study --help"


class Part(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathRule(Part):
    """How the values of lambda are placed, and which of them is lambda*.

    Placed on the tuning runs, at lambda 0: see `benchmark.study.path`.
    """

    values: Annotated[int, Field(ge=3, le=30, description="of lambda, 0 among them")] = 8
    runs: Annotated[
        Names | None, Field(description="reported runs that take the whole path; none: all of them")
    ] = None
    least_reduction: Annotated[
        float,
        Field(gt=0, lt=1, description="share of the adapters that lambda* drops at least on the tuning runs"),
    ] = 0.2


class Outcomes(Part):
    """What decides; nothing here may change once a reported run is known."""

    margin: Annotated[float, Field(gt=0, description="points of AIA that count as no loss")] = 1.0
    smallest_difference: Annotated[
        float, Field(gt=0, description="smallest difference that matters, in points of AIA")
    ] = 1.0
    smallest_auc: Annotated[
        float, Field(gt=0, lt=0.5, description="smallest AUC that matters, above 0.5")
    ] = 0.15
    level: Annotated[float, Field(gt=0.5, lt=1, description="of each one-sided bound and test")] = 0.95
    power: Annotated[float, Field(gt=0.5, lt=1, description="that the number of runs needed is for")] = 0.8


class StudyFile(Part):
    """The whole file.

    Attributes:
        runs: reported; run i has order i and seed i.
        tuning: runs that place and choose lambda; none of the reported.
        set: settings of the protocol and the stream, for every run.
        settings: of the methods, by key. Controls learn as LiteLoRA does, where theirs are not given.
        shuffles: permutations of the gate's decisions in each run; their scores are averaged.
        known: what was known of these runs and settings before the file stood; printed on the page.
        since: what was found later that a reader of the verdict has to know; printed below it.
    """

    title: str
    stream: str
    protocol: str | None = None
    backbone: str | None = None
    runs: Names
    tuning: Names
    set: dict[str, Value] = Field(default_factory=dict)
    settings: dict[str, dict[str, Value]] = Field(default_factory=dict)
    shuffles: Annotated[int, Field(ge=1, le=100)] = 3
    path: PathRule = PathRule()
    outcomes: Outcomes = Outcomes()
    known: str = ""
    since: str = ""

    @property
    def run_numbers(self) -> list[int]:
        """The reported runs."""
        return parse_seeds(self.runs)

    @property
    def path_numbers(self) -> list[int]:
        """The reported runs that take the whole path."""
        return self.run_numbers if self.path.runs is None else parse_seeds(self.path.runs)

    @property
    def tuning_numbers(self) -> list[int]:
        """The runs that choose."""
        return parse_seeds(self.tuning)


def read_study(asked: str) -> tuple[Path, StudyFile]:
    """Return a study's file: a path, or a name, `litelora` for `sweeps/litelora-study.toml`.

    Raises:
        UserError: there is no such file, it is faulty, or a run both chooses and is reported.
    """
    path = Path(asked)
    if path.suffix != ".toml":
        path = FOLDER / f"{asked}-study.toml"
        if not path.is_file():
            known = sorted(each.name.removesuffix("-study.toml") for each in FOLDER.glob("*-study.toml"))
            names = f" (there are: {', '.join(known)})" if known else ""
            raise UserError(f"there is no study {path}{names}; give a name or the path of a .toml file")
    file = read_checked(path, "study file", StudyFile, HELP)
    both = sorted(set(file.run_numbers) & set(file.tuning_numbers))
    if both:
        raise UserError(
            f"{path}: run {both[0]} both chooses lambda and is reported; give tuning other runs than "
            f"{file.runs}"
        )
    if strange := sorted(set(file.path_numbers) - set(file.run_numbers)):
        raise UserError(f"{path}: path.runs: {strange[0]} is none of the reported runs, {file.runs}")
    return path, file
