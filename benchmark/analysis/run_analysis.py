"""All that a finished run shows of its adapters: overlaps, and where asked what needs its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.analysis.redundancy import Redundancy, of_adapters, read_adapters

if TYPE_CHECKING:
    from benchmark.analysis.leave_one_out import LeaveOneOut


@dataclass(frozen=True)
class Depth:
    """What to compute beyond the overlaps; either needs the data of the run.

    Attributes:
        effects: fit the effects on rows of each task.
        data_dir: folder of data; None for the variable BENCH_DATA or the hub.
        stream_files: that describe streams, where a result's is not a registered one.
    """

    effects: bool = False
    leave_one_out: bool = False
    data_dir: Path | None = None
    stream_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RunAnalysis:
    """What was found out about one result; `removed` is None where it was not asked for."""

    found: Redundancy
    removed: LeaveOneOut | None = None


def analyse_run(path: Path, depth: Depth) -> RunAnalysis:
    """Analyse a result's adapters."""
    result, adapters = read_adapters(path)
    inputs, removed = None, None
    if depth.effects:
        from benchmark.analysis.task_inputs import task_inputs

        inputs = task_inputs(path, depth.data_dir, depth.stream_files)
    if depth.leave_one_out:
        from benchmark.analysis.leave_one_out import remove_each

        removed = remove_each(path, depth.data_dir, depth.stream_files)
    return RunAnalysis(of_adapters(result, adapters, inputs), removed)
