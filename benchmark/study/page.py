"""The page of a study: outcomes, picture and tables as markdown, from results alone."""

from __future__ import annotations

import numpy as np

from benchmark.publishing.leaderboard import describe_parameters
from benchmark.results import CLASS_MEANS
from benchmark.running.catalogue import load_method
from benchmark.scoring.one_sided import bound_mean, p_above
from benchmark.study.evidence import Evidence
from benchmark.study.members import GATE, REFERENCE
from benchmark.study.page_tables import (
    compare_rows,
    describe_needed,
    differ,
    follow_path,
    format_interval,
    list_trials,
    markdown,
)
from benchmark.study.path import BEYOND
from benchmark.study.stages import AIA, AS_MANY, ORACLE, SHUFFLED
from benchmark.study.verdicts import conclude
from benchmark.text_table import write_count, write_percent

ALL = "litelora, lambda 0"
CHOICES = ((ORACLE, AS_MANY), (ORACLE, ALL), ("keep-first", "keep-last"))
"""Rules compared to see what a stream rewards: what it calls needed, at its own number and beside nearly all
adapters, and old ones over new."""


def write(evidence: Evidence, name: str, command: str) -> str:
    """Return the page.

    Args:
        name: of the study's file without its ending, and of the picture.
    """
    file, runs = evidence.study.file, evidence.runs
    planned = len(file.run_numbers)
    first = evidence.rows["litelora"][0]
    reached = write_count(planned, "run")
    if len(runs) < planned:
        reached = f"{len(runs)} of {planned} planned runs are complete"
    made_with = describe_parameters(first)
    third, _ = evidence.third
    verdicts = (evidence.first, evidence.second, third)
    parts = [
        f"# {file.title}",
        f"Stream `{first.stream}`{made_with and f' ({made_with})'}, protocol `{first.protocol}`, "
        f"backbone `{first.backbone}`, "
        f"{len(first.tasks)} tasks; {reached}. Lambda* = {evidence.chosen:g}, chosen on runs {file.tuning} "
        f"by validation rows; it drops {evidence.reduction:.0%} of the adapters. Made by `{command}` from "
        "results alone.",
        "## Verdict",
        conclude(*verdicts, evidence.reduction),
        "\n".join(f"{place}. {each.sentence}" for place, each in enumerate(verdicts, 1)),
        *([f"Found since: {file.since}"] if file.since else []),
        beside_all(evidence),
        describe_way(evidence),
        describe_search(evidence),
        f"![Score against adapters dropped]({name}.svg)",
        (
            f"Lines: mean over the {len(evidence.path_runs)} runs that took the path; points: over all, so "
            "that both stand apart. "
            if evidence.path_runs
            else "Points: mean over runs. "
        )
        + "Bars: one standard error over runs, unpaired; the table has the differences of pairs.",
        "## At lambda*",
        "Average incremental accuracy (AIA) x 100 by three readings, the paper's pooled measures A and F, "
        "adapters active at the end and in the mean over stages, and LiteLoRA's AIA less the row's with its "
        "95 % interval. The shuffled "
        f"gate is the mean of {file.shuffles} permutations a run. Where LiteLoRA kept one adapter or all, "
        "rules that keep as many keep the same, and their row has its own run.",
        markdown(compare_rows(evidence)),
        "LiteLoRA less the row by numbers of which no outcome is: the end alone (AP), the features, and the "
        "task's own classes (95 % intervals, not corrected).",
        markdown(differ(evidence)),
        *controls(evidence),
    ]
    if evidence.path_runs:
        parts += [
            "## The path",
            f"Runs {', '.join(map(str, evidence.path_runs))}: LiteLoRA at each lambda, and keep-random with "
            "as many adapters; *predicted* is the number kept that the worths at lambda 0 of the same run "
            "say, *alike* the share of single decisions that they say right.",
            markdown(follow_path(evidence)),
            secondary(evidence),
        ]
    if first.needs_adapter:
        parts += [
            "## Kept beside needed",
            "Means over runs of precision and recall, and of the AUC of the final logit; the first task is "
            "not asked about and not counted. A rule that looks at nothing but a task's place, the earlier "
            f"the likelier, would have an AUC of {write_percent(evidence.auc_of_place)}.",
            markdown(describe_needed(evidence)),
        ]
    parts += ["## Tuning", markdown(list_trials(evidence)), "## Fixed before the runs", list_fixed(evidence)]
    return "\n\n".join(parts) + "\n"


def describe_search(evidence: Evidence) -> str:
    """Return how the hyper-parameters of the two methods were chosen, and what that leaves of outcome 1."""
    tuned = {name: evidence.rows[name][0].provenance.tuned for name in (GATE, REFERENCE)}
    marks = ", ".join(f"{name} {each.mark if each else 'not tuned here'}" for name, each in tuned.items())
    said = f"Learning rates: {marks}; every other row has {GATE}'s."
    if tuned[GATE]:
        default = load_method(GATE).Hyperparameters.model_fields["sparsity"].default
        said += f" {GATE}'s was searched at its default lambda, {default:g}."
    if not all(tuned.values()):
        said += " Where a rate was not searched, outcome 1 is about these settings and not about the methods."
    return said


def beside_all(evidence: Evidence) -> str:
    """Return what dropping costs against the same method that drops next to nothing."""
    kept = 1 - float(np.mean([result.reduction or 0.0 for result in evidence.rows[ALL]]))
    by_means = evidence.differences_by(ALL, AIA, CLASS_MEANS)
    also = f", by class means {format_interval(by_means)}" if by_means else ""
    intervals = " (95 % intervals)" if len(evidence.runs) > 1 else ""
    return (
        f"Not an outcome: less its own lambda 0, which has the same rates and keeps {kept:.0%}, LiteLoRA "
        f"at lambda* scores {format_interval(evidence.differences(ALL))} points of AIA{also}{intervals}."
    )


def describe_way(evidence: Evidence) -> str:
    """Return how many adapters were active on the way, of which AIA is, beside the shuffled gate's."""
    (_, ours), (_, theirs) = (evidence.count_active(name) for name in ("litelora", SHUFFLED))
    return (
        "Shuffled decisions keep as many adapters at the end. In the mean over stages, as AIA is, "
        f"{ours:.1f} are active with LiteLoRA's and {theirs:.1f} with shuffled ones: a difference in AIA may "
        "be one of having them early."
    )


def controls(evidence: Evidence) -> list[str]:
    """Return what rules that do not learn their choice say, of those runs alone that have every control."""
    if evidence.control_runs == evidence.runs:
        return choices(evidence)
    if not evidence.control_runs:
        return ["No run has the other controls yet."]
    table = markdown(compare_rows(evidence.with_controls))
    said = f"Of runs {', '.join(map(str, evidence.control_runs))} alone, which have every control:"
    return [said, table, *choices(evidence.with_controls)]


def choices(evidence: Evidence) -> list[str]:
    """Return whether it matters at all which adapters are kept, by rules that do not learn it."""
    said = [
        f"{of} less {name} {format_interval(evidence.differences(name, of))}"
        for of, name in CHOICES
        if of in evidence.rows and name in evidence.rows
    ]
    head = "Whether a choice can matter here, by rules that are not learned (AIA, 95 %)"
    return [f"{head}: {'; '.join(said)}."] if said else []


def secondary(evidence: Evidence) -> str:
    """Return what the areas under the curves say."""
    heights = evidence.height_differences()
    bounds = bound_mean(heights, evidence.study.file.outcomes.level)
    if bounds is None:
        return "The mean height of the curve over keep-random's is known for fewer than two runs."
    p = p_above(heights, 0.0)
    return (
        f"Mean height of LiteLoRA's curve less keep-random's, over the reductions that both reach: "
        f"{bounds.mean:+.2f} points ({bounds.n} runs, one-sided bounds {bounds.lower:+.2f} and "
        f"{bounds.upper:+.2f}, p = {p:.2g})."
    )


def list_fixed(evidence: Evidence) -> str:
    """Return the rules that the study's file states."""
    file = evidence.study.file
    third, _ = evidence.third
    lines = [f"{each.claim} - {each.rule}." for each in (evidence.first, evidence.second, third)]
    lines += [
        f"Lambda: {file.path.values} values, 0 and quantiles of the worths of adapters at lambda 0 on runs "
        f"{file.tuning}, to {BEYOND:g} times the largest; lambda* scores highest of those that drop at "
        f"least {file.path.least_reduction:.0%} there, the least that the paper claims to cost nothing.",
        f"Runs needed are for power {file.outcomes.power:.0%} at the deviation found: of 1 at a true "
        f"difference of 0, of 2 at the least that matters, {file.outcomes.smallest_difference:g}, of 3 at an "
        f"AUC of {0.5 + file.outcomes.smallest_auc:g}. A deviation of few runs is itself uncertain.",
        f"All rows of a table stand on the same runs; {_describe_runs(evidence)}. No bound is corrected for "
        "there being three outcomes: each answers a question of its own. What else the page has intervals of "
        "was not planned, and its intervals are not corrected for their number.",
    ]
    lines += [f"Known before: {file.known}"] if file.known else []
    return "\n".join(f"- {line}" for line in lines)


def _describe_runs(evidence: Evidence) -> str:
    """Return what tells the runs apart."""
    results = evidence.rows["litelora"]
    if all(result.order == str(result.seed) for result in results):
        return "run i has order i and seed i"
    orders = sorted({result.order for result in results})
    return "run i has seed i" + (f" and all have order {orders[0]}" if len(orders) == 1 else "")
