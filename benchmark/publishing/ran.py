"""What the sweeps behind published results ran: a run that began and is not published is reported by name.

`bench submit` takes from an output folder which orders and seeds of a result's very settings began to learn,
and adds them to `results/<stream>/<protocol>.ran`, a line for each row of a table. What was run in a folder
that nobody shows is not seen: that is attested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchmark.errors import UserError
from benchmark.publishing.checksums import broken
from benchmark.publishing.side_files import RAN, as_bytes, lines_of, side_file, side_files
from benchmark.result_files import find
from benchmark.results import Part, Result, read
from benchmark.running.run import Run
from benchmark.running.sweep_folder import Begun, SweepFolder

Runs = set[tuple[str, int]]
"""Orders and seeds."""


class Ran(Part):
    """The runs of one row: everything but order and seed is the same."""

    ran_version: Literal[1]
    method: str
    row: str = Field(description="hash of the settings that all of them share")
    runs: list[tuple[str, int]] = Field(description="order and seed of each run that began to learn")


def find_runs(folder: Path, result: Result) -> list[Begun]:
    """Return the runs that began to learn in an output folder, or whose results lie where a result does."""
    if folder.parts[-2:] != (result.stream, result.protocol):
        return []
    found = SweepFolder(folder.parents[1]).begun()
    for path in find(folder):
        try:
            other = read(path)
            found.append(Begun(row=Run.of(other).row, order=other.order, seed=other.seed))
        except UserError:
            continue  # it says itself what it is, where it is read
    return found


def runs_of_row(result: Result, known: Iterable[Begun]) -> Runs:
    """Return those of the known runs that have the settings of a result, its own among them."""
    row = Run.of(result).row
    return {(result.order, result.seed), *((each.order, each.seed) for each in known if each.row == row)}


def merge_lists(root: Path, submitted: Mapping[Path, Iterable[Result]]) -> dict[Path, bytes]:
    """Return the files that name the runs of submitted results, with what they named before.

    Args:
        submitted: by file the results that it holds.

    Raises:
        UserError: a file that is there cannot be read.
    """
    by_file: dict[Path, dict[tuple[str, str], Runs]] = defaultdict(lambda: defaultdict(set))
    known: dict[Path, list[Begun]] = {}  # of each folder once, however many results it gives
    for path, results in submitted.items():
        folder = path.resolve().parent
        for result in results:
            if folder not in known:
                known[folder] = find_runs(folder, result)
            row = result.method, Run.of(result).row
            by_file[side_file(root, result, RAN)][row] |= runs_of_row(result, known[folder])
    files, problems = {}, list[str]()
    for file, rows in by_file.items():
        if file.is_file():
            for _, line in lines_of(file, Ran, problems):
                rows[(line.method, line.row)] |= set(line.runs)
        lines = [
            Ran(ran_version=1, method=method, row=row, runs=sorted(runs))
            for (method, row), runs in rows.items()
        ]
        files[file] = as_bytes(lines)
    if problems:
        raise UserError("; ".join(problems))
    return files


def find_left_out(root: Path, results: Iterable[Result]) -> list[str]:
    """Return a line for each run that was run and is not published, or published and not in its row's line.

    Of a row without a line nothing is said: it is older than these lines, or nobody shows what else was run.
    """
    published: dict[tuple[Path, str, str], Runs] = defaultdict(set)
    for result in results:
        key = side_file(root, result, RAN), result.method, Run.of(result).row
        published[key].add((result.order, result.seed))
    folder, problems = root / "results", list[str]()
    changed = broken(folder)
    for path in side_files(folder, RAN):
        if path in changed:
            continue  # reported with the results
        for where, line in lines_of(path, Ran, problems):
            ran, here = set(line.runs), published[(path, line.method, line.row)]
            for runs, words in ((ran - here, "was run and is not published"), (here - ran, "is not named")):
                problems += [
                    f"{where}: {line.method} with order {order}, seed {seed} {words}"
                    for order, seed in sorted(runs)
                ]
    return problems
