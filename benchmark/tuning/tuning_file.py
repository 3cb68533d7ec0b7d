"""What a search for hyper-parameters tried and chose, as a file that `bench run --tuned` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from benchmark.errors import UserError, first_of
from benchmark.result_files import SEARCHES
from benchmark.results import Part, Tuned, atomic_write, to_json
from benchmark.running.run import plain
from benchmark.settings import write_setting
from benchmark.space import OBJECTIVES
from benchmark.text_table import text_table

SCHEMA = 1


class TrialFacts(Part):
    """One point of the space and what came of it."""

    values: dict[str, Any]
    state: Literal["complete", "pruned", "failed"]
    score: float | None = Field(
        description="mean of its runs, of what is searched for; of pruned ones so far"
    )
    tasks: int = Field(description="tasks that were learned, of all its runs")
    error: str | None = None


class TuningFile(Part):
    """One search: one method on one stream under one protocol."""

    tuning_version: int = SCHEMA
    method: str
    stream: str
    protocol: str
    backbone: str
    orders: list[str]
    seeds: list[int]
    settings: list[str] = Field(description="further `--set` texts of every trial")
    chosen: Tuned
    trials: list[TrialFacts]

    @property
    def place(self) -> tuple[str, str, str]:
        """What the chosen values are for."""
        return self.method, self.stream, self.protocol


def path_of(out: Path, method: str, stream: str, protocol: str) -> Path:
    """Return where a search is kept."""
    return out / SEARCHES / plain(stream) / plain(protocol) / f"{plain(method)}.json"


def write(file: TuningFile, path: Path) -> None:
    """Write a search atomically."""
    atomic_write(path, to_json(file.model_dump(mode="json")))


def read(path: Path) -> TuningFile:
    """Read and validate a search.

    Raises:
        UserError: the file is missing, cut short, of another schema or no search.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the tuning file {path}: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{path} is not complete JSON: cut in half, or not a tuning file") from None
    version = data.get("tuning_version") if isinstance(data, dict) else None
    if version != SCHEMA:
        raise UserError(
            f"{path} is no tuning file of version {SCHEMA}, but tuning_version {version!r} (see: bench tune)"
        )
    try:
        return TuningFile.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path} is not a valid tuning file: {first_of(error, 'file')}") from None


def by_place(paths: Sequence[Path]) -> dict[tuple[str, str, str], Tuned]:
    """Read searches and return what they chose by method, stream and protocol.

    Raises:
        UserError: one cannot be read, or two are for the same place.
    """
    found: dict[tuple[str, str, str], Tuned] = {}
    for path in paths:
        file = read(path)
        if file.place in found:
            raise UserError(f"--tuned {path} is a second file for {' '.join(file.place)}; give one of them")
        found[file.place] = file.chosen
    return found


def set_flags(method: str, values: Mapping[str, Any]) -> str:
    """Return the flags that give a method some values."""
    return " ".join(f"--set {method}.{name}={write_setting(value)}" for name, value in values.items())


def as_text(file: TuningFile, path: Path) -> str:
    """Return the trials, the choice and how to use it, for reading."""
    import pandas as pd  # not with the module, which every run reads

    short = OBJECTIVES[file.chosen.objective][0]
    rows = [
        {
            "trial": str(number),
            **{name: write_setting(value) for name, value in trial.values.items()},
            short: "-" if trial.score is None else f"{100 * trial.score:.1f}",
            "tasks": str(trial.tasks),
            "state": trial.state,
        }
        for number, trial in enumerate(file.trials, 1)
    ]
    table = text_table(pd.DataFrame(rows))
    rows_used = "TEST" if file.chosen.selection == "paper" else "validation"
    of = f"{file.method} on {file.stream}, {file.protocol}"
    title = f"{of}: {file.chosen.mark}, {short} x 100 on {rows_used} rows"
    place = f"--method {file.method} --stream {file.stream} --protocol {file.protocol}"
    use = f"to use it: bench run {place} --tuned {path}"
    return f"{title}\n\n{table}\n\n{use}\nor: {set_flags(file.method, file.chosen.values)}"
