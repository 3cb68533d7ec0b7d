"""The site's pages of methods: idea, paper, settings, how the rate matters, costs, and every run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmark.errors import UserError
from benchmark.publishing import plots
from benchmark.publishing.board import LEADING
from benchmark.publishing.collect import Row, Section
from benchmark.publishing.plot_style import PAGE, data_uri, looking
from benchmark.publishing.site_tables import Link, Picture, Run, Table, costs, identify_run
from benchmark.publishing.tables import share
from benchmark.registry import METHODS, Entry
from benchmark.running.tuned_values import SCORES, TunedValues, all_tuned_values

MOST_SHOWN = 60
RATE = ("optimizer", "learning_rate")
"""What a search by a protocol's rule chooses."""


@dataclass(frozen=True)
class Block:
    """A paragraph of a docstring, or lines of it that stay as they are written."""

    text: str
    fixed: bool

    @property
    def parts(self) -> list[str]:
        """The text cut at its backticks: each second part is code."""
        return self.text.split("`")


@dataclass(frozen=True)
class Setting:
    """A hyper-parameter: name, default and meaning."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class MethodPage:
    """What a method's page shows.

    Attributes:
        blocks: of the docstring of the method's file; empty for one that is not registered here.
        needs: what it asks for beyond a task's data, in words.
        tuned: place, values and how they were chosen.
        curves: one for each place with trials at several learning rates.
        tables: its costs, a table for each section.
        runs: by row of a board, its score and its files.
    """

    name: str
    blocks: list[Block]
    needs: str
    settings: list[Setting]
    tuned: list[tuple[str, str]]
    curves: list[Picture]
    tables: list[Table]
    runs: list[tuple[str, list[Run]]]


def method_page(name: str, parts: Sequence[Section], link: Link, pictures: bool) -> MethodPage:
    """Return the page of a method with rows in some sections.

    Args:
        name: the method's key, as results hold it.
        link: from a result to the address of its file.
    """
    rows = [(part, row) for part in parts for row in part.rows if row.first.method == name]
    sections = {id(part): part for part, _ in rows}.values()
    known = all_tuned_values(name) if _is_built_in(name) else {}
    curves = _all_curves(known) if pictures else []
    return MethodPage(
        name,
        _blocks(name),
        ", ".join(need.replace("_", " ") for need in rows[0][1].needs) or "nothing",
        _settings(name),
        [
            (place, f"{_values(found.values)}. {found.source}")
            for place, found in known.items()
            if found.values
        ],
        curves,
        [_costs(section, [row for part, row in rows if part is section], link) for section in sections],
        [
            (
                f"{part.stream}, {part.title}: {row.name}, AP {share(row.values(LEADING)) or 'not measured'}",
                [Run(identify_run(result), link(result)) for result in row.results[:MOST_SHOWN]],
            )
            for part, row in rows
        ],
    )


def _costs(part: Section, rows: Sequence[Row], link: Link) -> Table:
    table = costs(rows, link)
    return Table(f"Costs on {part.stream}, {part.title}", table.columns, table.lines, table.note)


def _find_entry(name: str) -> Entry | None:
    try:
        entry = METHODS.entry(name)
    except UserError:
        return None
    return entry if entry.key == name else None


def _is_built_in(name: str) -> bool:
    entry = _find_entry(name)
    return entry is not None and entry.distribution is None


def _blocks(name: str) -> list[Block]:
    """Return the docstring of a method's file, which begins with its idea; none for a plug-in."""
    entry = _find_entry(name)
    if entry is None or entry.path is None:
        return []
    return [_block(part) for part in re.split(r"\n{2,}", entry.docstring)]


def _block(text: str) -> Block:
    # Formulas and lists stand on lines of their own, further in.
    fixed = any(line.startswith("    ") for line in text.splitlines())
    return Block(text if fixed else " ".join(text.split()), fixed)


def _settings(name: str) -> list[Setting]:
    if not _is_built_in(name):
        return []
    fields = METHODS.load(name).Hyperparameters.model_fields
    return [
        Setting(
            key,
            "required" if field.is_required() else str(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for key, field in fields.items()
    ]


def _values(values: dict[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _all_curves(known: dict[str, TunedValues]) -> list[Picture]:
    with looking(PAGE):
        return [curve for place, found in known.items() for curve in _curves(place, found)]


def _curves(place: str, found: TunedValues) -> Iterator[Picture]:
    """Yield the sensitivity curve of a search that tried several learning rates."""
    trials = tried_rates(found)
    every = [trial for own in trials.values() for trial in own]
    if len({trial.rate for trial in every}) > 1:
        chosen = found.values.get("learning_rate")
        chart = plots.sensitivity(trials, chosen if isinstance(chosen, float) else None)
        early = sum(not trial.complete for trial in every)
        hollow = f"; hollow: {early} that ended early, after fewer tasks" if early else ""
        taken = _values({name: found.values[name] for name in RATE if name in found.values})
        what = f"validation score of {len(every)} trials over the learning rate; chosen: {taken}"
        yield Picture(f"{place}: {what}{hollow}", data_uri(chart))


def tried_rates(found: TunedValues) -> dict[str, list[plots.TriedRate]]:
    """Return the trials that state a learning rate and a validation score, by optimiser, each by rate."""
    trials: dict[str, list[plots.TriedRate]] = {}
    for trial in found.trials:
        rate = trial.get("learning_rate")
        score = next((trial[name] for name in SCORES.values() if name in trial), None)
        if isinstance(rate, (int, float)) and isinstance(score, (int, float)):
            complete = trial.get("state", "complete") == "complete"
            own = trials.setdefault(str(trial.get("optimizer", "")), [])
            own.append(plots.TriedRate(float(rate), float(score), complete))
    return {name: sorted(own, key=lambda each: each.rate) for name, own in trials.items()}
