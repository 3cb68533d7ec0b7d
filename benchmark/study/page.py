"""The page of a study: outcomes, picture and tables as markdown, from results alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmark.publishing.leaderboard import describe_parameters
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL, TRAINED_HEAD
from benchmark.running.catalogue import load_method
from benchmark.scoring.one_sided import bound_mean, p_above
from benchmark.scoring.statistics import student_interval
from benchmark.study.evidence import Evidence, mean_of
from benchmark.study.members import GATE, REFERENCE
from benchmark.study.path import BEYOND
from benchmark.study.stages import AS_MANY, ORACLE, points
from benchmark.study.verdicts import conclude
from benchmark.text_table import write_count, write_percent

ALL = "litelora, lambda 0"
CHOICES = ((ORACLE, AS_MANY), (ORACLE, ALL), ("keep-first", "keep-last"))
"""Rules compared to see what a stream rewards: what it calls needed, at its own number and beside nearly all
adapters, and old ones over new."""
READ = {TRAINED_HEAD: "AIA", CLASS_MEANS: "AIA, class means", TASK_INCREMENTAL: "AIA, task id"}


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
        "adapters active at the end, and LiteLoRA's AIA less the row's with its 95 % interval. The shuffled "
        f"gate is the mean of {file.shuffles} permutations a run. Where LiteLoRA kept one adapter or all, "
        "rules that keep as many keep the same, and their row has its own run.",
        markdown(rows(evidence)),
        *controls(evidence),
    ]
    if evidence.path_runs:
        parts += [
            "## The path",
            f"Runs {', '.join(map(str, evidence.path_runs))}: LiteLoRA at each lambda, and keep-random with "
            "as many adapters; *predicted* is the number kept that the worths at lambda 0 of the same run "
            "say, *alike* the share of single decisions that they say right.",
            markdown(path(evidence)),
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
    parts += ["## Tuning", markdown(tuning(evidence)), "## Fixed before the runs", list_fixed(evidence)]
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
    return (
        f"Not an outcome: less its own lambda 0, which has the same rates and keeps {kept:.0%}, LiteLoRA "
        f"at lambda* scores {_interval(evidence.differences(ALL))} points of AIA (95 % interval)."
    )


def rows(evidence: Evidence) -> pd.DataFrame:
    """Return a row for LiteLoRA at lambda* and for everything that it is compared with."""
    table = []
    for name in evidence.names:
        record = {"row": name}
        for reading, title in READ.items():
            record[title] = _format_spread(evidence.scores(name, reading=reading))
        record["A, pooled"] = _format_spread(evidence.scores(name, "average_anytime_pooled"))
        record["F, all rows"] = _format_spread(evidence.scores(name, "forgetting_all_rows"))
        results = evidence.result_of(name)
        record["active"] = f"{np.mean([result.active_adapters[-1] for result in results]):.1f}"
        record["litelora minus it"] = "" if name == "litelora" else _interval(evidence.differences(name))
        table.append(record)
    return pd.DataFrame(table)


def controls(evidence: Evidence) -> list[str]:
    """Return what rules that do not learn their choice say, of those runs alone that have every control."""
    if evidence.control_runs == evidence.runs:
        return choices(evidence)
    if not evidence.control_runs:
        return ["No run has the other controls yet."]
    table = markdown(rows(evidence.with_controls))
    said = f"Of runs {', '.join(map(str, evidence.control_runs))} alone, which have every control:"
    return [said, table, *choices(evidence.with_controls)]


def choices(evidence: Evidence) -> list[str]:
    """Return whether it matters at all which adapters are kept, by rules that do not learn it."""
    said = [
        f"{of} less {name} {_interval(evidence.differences(name, of))}"
        for of, name in CHOICES
        if of in evidence.rows and name in evidence.rows
    ]
    head = "Whether a choice can matter here, by rules that are not learned (AIA, 95 %)"
    return [f"{head}: {'; '.join(said)}."] if said else []


def path(evidence: Evidence) -> pd.DataFrame:
    """Return a row for every lambda."""
    table = []
    predictions = evidence.predictions()
    for value in evidence.lambdas:
        ours, theirs = evidence.gate[value], evidence.at_random[value]
        guessed, kept, alike = predictions[value]
        gaps = [points(a) - points(b) for a, b in zip(ours, theirs, strict=True)]
        table.append(
            {
                "lambda": f"{value:g}" + (" *" if value == evidence.chosen else ""),
                "AIA": _format_spread(np.array([points(result) for result in ours])),
                "kept": f"{kept:.1f}",
                "predicted": f"{guessed:.1f}",
                "alike": f"{alike:.0%}",
                "keep-random": _format_spread(np.array([points(result) for result in theirs])),
                "litelora minus it": _interval(gaps),
            }
        )
    return pd.DataFrame(table)


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


def describe_needed(evidence: Evidence) -> pd.DataFrame:
    """Return precision, recall and AUC of every row that decides."""
    table = []
    for name in evidence.names:
        found = evidence.decisions(name)
        if found:
            shares = {
                "precision": mean_of([each.precision for each in found]),
                "recall": mean_of([each.recall for each in found]),
                "AUC": mean_of([each.auc for each in found]),
            }
            kept = np.mean([sum(each.kept) for each in found])
            table.append(
                {
                    "row": name,
                    "kept": f"{kept:.1f}",
                    **{key: write_percent(value) for key, value in shares.items()},
                }
            )
    return pd.DataFrame(table)


def tuning(evidence: Evidence) -> pd.DataFrame:
    """Return what chose lambda*."""
    return pd.DataFrame(
        [
            {
                "lambda": f"{value:g}" + (" *" if value == evidence.chosen else ""),
                "AIA, validation rows": _format_spread(np.array([points(result) for result in results])),
                "kept": f"{np.mean([result.active_adapters[-1] for result in results]):.1f}",
            }
            for value, results in evidence.study.tuning().items()
        ]
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


def _format_spread(values: np.ndarray | None) -> str:
    if values is None:
        return "-"
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation}"


def _interval(differences: Sequence[float]) -> str:
    interval = student_interval(differences)
    if interval is None:
        return f"{np.mean(differences):+.1f}"
    return f"{np.mean(differences):+.1f} ({interval[0]:+.1f} to {interval[1]:+.1f})"


def markdown(frame: pd.DataFrame) -> str:
    """Return a frame of texts as a markdown table, its first column to the left."""
    sides = ["left", *["right"] * (len(frame.columns) - 1)]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=sides))
