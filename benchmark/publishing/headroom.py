"""The headroom of one section: its reference rows found, measured and put in a line; or what is missing.

The frozen readings are the rows `frozen` (with its class means), `ncm` and `linear-probe`. On text to text
`frozen` is the model's zero-shot score; where labels are picked, `linear-probe` reads its last token's
feature as well, with class means, and where answers are free text nothing else is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.data.prompts import lists_options
from benchmark.errors import UserError
from benchmark.publishing.board import LEADING, Board, boards
from benchmark.publishing.collect import Row, Section, is_searched, is_standard, run_key, sections, usable
from benchmark.result_files import find
from benchmark.results import CLASS_MEANS, Result
from benchmark.scoring.headroom import Headroom, chance_at_last, measure_headroom
from benchmark.scoring.statistics import Runs, spread
from benchmark.scoring.statistics import common_runs as common
from benchmark.scoring.statistics_rows import number_rows, row_differences, row_variance
from benchmark.text_table import write_count

JOINT, FROZEN = "joint", "frozen"
PROBE = "linear-probe"
ON_A_HEAD = ("ncm", PROBE)


@dataclass(frozen=True)
class Verdict:
    """What can be said about one section.

    Attributes:
        headroom: what was measured; None where a row is missing.
        missing: the command that runs each row that is missing, by the row's name.
        problem: in words why it could not be measured although no row is missing.
    """

    title: str
    headroom: Headroom | None
    missing: dict[str, str]
    problem: str = ""

    @property
    def refusal(self) -> str:
        """In words why adapters cannot be compared here, with the figures; empty where they can."""
        if self.missing:
            rows = "; ".join(f"no row {name}: {command}" for name, command in self.missing.items())
            return f"headroom not known, {rows}"
        if self.headroom is None:
            return f"headroom not known, {self.problem}"
        return f"{'; '.join(self.headroom.refusals)} ({format_numbers(self.headroom)})" * bool(
            self.headroom.refusals
        )

    @property
    def line(self) -> str:
        """One sentence for the top of a page."""
        if self.refusal:
            return f"Adapters cannot be compared here: {self.refusal}."
        assert self.headroom is not None
        return f"Headroom: {format_numbers(self.headroom)}."


def format_numbers(found: Headroom) -> str:
    """Return what was measured in one line, in points."""
    readings = ", ".join(f"{name} {100 * mean:.1f}" for name, mean in found.frozen.items())
    errors = {"runs": found.standard_error, "test rows": found.row_error}
    known = [f"{100 * error:.1f} over {what}" for what, error in errors.items() if error is not None]
    error = f" (standard error {', '.join(known)})" if known else ""
    return (
        f"joint {100 * found.joint:.1f}, frozen readings {readings}, chance {100 * found.chance:.1f}; "
        f"gap {100 * found.gap:.1f} points{error}, {write_count(found.n, 'run')}"
    )


def judge(section: Section) -> Verdict:
    """Return the headroom of a section, or the rows that it lacks."""
    ranked = is_standard(section.protocol)
    rows = [row for row in section.rows if not ranked or all(map(is_searched, row.results))]
    joint, frozen = _pick(rows, JOINT), _pick(rows, FROZEN)
    known = joint or frozen
    headless = known is not None and known.first.parameters.head == 0
    picks = known is not None and known.first.protocol_settings.get("decoding", "greedy") != "greedy"
    needed = [JOINT, FROZEN, *(((PROBE,) if picks else ()) if headless else ON_A_HEAD)]
    found = {name: _pick(rows, name) for name in needed}
    title = f"{section.stream}, {section.title}"
    missing = {name: _command(section, name) for name, row in found.items() if row is None}
    if missing or joint is None:
        return Verdict(title, None, missing)
    readings = {name: row.runs(LEADING) for name, row in found.items() if row is not None and name != JOINT}
    read = found.get(PROBE) if headless else frozen
    if read is not None and (means := _class_means(read)):
        readings["frozen, class means"] = means
    measured = measure_headroom(joint.runs(LEADING), readings, _chance(joint.first, headless))
    if measured is not None and (row := found.get(measured.best)) is not None:
        measured = replace(measured, row_error=_row_error(joint, row))
    problem = "" if measured else f"its rows {', '.join(needed)} share no run"
    return Verdict(title, measured, {}, problem)


def describe_lack_of_room(section: Section) -> str:
    """Return why adapters may not be ranked: what was measured, or on a standard protocol that nothing was.

    Empty where they may.
    """
    verdict = judge(section)
    measured = verdict.headroom
    if not verdict.refusal or (measured is None and not is_standard(section.protocol)):
        return ""
    if measured is not None and measured.is_unsure:
        return "room to compare adapters not sure enough"
    return "too little room to compare adapters"


def boards_of(section: Section) -> list[Board]:
    """Return the tables of a section, without marks and tests where adapters have no room."""
    return boards(section.rows, room=not describe_lack_of_room(section))


def verdicts(
    root: Path, stream: str, backbone: str | None = None, protocol: str | None = None
) -> list[Verdict]:
    """Return the headroom of every section of a stream among the results of a folder.

    Args:
        root: folder of the leaderboards, or any folder with results.
        backbone: leaves only the sections of this one; so does `protocol`.

    Raises:
        UserError: there is no such result, or a file cannot be used.
    """
    folder = root / "results" if (root / "results").is_dir() else root
    found, problems = usable(find(folder)) if folder.is_dir() else ([], [])
    chosen = [
        result
        for _, result in found
        if result.stream == stream
        and backbone in (None, result.backbone)
        and protocol in (None, result.protocol)
        and is_scored_on_test(result)
    ]
    if problems:
        raise UserError("; ".join(problems))
    if not chosen:
        asked = ", ".join(filter(None, [stream, protocol, backbone]))
        known = ", ".join(sorted({f"{each.stream}/{each.protocol}" for _, each in found})) or "none"
        raise UserError(f"no results of {asked} in {folder} (it holds: {known}); `bench run` writes them")
    return [judge(section) for section in sections(chosen)]


def is_scored_on_test(result: Result) -> bool:
    """Whether a result may stand on a board; trials of a search are scored on validation rows."""
    return bool(result.protocol_settings.get("score_on", "test") == "test")


def _pick(rows: Sequence[Row], method: str) -> Row | None:
    """Return the row of a method; of several the one with the most runs, then the best mean."""
    own = [row for row in rows if row.first.method == method and row.values(LEADING)]
    return max(own, key=lambda row: (len(row.results), spread(row.values(LEADING))[0]), default=None)


def _row_error(first: Row, second: Row) -> float | None:
    """Return the standard error of the difference of two rows over the test rows of their shared runs."""
    runs = common({row.label: row.runs(LEADING) for row in (first, second)})
    sides = [sorted(row.on(runs).results, key=lambda run: str(run_key(run))) for row in (first, second)]
    differences = row_differences(sides[0], sides[1])
    return None if differences is None else row_variance(differences, number_rows(sides[0])) ** 0.5


def _class_means(row: Row) -> Runs:
    """Return the class-means reading of every run; empty where one lacks it."""
    return dict(zip(row.runs(LEADING), row.values(LEADING, CLASS_MEANS), strict=False))


def _chance(run: Result, headless: bool) -> float:
    settings = run.protocol_settings
    if headless and settings.get("decoding", "greedy") == "greedy":
        return 0.0
    own_alone = settings.get("head") == "task-incremental" or lists_options(settings.get("prompt", "plain"))
    return chance_at_last([task.classes for task in run.tasks], all_compete=not own_alone)


def _command(section: Section, method: str) -> str:
    """Return the command that runs a row on the runs that the section's other rows stand on."""
    runs = common({row.label: row.runs(LEADING) for row in section.rows})
    shown = [run for run in section.results if not runs or run_key(run) in runs]
    orders = ",".join(dict.fromkeys(run.order for run in sorted(shown, key=lambda run: run.order)))
    seeds = ",".join(str(seed) for seed in sorted({run.seed for run in shown}))
    place = f"--stream {section.stream} --protocol {section.protocol} --backbone {section.backbone}"
    tune = f"bench tune --method {method} {place} --write, then " if is_standard(section.protocol) else ""
    return f"{tune}bench run --method {method} {place} --order {orders} --seed {seeds}"
