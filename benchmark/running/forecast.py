"""What a plan comes to: which runs are done, failed, running or missing, and what the rest will take."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from benchmark.running.data_index import DataIndex
from benchmark.running.published_costs import PublishedTimings
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder

State = Literal["done", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "missing")
SAMPLE = 12
"""How many results on one stream and protocol are read for an estimate: of one method, or one of each."""


@dataclass(frozen=True)
class Cost:
    """What a run takes: seconds of training and scoring, and bytes of memory at the peak.

    Attributes:
        published: whether it was measured on another machine, by published runs.
    """

    seconds: float
    memory_bytes: int
    published: bool = False


@dataclass(frozen=True)
class Forecast:
    """A run of a plan.

    Attributes:
        cost: estimated from earlier results; None where no result says anything.
    """

    run: Run
    state: State
    cost: Cost | None
    error: str | None = None


class History:
    """The results in an output folder, listed once and read only as far as needed."""

    def __init__(self, out: Path, published: Sequence[Path] = ()) -> None:
        """Look into `out`, which need not exist.

        Args:
            published: folders of published results, asked where `out` has none of a method.
        """
        self.out = out
        self._published = PublishedTimings(published)
        self._listed: dict[Path, dict[str, frozenset[str]]] = {}
        self._means: dict[tuple[Path, str, int | None], Cost | None] = {}
        self._costs: dict[tuple[str, str, str, int | None], Cost | None] = {}
        self._prints: dict[tuple[Path, str, int], set[str]] = {}
        self._read: set[str] = set()

    def has(self, run: Run, fingerprint: str | None) -> bool:
        """Whether the result of a run is there.

        Args:
            fingerprint: of the data; None where that was never loaded, then a result for any data counts.
        """
        folder = run.folder(self.out)
        names = self._by_stem(folder).get(run.stem)
        if names is None:
            return False
        if fingerprint is not None:
            return run.path(self.out, fingerprint).name in names
        # Runs of one order and seed share their data, so that few results have to be read.
        prints = self._prints.setdefault((folder, run.order, run.seed), set())
        if any(run.path(self.out, one).name in names for one in prints):
            return True
        for name in names - self._read:
            self._read.add(name)
            data = _data(folder / name)
            if data is not None:
                prints.add(data["provenance"]["data_fingerprint"])
        return any(run.path(self.out, one).name in names for one in prints)

    def cost(self, run: Run) -> Cost | None:
        """Return what a run takes by results of its method, or else of any method, on its stream.

        Those of its own protocol are taken before those of others, and published ones after those of `out`.
        A run over the first tasks alone, as a search makes them, takes its share of a whole one.
        """
        key = (run.stream, run.protocol.name, run.method, run.protocol.first_tasks)
        if key not in self._costs:
            own = run.folder(self.out)
            folders = [own, *(folder for folder in _folders(own.parent) if folder != own)]
            self._costs[key] = next(filter(None, self._estimates(run, folders)), None)
        return self._costs[key]

    def _estimates(self, run: Run, folders: Sequence[Path]) -> Iterator[Cost | None]:
        """Yield what a run may take, the best estimate first: by its method, then by any."""
        first = run.protocol.first_tasks
        for method in (run.method, ""):
            for folder in folders:
                yield self._mean(folder, method, first)
            timings = self._published.of(run.stream, run.protocol.name, method)
            yield replace(cost, published=True) if (cost := _cost(timings, first)) else None

    def _mean(self, folder: Path, method: str, first: int | None) -> Cost | None:
        """Return what a run takes by some results of a folder, of one method or of any.

        Args:
            first: the tasks that the run is cut to; of a whole one, cut results say nothing.
        """
        key = (folder, method, first)
        if key not in self._means:
            stems = list(self._by_stem(folder))
            if method:
                stems = [stem for stem in stems if stem.startswith(f"{method}-order-")]
            else:  # one run of each, or the first by name would speak for all
                stems = list({stem.partition("-order-")[0]: stem for stem in stems}.values())
            names = (min(self._by_stem(folder)[stem]) for stem in stems)
            read = (data for name in names if (data := _data(folder / name)))
            usable = (data["timing"] for data in read if first or not _is_cut(data))
            self._means[key] = _cost(list(islice(usable, SAMPLE)), first)
        return self._means[key]

    def _by_stem(self, folder: Path) -> dict[str, frozenset[str]]:
        """Return the names of a folder's results by what stands before the hash in them."""
        if folder not in self._listed:
            names = sorted(path.name for path in folder.glob("*.json")) if folder.is_dir() else []
            grouped = groupby(names, key=lambda name: name.rpartition("-")[0])
            self._listed[folder] = {stem: frozenset(group) for stem, group in grouped}
        return self._listed[folder]


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _cost(timings: list[dict[str, Any]], first: int | None) -> Cost | None:
    """Return the mean cost of runs, of each the share that its first tasks are of those it learned."""
    if not timings:
        return None

    def share(timing: dict[str, Any]) -> float:
        return 1.0 if first is None else min(1.0, first / len(timing["train_seconds"]))

    seconds = statistics.fmean(timing["total_seconds"] * share(timing) for timing in timings)
    return Cost(seconds, max(timing["peak_memory_bytes"] for timing in timings))


def _data(path: Path) -> dict[str, Any] | None:
    """Return a result's content, not validated; None where it is none, which the run will report."""
    try:
        data = json.loads(path.read_bytes())
        fine = isinstance(data["provenance"]["data_fingerprint"], str) and all(
            data["timing"][name] >= 0 for name in ("total_seconds", "peak_memory_bytes")
        )
        return data if fine and data["timing"]["train_seconds"] and isinstance(data["config"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_cut(data: dict[str, Any]) -> bool:
    """Whether a result is of the first tasks alone, as a search makes them."""
    return bool((data["config"].get("protocol") or {}).get("first_tasks"))


@dataclass(frozen=True)
class Plan:
    """The runs of a plan with what is known of them, and the sums."""

    runs: list[Forecast]

    def count(self, state: State) -> int:
        """Return how many runs are in a state."""
        return sum(run.state == state for run in self.runs)

    @cached_property
    def seconds_left(self) -> float:
        """The seconds that all runs take which are not done, one after another; unknown ones not counted."""
        return sum(run.cost.seconds for run in self.runs if run.cost and run.state != "done")

    @property
    def by_published(self) -> bool:
        """Whether the time left rests on published runs, at least in part."""
        return any(run.cost is not None and run.cost.published for run in self.runs if run.state != "done")

    @cached_property
    def unknown(self) -> int:
        """How many runs are not done and have no estimate."""
        return sum(run.cost is None and run.state != "done" for run in self.runs)


def forecast(runs: Iterable[Run], out: Path, data_dir: Path | None, published: Sequence[Path] = ()) -> Plan:
    """Return the state and the estimated cost of runs. No data is loaded and nothing is written.

    A run is done if its result is there for its data; of data that was never loaded from here, for any data
    of its stream that a result in the folder was made from.
    """
    folder, index, history = SweepFolder(out), DataIndex(out, data_dir), History(out, published)
    locks, failures = folder.names("locks"), folder.names("failed")

    def look(run: Run) -> Forecast:
        cost = history.cost(run)
        known = index.find_fingerprint(run)
        if history.has(run, known):
            if known is not None and _is_cut_off(path := run.path(out, known)):
                return Forecast(run, "failed", cost, f"cut off; --fresh runs it again: {path}")
            return Forecast(run, "done", cost)
        name = folder.name(run)
        if name in locks and folder.is_claimed(run):
            return Forecast(run, "running", cost)
        failure = folder.failure(run) if name in failures else None
        if failure is not None:
            return Forecast(run, "failed", cost, failure.error)
        return Forecast(run, "missing", cost)

    return Plan([look(run) for run in runs])


def _is_cut_off(path: Path) -> bool:
    """Whether a result lacks its end; it is not read for that, since a plan may hold thousands."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16))
            return not file.read().rstrip().endswith(b"}")
    except OSError:
        return False  # who reads it says so


def longest_first(places: list[int], runs: list[Run], out: Path) -> list[int]:
    """Return the places of runs by falling estimate, those without one first: they may be the longest."""
    history = History(out)
    costs = {place: history.cost(runs[place]) for place in places}

    def seconds(place: int) -> float:
        cost = costs[place]
        return float("inf") if cost is None else cost.seconds

    return sorted(places, key=seconds, reverse=True)
