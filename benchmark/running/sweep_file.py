"""A sweep as a TOML file that can be committed beside its results: blocks of what `bench run` takes as flags.

[[run]]
method = ["litelora", "sd-lora"]
stream = "digits"
seed = "0-2"
set = { epochs = 4, "litelora.sparsity" = 0.01 }
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.data.toml_file import read_checked
from benchmark.errors import UserError
from benchmark.running.run import Run
from benchmark.settings import write_setting

HELP = "bench sweep --help"


def _join_list(value: Any) -> Any:
    """Return a list of names or numbers as the text that a flag takes."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, (str, int)) and not isinstance(part, bool) for part in parts):
        return value
    return ",".join(str(part) for part in parts)


Names = Annotated[str, BeforeValidator(_join_list)]
Value = str | bool | int | float | list[str | int | float] | dict[str, int]


class Block(BaseModel):
    """One `[[run]]`: every method on every stream, order and seed of it."""

    model_config = ConfigDict(extra="forbid")

    method: Names
    stream: Names
    order: Names | None = None
    seed: Names = "0"
    backbone: str | None = None
    protocol: str | None = None
    zero_shot: bool = False
    set: dict[str, Value] = Field(default_factory=dict)

    def runs(self) -> list[Run]:
        """Return the block's runs."""
        from benchmark.running.plan import plan

        texts = [f"{key}={write_setting(value)}" for key, value in self.set.items()]
        return plan(
            self.method,
            self.stream,
            self.order,
            self.seed,
            self.backbone,
            self.protocol,
            texts,
            self.zero_shot,
        )


class SweepFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    run: list[Block] = Field(min_length=1)


def read_sweep(path: Path) -> list[Run]:
    """Return the runs of a sweep file in the order of its blocks, none of them twice.

    Raises:
        UserError: the file is missing or no TOML, has an unknown key or a value of the wrong kind, or names
            something that there is not.
    """
    file = read_checked(path, "sweep file", SweepFile, HELP)
    runs: dict[str, Run] = {}
    for number, block in enumerate(file.run, 1):
        try:
            found = block.runs()
        except UserError as error:
            raise UserError(f"{path}, run {number}: {error}") from None
        for run in found:
            runs.setdefault(run.identity, run)
    return list(runs.values())
