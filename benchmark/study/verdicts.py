"""The three planned outcomes as verdicts, each by a rule: confirmed, refuted, undecided or not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.scoring.one_sided import Bounds, bound_mean, p_above, runs_needed
from benchmark.scoring.rank_permutation import AucTest, permute_auc
from benchmark.study.study_file import Outcomes
from benchmark.text_table import write_count

Word = Literal["confirmed", "refuted", "undecided", "not asked"]


@dataclass(frozen=True)
class Verdict:
    """One outcome.

    Attributes:
        figures: what it was applied to, in words.
        needed: runs that an undecided outcome takes, by the deviation found; None where that is not known.
        assumed: with what probability, and for which true value, in words.
    """

    claim: str
    word: Word
    rule: str
    figures: str
    needed: int | None = None
    assumed: str = ""

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        more = ""
        if self.word == "undecided":
            more = (
                f"; {self.needed} runs would confirm it {self.assumed}"
                if self.needed
                else "; how many runs would decide it is not known"
            )
        return f"{self.claim}: **{self.word}** ({self.figures}{more})."


def judge(bounds: Bounds, confirm_above: float, refute_below: float) -> Word:
    """Return what the bounds of a mean say of it.

    Confirmed where its lower bound lies above `confirm_above`, refuted where its upper bound lies below
    `refute_below`. Where both hold it is confirmed: a loss within the margin, a gain too small to matter.
    """
    if bounds.lower > confirm_above:
        return "confirmed"
    return "refuted" if bounds.upper < refute_below else "undecided"


def non_inferiority(differences: Sequence[float], planned: Outcomes) -> Verdict:
    """Judge LiteLoRA at lambda* minus SD-LoRA, in points of AIA, one difference a run."""
    margin = planned.margin
    claim = f"LiteLoRA loses less than {margin:g} point{'' if margin == 1 else 's'} to SD-LoRA"
    rule = (
        f"confirmed: the one-sided {planned.level:.0%} lower bound of the mean difference lies above "
        f"{-margin:g}; refuted: the upper bound lies below {-margin:g}"
    )
    bounds = bound_mean(differences, planned.level)
    if bounds is None:
        return Verdict(claim, "undecided", rule, _too_few(differences))
    word = judge(bounds, -margin, -margin)
    needed = runs_needed(bounds.deviation, margin, planned.level, planned.power)
    return Verdict(
        claim,
        word,
        rule,
        _figures(bounds, p_above(differences, -margin)),
        needed,
        _if(planned, "difference", 0),
    )


def better_than_shuffled(differences: Sequence[float], same: int, planned: Outcomes) -> Verdict:
    """Judge LiteLoRA at lambda* minus its shuffled gate, in points of AIA, one difference a run.

    Args:
        same: runs in which the gate kept one adapter or all, so that nothing could be shuffled; their
            differences are 0.
    """
    smallest = planned.smallest_difference
    claim = "Which adapters LiteLoRA keeps matters: it is better than its own decisions shuffled"
    rule = (
        f"confirmed: the one-sided {planned.level:.0%} lower bound of the mean difference lies above 0; "
        f"refuted: the upper bound lies below {smallest:g}, the smallest difference that would matter"
    )
    if same == len(differences) and differences:
        return Verdict(claim, "undecided", rule, "the gate kept one adapter or all in every run: no choice")
    bounds = bound_mean(differences, planned.level)
    if bounds is None:
        return Verdict(claim, "undecided", rule, _too_few(differences))
    word = judge(bounds, 0.0, smallest)
    needed = runs_needed(bounds.deviation, smallest, planned.level, planned.power)
    figures = _figures(bounds, p_above(differences, 0.0))
    if same:
        figures += f"; in {same} of them one adapter or all were kept, a difference of 0"
    return Verdict(claim, word, rule, figures, needed, _if(planned, "difference", smallest))


def sees_need(
    runs: Sequence[tuple[Sequence[bool], Sequence[float]]], planned: Outcomes
) -> tuple[Verdict, AucTest | None]:
    """Judge whether the final logit is larger for tasks that need an adapter, and return the test.

    Args:
        runs: of each run, for the tasks after the first: whether it needs an adapter, and the logit.
    """
    smallest = 0.5 + planned.smallest_auc
    claim = "The gate's logit tells tasks that need an adapter from those that do not"
    rule = (
        f"confirmed: exact permutation within runs gives p below {1 - planned.level:.2g}; refuted: the "
        f"one-sided {planned.level:.0%} upper bound of the mean AUC lies below {smallest:g}"
    )
    test = permute_auc(runs)
    if test is None:
        # Where needs are known and all alike there is nothing to tell apart, but they were asked about.
        without: Word = "undecided" if runs else "not asked"
        return Verdict(claim, without, rule, "the stream does not say what is needed"), None
    bounds = bound_mean(test.aucs, planned.level)
    figures = f"mean AUC {test.mean:.2f} over {write_count(len(test.aucs), 'run')}, p = {test.p:.2g}"
    if test.p < 1 - planned.level:
        return Verdict(claim, "confirmed", rule, figures), test
    if bounds is None:
        return Verdict(claim, "undecided", rule, figures), test
    figures += f", upper bound {min(1.0, bounds.upper):.2f}"
    needed = runs_needed(bounds.deviation, planned.smallest_auc, planned.level, planned.power)
    word: Word = "refuted" if bounds.upper < smallest else "undecided"
    return Verdict(claim, word, rule, figures, needed, _if(planned, "AUC", smallest)), test


def conclude(first: Verdict, second: Verdict, third: Verdict, reduction: float) -> str:
    """Return what the three verdicts mean together, by rules stated on the page.

    Args:
        reduction: the mean share of adapters that LiteLoRA dropped at lambda*, 0 to 1.
    """
    if reduction <= 0:
        cost = (
            "At lambda* LiteLoRA drops no adapter here, so its claim of fewer adapters is not put to the test"
        )
    else:
        dropping = f"LiteLoRA, which drops {reduction:.0%} of the adapters, loses"
        cost = {
            "confirmed": f"{dropping} less than the margin to SD-LoRA",
            "refuted": f"{dropping} more than the margin to SD-LoRA",
            "undecided": f"Whether {dropping} more than the margin to SD-LoRA is not decided",
        }[first.word]
    choice = {
        "confirmed": "it scores higher than its own decisions shuffled over tasks",
        "refuted": "it scores higher than its own decisions shuffled over tasks by less than was to matter, "
        "or not at all",
        "undecided": "that it scores higher than its own decisions shuffled over tasks is not shown",
    }[second.word]
    sight = {
        "confirmed": "its gate tells the tasks that the stream calls in need of an adapter from the others",
        "refuted": "its gate does not tell the tasks that the stream calls in need of an adapter as well as "
        "was to matter",
        "undecided": "whether its gate tells the tasks in need of an adapter from the others is not decided",
        "not asked": "nobody knows which tasks here need an adapter, so that whether its gate tells them is "
        "not asked",
    }[third.word]
    return f"{cost}; {choice}; {sight}."


def _if(planned: Outcomes, of: str, true: float) -> str:
    return f"with {planned.power:.0%} probability if the true {of} were {true:g}"


def _figures(bounds: Bounds, p: float | None) -> str:
    p_value = f"p = {p:.2g}" if p is not None else ""
    return (
        f"mean {bounds.mean:+.2f} points, one-sided bounds {bounds.lower:+.2f} and {bounds.upper:+.2f}, "
        f"{write_count(bounds.n, 'run')}, {p_value}"
    )


def _too_few(differences: Sequence[float]) -> str:
    return f"{write_count(len(differences), 'run')}, two at least are needed"
