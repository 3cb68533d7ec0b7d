"""Scores a finished cell's adapters again, without training: a proof that its result is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.cell import Cell
from benchmark.errors import UserError
from benchmark.export import rebuild
from benchmark.results import read
from benchmark.runner import load_data
from benchmark.training import evaluate


@dataclass(frozen=True)
class Rescored:
    """The last row of a score matrix, stored and measured again; None where it was not measured."""

    tasks: list[str]
    stored: list[float | None]
    found: list[float | None]

    @property
    def reproduced(self) -> bool:
        """Whether every score is the stored one, to the last digit."""
        return self.stored == self.found

    def table(self) -> str:
        """Return both rows for reading, x 100."""
        rows = {
            "task": self.tasks,
            "stored": [_shown(score) for score in self.stored],
            "again": [_shown(score) for score in self.found],
        }
        return str(pd.DataFrame(rows).to_markdown(index=False, tablefmt="simple", disable_numparse=True))


def rescore(path: Path, data_dir: Path | None) -> Rescored:
    """Return the last row of a result, measured again with the adapters beside it.

    Args:
        path: of the result.
        data_dir: folder of data; None for the variable BENCH_DATA or the hub.

    Raises:
        UserError: the result, its adapters or its data cannot be read, or the data is not what it was.
    """
    result = read(path)
    cell = Cell.of(result)
    loaded, found = load_data(cell, data_dir)
    if found != result.provenance.data_fingerprint:
        raise UserError(
            f"the data of {cell.stream} is not what {path} was made from: its fingerprint begins with "
            f"{found[:8]}, that of the result with {result.provenance.data_fingerprint[:8]}"
        )
    method = rebuild(result, path, loaded.tasks)
    row: list[float | None] = []
    for i, stored in enumerate(result.matrix[-1]):
        task = loaded.tasks[i]
        examples = task.test if cell.protocol.score_on == "test" else task.validation
        if stored is None or examples is None:
            row.append(None)
        else:
            row.append(evaluate(method, i, method.objective.encode(task, examples), examples))
    return Rescored([task.name for task in loaded.tasks], result.matrix[-1], row)


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.2f}"
