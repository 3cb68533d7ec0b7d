"""Results as an object: frames of runs and scores, the boards' table and comparison, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from benchmark.errors import UserError, unknown
from benchmark.text_table import write_count

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.api.comparing import PairedComparison
    from benchmark.api.drawing import Plots
    from benchmark.publishing.collect import Section
    from benchmark.results import Result

FIELDS = ("method", "stream", "order", "seed", "backbone", "protocol")


@dataclass(frozen=True)
class Results(Sequence["Result"]):
    """Results of runs, in the order of `to_frame()`; each is a `benchmark.results.Result`.

    Attributes:
        runs: the results.
        paths: the file of each.
    """

    runs: tuple[Result, ...]
    paths: tuple[Path, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.runs)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Result | Results:
        """Return one run, or some of them."""
        if isinstance(index, slice):
            return Results(self.runs[index], self.paths[index])
        return self.runs[index]

    def __iter__(self) -> Iterator[Result]:
        """Yield each run."""
        return iter(self.runs)

    def __repr__(self) -> str:
        """Return what the runs are of."""
        names = (f"{name}s {', '.join(sorted({r.__dict__[name] for r in self}))}" for name in FIELDS[:2])
        return f"<{write_count(len(self), 'result')}: {'; '.join(names)}>"

    def select(self, **wanted: object) -> Results:
        """Return the runs with given values of method, stream, order, seed, backbone or protocol.

        Args:
            wanted: a value, or a list of those that are kept.

        Raises:
            UserError: there is no such field, or no run has the value.
        """
        kept = list(range(len(self)))
        for name, value in wanted.items():
            if name not in FIELDS:
                raise unknown("field of a run", name, FIELDS, "results.to_frame()")
            values = list(value) if isinstance(value, (list, tuple, set, range)) else [value]
            held = {getattr(run, name) for run in self}
            for one in values:
                if one not in held:
                    raise unknown(name, str(one), map(str, held), "results.to_frame()")
            kept = [index for index in kept if getattr(self.runs[index], name) in values]
        if not kept:
            raise UserError(f"no run has all of {', '.join(f'{k}={v!r}' for k, v in wanted.items())}")
        return Results(tuple(self.runs[i] for i in kept), tuple(self.paths[i] for i in kept))

    def to_frame(self, tidy: bool = False) -> pd.DataFrame:
        """Return a row for each run: what it is of, its metrics in 0..1, and costs.

        Args:
            tidy: return `matrix_frame()` instead.
        """
        import pandas as pd

        if tidy:
            return self.matrix_frame()
        rows = []
        for run in self:
            counts = run.parameters
            costs = {
                "stored_parameters": counts.on_disk,
                "auxiliary_bytes": counts.auxiliary_bytes,
                "active_adapters": run.active_adapters[-1] if run.active_adapters else None,
                "seconds": run.timing.total_seconds,
            }
            rows.append({name: getattr(run, name) for name in FIELDS} | run.headline | costs)
        return pd.DataFrame(rows)

    def matrix_frame(self) -> pd.DataFrame:
        """Return a row for each measured entry of each run's score matrices, by reading.

        `after` and `on` count tasks from 1, `task` names the one scored; `score` lies in 0..1.
        """
        import pandas as pd

        rows = [
            {name: getattr(run, name) for name in FIELDS}
            | {"reading": reading, "after": t + 1, "on": i + 1, "task": run.tasks[i].name, "score": score}
            for run in self
            for reading in run.readings
            for t, scores in enumerate(run.matrix_of(reading))
            for i, score in enumerate(scores)
            if score is not None
        ]
        return pd.DataFrame(rows, columns=[*FIELDS, "reading", "after", "on", "task", "score"])

    def leaderboard(self, sort_by: str = "trained_head") -> pd.DataFrame:
        """Return the table of `bench leaderboard`: a row for each configuration of a method, as text.

        Rows of one stream, section and board may be compared; what a reader has to know of each board is in
        `frame.attrs["notes"]`.

        Args:
            sort_by: the reading that sorts the rows.

        Raises:
            UserError: there is no such reading.
        """
        import pandas as pd

        from benchmark.publishing.headroom import boards_of
        from benchmark.publishing.tables import score_frame

        _check_reading(sort_by)
        frames, notes = [], []
        for part in self.sections():
            for board in boards_of(part):
                place = {"stream": part.stream, "section": part.title}
                for rows, suffix in ((board.rows, ""), (board.apart, ", with fewer runs")):
                    if rows:
                        shown = score_frame(board, sort_by, apart=rows is board.apart)
                        places = [place | {"board": board.title + suffix}] * len(rows)
                        frames.append(pd.DataFrame(places).join(shown))
                notes += [f"{part.stream}, {part.title}, {board.title}: {note}" for note in board.notes()]
        frame = pd.concat(frames, ignore_index=True).fillna("") if frames else pd.DataFrame()
        frame.attrs["notes"] = notes
        return frame

    def tables(self, form: str = "markdown", sort_by: str = "trained_head") -> str:
        """Return the boards' tables as one text: markdown, latex, csv or json, as `--format` prints them.

        Raises:
            UserError: there is no such form or reading.
        """
        from benchmark.publishing.paper_tables import board_tables, write_tables
        from benchmark.text_table import TableFormat

        if form not in list(TableFormat):
            raise unknown("form of a table", form, list(TableFormat), "bench leaderboard --help")
        _check_reading(sort_by)
        return write_tables(board_tables(self.sections(), sort_by), TableFormat(form))

    def compare(self, first: str, second: str) -> PairedComparison:
        """Compare the average performance of two methods, run by run: equal order, seed and data.

        Raises:
            UserError: one has no runs here, several configurations, or no run in common with the other; or
                both stand in several tables (choose one with `select`).
        """
        from benchmark.api.comparing import compare

        return compare(self.sections(), first, second)

    def sections(self) -> list[Section]:
        """Return the tables that the runs belong to, as the boards group them."""
        from benchmark.publishing.collect import sections

        return sections(self)

    @property
    def plot(self) -> Plots:
        """Pictures: `plot.curves()`, `plot.pareto()`, `plot.matrix()`."""
        from benchmark.api.drawing import Plots

        return Plots(self)


def _check_reading(name: str) -> None:
    from benchmark.results import READINGS

    if name not in READINGS:
        raise unknown("reading", name, READINGS, "bench leaderboard --help")


def load_results(source: str | Path | Iterable[str | Path]) -> Results:
    """Read results: a folder with its subfolders, a file, a packed file, or several of these.

    Raises:
        UserError: there is none, or one cannot be used; the message says which and why.
    """
    from benchmark.result_files import find

    sources = [source] if isinstance(source, (str, Path)) else list(source)
    paths = [path for place in map(Path, sources) for path in find(place)]
    if not paths:
        raise UserError(f"no results in {', '.join(map(str, sources)) or 'nothing'}; bench.run writes them")
    return read_results(dict.fromkeys(paths))


def read_results(paths: Iterable[Path]) -> Results:
    """Read results of these files.

    Raises:
        UserError: one of them cannot be used.
    """
    from benchmark.publishing.collect import usable

    found, problems = usable(paths)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    return Results(tuple(result for _, result in found), tuple(path for path, _ in found))
