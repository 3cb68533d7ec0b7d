"""From a folder of result files to the sections and rows of a table: what may be averaged, what may not."""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.protocol import ADDED_LATER, OF_A_METHOD, WITHOUT_EFFECT, Protocol
from benchmark.publishing.checksums import broken
from benchmark.publishing.soundness import check_sound
from benchmark.result_files import PACKED, each_result
from benchmark.results import TRAINED_HEAD, Result
from benchmark.scoring.metrics import numbers
from benchmark.scoring.statistics import Runs
from benchmark.space import BY_RULE, SearchRule

STANDARD = "standard"
"""The protocols so called compare adapters: their boards need headroom, and a search behind every row."""
SETUP = ("protocol", "parameters", "backbone_weights")
"""Blocks of a configuration that all rows of a section share; the others are a method's own."""


@dataclass(frozen=True)
class Row:
    """Runs of one method with one configuration: the only runs that are averaged.

    Attributes:
        label: method, what its settings are where its rows differ, and how they were searched.
        rescored: keys of results that are marked as re-scored, others' among them, see `marks`.
        setup: the label without the search, whose trials are others on each board.
    """

    label: str
    results: tuple[Result, ...]
    rescored: frozenset[str] = frozenset()
    setup: str = ""

    @property
    def proof(self) -> str:
        """How its scores are known: attested, or scored again from the adapters, of how many runs."""
        again = sum(result.key in self.rescored for result in self.results)
        if again in (0, len(self.results)):
            return "re-scored" if again else "attested"
        return f"re-scored {again} of {len(self.results)}"

    @property
    def first(self) -> Result:
        """A run that stands for all in what they share."""
        return self.results[0]

    @property
    def name(self) -> str:
        """The label, marked where the epoch that counts was chosen on test rows."""
        return self.label + (" (selected on test)" if selection(self.first) == "paper" else "")

    @property
    def needs(self) -> tuple[str, ...]:
        """What the method asks for beyond the current task's data; only equals are ranked together."""
        return tuple(sorted(name for name, needed in self.first.needs.items() if needed))

    def values(self, metric: str, reading: str = TRAINED_HEAD) -> list[float]:
        """Return a number of every run by one of `READINGS`; empty where one of them lacks it."""
        values = [numbers(result, reading).get(metric) for result in self.results]
        return [] if None in values else [value for value in values if value is not None]

    def runs(self, metric: str, reading: str = TRAINED_HEAD) -> Runs:
        """Return a number of every run by what two methods must share to be compared."""
        values = self.values(metric, reading)
        return dict(zip((run_key(result) for result in self.results), values, strict=False))

    def matrices(self) -> dict[Hashable, Hashable]:
        """Return every score of every run, by what two methods must share to be compared."""
        return {run_key(result): tuple(map(tuple, result.matrix)) for result in self.results}

    def row_scores(self) -> list[list[np.ndarray]] | None:
        """Return for each run and task the score of every test row after the last task.

        None where a run keeps none.
        """
        found = []
        for result in self.results:
            kept = (result.scores_of_rows(i) for i in range(len(result.tasks)))
            scores = [each for each in kept if each is not None]
            if len(scores) < len(result.tasks):
                return None
            found.append(scores)
        return found

    def on(self, runs: Collection[Hashable]) -> Row:
        """Return the row with some of its runs alone."""
        return replace(self, results=tuple(result for result in self.results if run_key(result) in runs))


@dataclass(frozen=True)
class Section:
    """Rows that may be compared: one stream, protocol, backbone, head, setup and way of counting adapters."""

    stream: str
    protocol: str
    backbone: str
    head: str
    note: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The section's name; the note tells setups of one protocol apart."""
        return f"{self.protocol}, {self.backbone}, {self.head}" + (f" ({self.note})" if self.note else "")

    @property
    def results(self) -> list[Result]:
        """Every run of the section."""
        return [result for row in self.rows for result in row.results]


def load(root: Path) -> tuple[list[Result], list[str]]:
    """Read `<root>/results/<stream>/<protocol>.jsonl`, and `<stream>/<protocol>/*.json` where there are any.

    Returns:
        the results in an order that does not depend on the file system, and a line for each file that cannot
        be used: it is no valid result, lies in another stream's or protocol's folder, is a second result of
        one run, has numbers that do not follow from its matrix or a key that does not follow from its
        settings, or is not what was published, as after an edit by hand.
    """
    found, problems = load_files(root)
    return [result for _, result in found], problems


def load_files(root: Path) -> tuple[list[tuple[Path, Result]], list[str]]:
    """Return what `load` does, each result with its file."""
    folder = root / "results"
    changed = broken(folder)
    paths = [path for path in find_placed_files(folder) if path not in changed]
    found, problems = usable(paths, placed=True)
    return sorted(found, key=lambda each: _position(each[1])), [*changed.values(), *problems]


def find_placed_files(folder: Path) -> list[Path]:
    """Return the files of results in the folder `results`, wherever a result may lie."""
    return [*folder.glob("*/*.jsonl"), *folder.glob("*/*/*.json")]


def usable(paths: Iterable[Path], placed: bool = False) -> tuple[list[tuple[Path, Result]], list[str]]:
    """Read results, and return those that may be shown together with their files, by path.

    Args:
        paths: of the results, of one run each or packed.
        placed: whether each must lie in the folder of its stream and protocol.

    Returns:
        the results, and a line for each file that cannot be used, see `load`.
    """
    problems: list[str] = []
    known: dict[str, str] = {}

    def check(result: Result, where: str, path: Path) -> None:
        if placed:
            _check_place(result, path, where)
        check_sound(result, where)
        other = known.setdefault(same_run(result), where)
        if other != where:
            raise UserError(f"{where} is a second result of the run in {other}; remove one of them")

    with no_search_for_cycles():
        return [(path, run) for path, _, run in each_result(sorted(paths), problems, check)], problems


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Within the context, do not walk again and again over all that is read; results hold no cycles."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def sections(results: Iterable[Result], rescored: frozenset[str] = frozenset()) -> list[Section]:
    """Group results; a method with several configurations gets a row for each, named by what differs.

    Runs whose values a search chose have a row apart even where the values are the same.

    Args:
        rescored: keys of the results that are marked as re-scored.
    """
    setups: dict[tuple[str, str, str, str, str], list[Result]] = defaultdict(list)
    for result in sorted(results, key=_position):
        setups[(*_family(result), _canonical(_setup(result)))].append(result)
    setups = _part_by_objective(setups)
    families: dict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for key in setups:
        families[key[:-1]].append(flatten(json.loads(key[-1])))
    parts = []
    for (stream, protocol, backbone, head_name, setup), members in sorted(setups.items()):
        others = families[(stream, protocol, backbone, head_name)]
        note = differing(flatten(json.loads(setup)), others)
        parts.append(Section(stream, protocol, backbone, head_name, note, _rows(members, rescored)))
    return parts


def _part_by_objective(
    setups: Mapping[tuple[str, str, str, str, str], list[Result]],
) -> dict[tuple[str, str, str, str, str], list[Result]]:
    """Part results by what their searches made high; those that it makes no difference to go with each."""
    parts = {}
    for (*family, setup), members in setups.items():
        found = {name for result in members if (name := objective_of(result)) is not None}
        objectives: list[str | None] = [*sorted(found)] or [None]
        for objective in objectives:
            settings = json.loads(setup)
            if objective is not None:
                settings["protocol"]["search"]["objective"] = objective
            kept = [result for result in members if objective_of(result) in (objective, None)]
            stream, protocol, backbone, head_name = family
            parts[(stream, protocol, backbone, head_name, _canonical(settings))] = kept
    return parts


def differing(settings: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> str:
    """Return the settings in which a configuration differs from any of the others, as `name=value, ...`."""
    # A name without a dot is an empty block, whose settings show as unset.
    names = sorted({name for other in [settings, *others] for name in other if "." in name})
    apart = [name for name in names if any(other.get(name) != settings.get(name) for other in others)]
    return ", ".join(f"{name.partition('.')[2]}={settings.get(name, 'unset')}" for name in apart)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names with their values in JSON, strings without quotes."""
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= flatten(item, f"{prefix}{name}.")
        else:
            flat[prefix + name] = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return flat


def is_standard(protocol: str) -> bool:
    """Whether a protocol is one of the suite's comparisons: `standard` or `standard-...`."""
    return protocol.partition("-")[0] == STANDARD


def head(result: Result) -> str:
    """Return the head protocol of a run."""
    return str(result.protocol_settings.get("head", "unknown head"))


def selection(result: Result) -> str:
    """Return which epoch of a run counts; results older than the setting took the last."""
    return str(result.protocol_settings.get("selection") or Protocol.model_fields["selection"].default)


def row_method(result: Result) -> str:
    """Return the method of a run with what its protocol adds to it: `name (classifier alignment)`."""
    added = _find_additions(result)
    return result.method + (" (classifier alignment)" if added.get("alignment") else "")


def tuning_mark(result: Result) -> str:
    """Return how a run's hyper-parameters were searched for, in words; empty where they were not."""
    found = result.provenance.tuned
    return found.mark if found else ""


def is_searched(result: Result) -> bool:
    """Whether a run has values that a search chose on validation rows of other runs, or none to choose.

    A value set by hand in place of a chosen one makes it none, and so does a search over the run itself, or
    one beside the rule of a protocol that states one. A method that takes no optimiser step has nothing to
    choose.
    """
    if not any(result.steps):
        return True
    found = result.provenance.tuned
    if found is None or found.selection != "validation" or not found.values:
        return False
    rule = result.protocol_settings.get("search")
    if rule and (found.sampler != BY_RULE or objective_of(result) not in (None, found.objective)):
        return False
    used = result.config.get("hyperparameters", {})
    kept = all(used.get(name) == value for name, value in found.values.items())
    return kept and f"{result.order}/{result.seed}" not in found.tuned_on


def objective_of(result: Result) -> str | None:
    """Return what the protocol's search of a run makes high; None where that makes no difference.

    There is nothing to search where nothing is trained, and one stage alone has one mean score.
    """
    rule = result.protocol_settings.get("search")
    stages = sum(any(cell is not None for cell in row) for row in result.matrix)
    if not rule or not any(result.steps) or stages < 2:
        return None
    return str(rule.get("objective") or SearchRule.model_fields["objective"].default)


def run_key(result: Result) -> tuple[int, str, str]:
    """Return what a run shares with the runs of other methods that it is compared with."""
    return result.seed, result.order, result.provenance.data_fingerprint


def _rows(members: Sequence[Result], rescored: frozenset[str]) -> tuple[Row, ...]:
    grouped: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in members:
        grouped[(row_method(result), _canonical(_own(result)), tuning_mark(result))].append(result)
    variants: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for (method, *_), runs in grouped.items():
        variants[method].append(flatten(_own(runs[0])))
    rows = []
    for (method, _, mark), runs in sorted(grouped.items()):
        own = differing(flatten(_own(runs[0])), variants[method])
        label, setup = (_label(method, notes) for notes in ([own, mark], [own]))
        rows.append(Row(label, tuple(runs), rescored, setup))
    return tuple(rows)


def _label(method: str, notes: Sequence[str]) -> str:
    said = "; ".join(filter(None, notes))
    return f"{method} ({said})" if said else method


def _setup(result: Result) -> dict[str, Any]:
    setup = {name: _as_block(name, result.config.get(name, {})) for name in SETUP}
    # A protocol's setting that is younger than the result had the effect of its default.
    later = {name: Protocol.model_fields[name].default for name in ADDED_LATER}
    protocol = later | setup["protocol"]
    left_out = OF_A_METHOD | WITHOUT_EFFECT
    shared = {name: value for name, value in protocol.items() if name not in left_out}
    if shared["search"]:
        # What it makes high is in no run's key; see `objective_of`.
        shared["search"] = {name: value for name, value in shared["search"].items() if name != "objective"}
    return setup | {"protocol": shared, "accounting": {"accounting": result.accounting_version}}


def _find_additions(result: Result) -> dict[str, Any]:
    """Return what the protocol adds to the run's method, where it is not the default."""
    chosen = result.protocol_settings
    defaults = {name: Protocol.model_fields[name].default for name in OF_A_METHOD}
    return {name: chosen[name] for name in defaults if chosen.get(name, defaults[name]) != defaults[name]}


def _own(result: Result) -> dict[str, Any]:
    """Return what else decides a number; needs and schema keep two versions of a method apart."""
    own = {name: value for name, value in result.config.items() if name not in SETUP}
    # A need that is younger than the result was not asked for.
    needs = {name: True for name, needed in result.needs.items() if needed}
    kept = {"needs": needs, "reference": result.reference}
    added = {"added": _find_additions(result)} if _find_additions(result) else {}
    return {**{name: _as_block(name, value) for name, value in own.items()}, "method": kept, **added}


def _as_block(name: str, value: Any) -> Any:
    """Put a bare setting in a block, so that every flattened name starts with the block's."""
    return value if isinstance(value, Mapping) else {name: value}


def _family(result: Result) -> tuple[str, str, str, str]:
    return result.stream, result.protocol, result.backbone, head(result)


def same_run(result: Result) -> str:
    """Return a text that is equal for two results of one run, whatever data they saw."""
    identity = [*_family(result), result.method, result.order, result.seed, _setup(result), _own(result)]
    return _canonical(identity)


def _position(result: Result) -> tuple[str, str, int, str]:
    return result.method, result.order, result.seed, result.key


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _check_place(result: Result, path: Path, where: str) -> None:
    stream, protocol = (path.parts[-2], path.stem) if path.suffix == PACKED else path.parts[-3:-1]
    if (stream, protocol) != (result.stream, result.protocol):
        raise UserError(f"{where} holds a result of {result.stream}/{result.protocol}; move it there")
