"""What searches will take: their trials, those whose end is known, and the time of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.running.catalogue import load_method
from benchmark.running.forecast import Forecast, forecast
from benchmark.running.published_costs import find_published_folders
from benchmark.tuning.rule_search import grid_of
from benchmark.tuning.search_space import points
from benchmark.tuning.tuning_file import path_of, read

if TYPE_CHECKING:
    from benchmark.running.run import Run
    from benchmark.space import SearchRule
    from benchmark.tuning.search import Search


@dataclass(frozen=True)
class SearchPlan:
    """One search.

    Attributes:
        trials: the points of its grid, or as many as are to be sampled.
        done: trials whose end is known.
        seconds: that the others take if none is pruned; None where no result says anything.
        published: whether that is judged by published runs.
    """

    method: str
    stream: str
    trials: int
    done: int
    seconds: float | None
    published: bool


def plan_searches(
    asked: Sequence[tuple[Search, SearchRule | None]], out: Path, data_dir: Path | None
) -> list[SearchPlan]:
    """Return what searches come to. Nothing is run, and no data are read.

    Args:
        asked: each with the rule of its protocol; None where points are searched freely.

    Raises:
        UserError: what is asked for is not understood, or there is nothing to search.
    """
    grids = [_grid(search, rule) for search, rule in asked]
    # Of sampled points none is known before: one stands for all.
    runs = [[search.runs(at) for at in grid or [{}]] for (search, _), grid in zip(asked, grids, strict=True)]
    every = [run for trials in runs for trial in trials for run in trial]
    known = iter(forecast(every, out, data_dir, find_published_folders()).runs)
    return [
        _plan(search, grid, [[next(known) for _ in trial] for trial in trials], out)
        for (search, _), grid, trials in zip(asked, grids, runs, strict=True)
    ]


def _grid(search: Search, rule: SearchRule | None) -> list[dict[str, Any]] | None:
    """Return the points that are tried; None where they are sampled."""
    if rule is None:
        return points(search.space(), search.trials)
    return grid_of(load_method(search.method), rule)


def _plan(
    search: Search, grid: list[dict[str, Any]] | None, trials: list[list[Forecast]], out: Path
) -> SearchPlan:
    run, left = trials[0][0].run, trials
    if grid is not None:
        ended = list(_read_ended(search, run, out))
        open_trials = (x for values, x in zip(grid, trials, strict=True) if values not in ended)
        rests = ([entry for entry in entries if entry.state != "done"] for entries in open_trials)
        left = [rest for rest in rests if rest]
    costs = [entry.cost for entries in left for entry in entries]
    times = search.trials if grid is None else 1
    return SearchPlan(
        method=search.method,
        stream=run.stream,
        trials=len(trials) * times,
        done=len(trials) - len(left),
        seconds=None if None in costs else times * sum(cost.seconds for cost in costs if cost),
        published=any(cost.published for cost in costs if cost),
    )


def _read_ended(search: Search, run: Run, out: Path) -> Iterator[dict[str, Any]]:
    """Yield the points of an earlier search of the same kind that were completed or pruned."""
    path = path_of(out, run.method, run.stream, run.protocol.name)
    if path.exists():
        file = read(path)
        same = file.settings == list(search.settings) and file.backbone == run.backbone
        rule = run.protocol.search
        if same and (rule is None or file.chosen.objective == rule.objective):
            yield from (trial.values for trial in file.trials if trial.state != "failed")
