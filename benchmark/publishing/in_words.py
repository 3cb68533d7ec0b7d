"""What a board says, and what it may not claim, in sentences for readers who have not met it before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.publishing.board import LEADING, Board
from benchmark.publishing.collect import Row, Section, is_standard, row_method
from benchmark.publishing.floors import count_apart, describe_floors
from benchmark.publishing.grouping import REHEARSAL_FREE
from benchmark.publishing.headroom import PROBE, Verdict, judge
from benchmark.publishing.tables import mean_cost, share
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL
from benchmark.scoring.headroom import FEWEST_ERRORS, Headroom
from benchmark.scoring.statistics import FEWEST_RUNS
from benchmark.text_table import write_count

NOTHING_TRAINED = ("ncm", "frozen, class means")
"""Readings of the frozen backbone by class means."""
FROZEN = {
    "linear-probe": "a probe of frozen features, trained on all tasks at once, scores",
    "ncm": "class means of frozen features score",
    "frozen, class means": "class means of frozen features score",
    "frozen": "with nothing trained but a head, where it has one, the model scores",
}
"""What the readings of the frozen backbone are, in words."""
RUNS_ASKED = 10
"""Runs that a row of a standard protocol should have."""
COSTLY = 1.25
"""Times the passes of the cheapest row from which a row is said to cost more."""
MOST_NAMED = 4
"""Rows that do not differ significantly are named up to so many, and counted beyond."""


@dataclass(frozen=True)
class InWords:
    """A section in words.

    Attributes:
        room: whether adapters can be compared here, and by which scores that is known.
        ranks: whether they can.
        not_claimed: what does not follow from them.
        headroom: the figures behind `room` in one line.
    """

    room: str
    ranks: bool
    says: tuple[str, ...]
    not_claimed: tuple[str, ...]
    headroom: str

    @property
    def heading(self) -> str:
        """What stands above `says`: a board that ranks nothing says nothing, it only measured."""
        return "What it says" if self.ranks else "What was measured"

    @property
    def lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The lists of sentences that are not empty, each with its heading."""
        both = ((self.heading, self.says), ("What it may not claim", self.not_claimed))
        return tuple((heading, sentences) for heading, sentences in both if sentences)


def in_words(
    part: Section, found: Sequence[Board], measured: Mapping[tuple[str, str], str] | None = None
) -> InWords:
    """Return what a section says and what it may not claim.

    Args:
        found: its boards, which keep what they computed.
        measured: why boards without headroom are shown, see `measured_boards`.
    """
    verdict = judge(part)
    ranked = [board for board in found if board.ranked and board.rows]
    rows = [row for board in found if not board.ranked for row in board.rows]
    says = [
        sentence
        for board in ranked
        for sentence in (
            *(_standing(board), *describe_floors(board, rows), _describe_untrained(board, verdict)),
            _other_readings(board, rows),
        )
        if sentence
    ]
    limits = [limit for board in ranked for limit in (_limit(board), _unequal_costs(board)) if limit]
    if verdict.refusal:
        limits = ["Which method is better, here or elsewhere: without room that is sure, order says nothing."]
    untuned = sum(len(board.untuned) for board in found)
    if untuned:
        limits.append(
            f"Anything about {write_count(untuned, 'row')} whose settings no search of this board chose: "
            "they are named below a table and not ranked."
        )
    runs = min((board.runs for board in ranked), default=RUNS_ASKED)
    if is_standard(part.protocol) and runs < RUNS_ASKED:
        limits.append(f"What {RUNS_ASKED} runs a row would show, which the rules ask for: these have {runs}.")
    limits.append(
        f"Anything about other models, data or budgets: all rows are {part.backbone} on {part.stream}."
    )
    line = " ".join(filter(None, [verdict.line, (measured or {}).get((part.stream, part.protocol))]))
    room = _room(verdict) + _room_on_shared_runs(part, ranked, verdict)
    return InWords(room, not verdict.refusal, tuple(says), tuple(limits), line)


def short_names(rows: Sequence[Row]) -> list[str]:
    """Return the method of each row, or its whole label where two rows are of one method."""
    counts = Counter(row_method(row.first) for row in rows)
    # A row of twins has the names of all of them as its label.
    alone = [counts[row_method(row.first)] == 1 and " = " not in row.label for row in rows]
    return [row_method(row.first) if one else row.label for row, one in zip(rows, alone, strict=True)]


def _room(verdict: Verdict) -> str:
    measured = verdict.headroom
    if measured is None:
        return (
            "No ranking of adapters follows from this board: how much they could gain was not measured "
            "here, since a reference row is missing."
        )
    frozen = measured.frozen[measured.best]
    ends = (
        f"{FROZEN[measured.best]} {100 * frozen:.1f} ({measured.best}), adapters trained on all tasks at "
        f"once {100 * measured.joint:.1f} (joint), and guessing gives {100 * measured.chance:.1f}"
    )
    if verdict.refusal:
        why = (
            "the room for one is not sure enough"
            if measured.is_unsure
            else "there is too little room for one"
        )
        return f"No ranking of adapters follows from this board, {why}: {ends}."
    return f"There is room for methods to differ: {ends}.{_unsure(measured)}"


def _unsure(measured: Headroom) -> str:
    """Return that the gap is less sure than the rule asks for once other test rows are thought of."""
    if not measured.row_error or measured.gap >= FEWEST_ERRORS * measured.row_error:
        return ""
    return (
        f" Over test rows the room is less certain than over runs: {measured.gap / measured.row_error:.1f} "
        "standard errors."
    )


def _room_on_shared_runs(part: Section, ranked: Sequence[Board], verdict: Verdict) -> str:
    """Return what the gap is on the runs that the ranked rows stand on, where the references have more."""
    compared = [board for board in ranked if board.compared]
    if verdict.headroom is None or not compared:
        return ""
    runs = compared[0].rows[0].runs(LEADING).keys()
    rows = [row.on(runs) for row in part.rows if not runs.isdisjoint(row.runs(LEADING))]
    here = judge(replace(part, rows=tuple(rows))).headroom
    if here is None or here.standard_error is None or here.n >= verdict.headroom.n:
        return ""
    sure = here.gap / here.standard_error
    asked = f", {FEWEST_ERRORS} are asked for" if sure < FEWEST_ERRORS else ""
    return (
        f" On the {here.n} runs that the rows share the gap is {100 * here.gap:.1f} points, {sure:.1f} "
        f"standard errors{asked}; on all {verdict.headroom.n} it is {100 * verdict.headroom.gap:.1f}."
    )


def _standing(board: Board) -> str:
    """Return which rows of a board lead it."""
    names = short_names(board.rows)
    scores = [share(row.values(LEADING)) for row in board.rows]
    group = f"{board.title}: " if board.title else ""
    if not board.compared:
        many = len(board.rows) > 1
        if not many:
            return f"{group}{names[0]} is the only method, AP {scores[0]}."
        if not board.room:
            return f"{group}the highest mean is that of {names[0]}, AP {scores[0]}."
        return f"{group}{FEWEST_RUNS} shared runs are needed to say which rows could be best."
    best = [place for place, row in enumerate(board.rows) if row.label in board.best]
    if len(best) == 1:
        others = len(board.rows) - 1
        rest = "the other row" if others == 1 else f"all {others} other rows"
        return f"{group}{names[0]} is best, AP {scores[0]}, significantly above {rest}."
    if len(best) <= MOST_NAMED:
        listed = [f"{name} ({score})" for name, score in zip(names, scores, strict=True)]
        could = [listed[place] for place in best]
        tail = _others([each for each in listed if each not in could], names[best[0]])
        return f"{group}{join_words(could)} do not differ significantly in AP{tail}."
    return (
        f"{group}the highest mean is that of {names[0]}, AP {scores[0]}; {len(best)} of {len(board.rows)} "
        "rows could be best."
    )


def _others(rest: Sequence[str], first: str) -> str:
    """Return what the rows without the mark are known to be: worse than the highest, not than each marked."""
    if not rest:
        return ""
    who = join_words(rest) if len(rest) <= MOST_NAMED else f"the other {len(rest)}"
    return f"; {who} score{'s' * (len(rest) == 1)} significantly less than {first} (noise pooled over rows)"


def join_words(words: Sequence[str]) -> str:
    """Return words as one enumerates them."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _unequal_costs(board: Board) -> str:
    """Return which rows pass more through the backbone than the cheapest, and that none is as costly."""
    if not board.compared:
        return ""
    costs = [mean_cost(row, "forward-equivalents a task ↓") for row in board.rows]
    least = min(costs)
    named = zip(short_names(board.rows), costs, strict=True)
    costly = [f"{name} ({cost / least:.1f} times)" for name, cost in named if cost >= COSTLY * least > 0]
    if not costly:
        return ""
    return (
        f"{board.title}: what rows would reach at equal cost. {join_words(costly)} "
        f"take{'s' * (len(costly) == 1)} more passes through the backbone than the cheapest row, which was "
        "not run as long."
    )


def _describe_untrained(board: Board, verdict: Verdict) -> str:
    """Return that a reading of the frozen backbone for which nothing is trained stands above all rows."""
    if board.title != REHEARSAL_FREE or verdict.headroom is None:
        return ""
    means = [score for name, score in verdict.headroom.frozen.items() if name in NOTHING_TRAINED]
    best = max(sum(row.values(LEADING)) / len(row.results) for row in board.rows)
    if not means or max(means) <= best:
        return ""
    who, so = "row", ""
    if any(row.first.parameters.head for row in board.rows):
        who, so = "trained head", ": this order may be one of how heads keep their balance between tasks"
    return (
        f"{board.title}: no {who} reaches the class means of frozen features, {100 * max(means):.1f}, "
        f"for which nothing is trained{so}."
    )


def _other_readings(board: Board, others: Sequence[Row]) -> str:
    """Return how many rows could be best by the readings that take the head's bias away.

    Args:
        others: rows that compete with none, the probe of frozen features among them.
    """
    if not board.compared or len(board.rows) < 3:
        return ""
    counts = {CLASS_MEANS: "class means", TASK_INCREMENTAL: "task id"}
    found = [
        f"by {words} {count} of {len(board.rows)}"
        for reading, words in counts.items()
        if (count := board.could_be_best_by(reading)) is not None
    ]
    if not found:
        return ""
    probe = next((row for row in others if row_method(row.first) == PROBE), None)
    beside = ""
    if probe is not None and (scores := probe.values(LEADING, TASK_INCREMENTAL)):
        above, _ = count_apart(board.rows, probe, lambda row: row.runs(LEADING, TASK_INCREMENTAL))
        beside = f"; by task id {above} score significantly more than the probe, {share(scores)}"
    return f"{board.title}: {', '.join(found)} rows could be best{beside}."


def _limit(board: Board) -> str:
    if board.within_noise is None:
        return ""
    assert board.visible is not None
    seen = (
        f"gaps below {100 * board.within_noise:.1f} points are within the noise of {board.runs} runs, and "
        f"one of {100 * board.visible:.1f} is found four times in five"
    )
    if len(board.best) > 1:
        return f"{board.title}: which row marked “could be best” is better, or that they are equal; {seen}."
    if len(board.rows) == 2:
        return f"{board.title}: anything about differences smaller than what can be seen; {seen}."
    return f"{board.title}: how the rows below the first compare with each other; {seen}."
