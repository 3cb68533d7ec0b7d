"""The search that a protocol states, for one method: `benchmark.space.SearchRule` carried out.

Trials are ordinary runs over the first tasks, scored on validation rows, so that a stopped search goes on and
a repeated one runs nothing. No library samples here: every point is tried once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.models.backbone_store import preset_key
from benchmark.registry import BACKBONES
from benchmark.running.catalogue import load_method, load_stream
from benchmark.running.driver import check_writable
from benchmark.running.events import Callback
from benchmark.running.job import Conditions, Job
from benchmark.running.plan import match_protocol, plan
from benchmark.space import BY_RULE, SearchRule
from benchmark.tuning.search import Judge, Search, keep, try_point
from benchmark.tuning.tuning_file import TrialFacts

if TYPE_CHECKING:
    from benchmark.method import Method

REFERENCES = ("frozen", "ncm", "linear-probe", "joint", "seq-lora", "independent")
"""Tuned before all other rows, since they decide whether there is headroom."""
TEXT_TO_TEXT = ("seq2seq", "causal")
EXTENSIONS = 6
PRUNER = (
    "a trial ends that would stay below the best before it if it learned what is left without an error and "
    "forgot nothing"
)
DIGITS = 3
"""Significant digits of an added rate."""


@dataclass
class BoundJudge(Judge):
    """Ends a trial that could no longer be chosen.

    Forgetting shows with the tasks: of two rates that of the lower score after two tasks may have the higher
    one after three. So a trial is compared with what is known of the end alone.

    Attributes:
        best: the highest score of the complete trials before it; None where there is none.
        runs: of the trial.
    """

    best: float | None = None
    runs: int = 1

    def _ends(self, task: int, task_count: int) -> bool:
        if self.best is None:
            return False
        known = (task + 1) * self.seen[task]
        # What is left of this run, and every run after it, without an error.
        left = {t: (known + t - task) / (t + 1) for t in range(task + 1, task_count)}
        reachable = sum(self.before) + self.score_of(self.seen | left) + self.runs - len(self.before) - 1
        return reachable / self.runs < self.best


def in_order(methods: Sequence[str]) -> list[str]:
    """Return methods with the references first, the others as they were."""
    first = [name for name in REFERENCES if name in methods]
    return first + [name for name in methods if name not in first]


def rule_of(reference: str, protocol: str | None, settings: Sequence[str] = ()) -> SearchRule | None:
    """Return the search that a stream's protocol states; None where it states none.

    Args:
        protocol: its name; none: the stream's first.
        settings: `key=value` texts, of which `search=...` may replace the rule.
    """
    stream = load_stream(reference)
    own = [text for text in settings if text.partition("=")[0].strip() in ("search", "protocol.search")]
    if own:
        (run,) = plan(REFERENCES[0], reference, protocol=protocol, settings=own)
        return run.protocol.search
    return match_protocol(stream, reference, protocol).search


def grid_of(method: type[Method], rule: SearchRule) -> list[dict[str, Any]]:
    """Return the points that a rule tries for a method; none where it has no learning rate."""
    fields = method.Hyperparameters.model_fields
    if "learning_rate" not in fields:
        return []
    if "optimizer" in fields:
        return [
            {"optimizer": name, "learning_rate": rate} for name, own in rule.rates.items() for rate in own
        ]
    return [{"learning_rate": rate} for rate in sorted({rate for own in rule.rates.values() for rate in own})]


def next_point(tried: Sequence[TrialFacts]) -> dict[str, Any] | None:
    """Return the point beyond the end of the grid where the best trial lies there and nowhere else.

    It keeps the ratio of the last two rates. None where the best is inside, or no trial was completed.
    """
    complete = [trial for trial in tried if trial.state == "complete"]
    top = max((trial.score or 0.0 for trial in complete), default=0.0)
    outer = []
    for trial in (each for each in complete if (each.score or 0.0) == top):
        others = {name: value for name, value in trial.values.items() if name != "learning_rate"}
        rates = sorted(
            each.values["learning_rate"] for each in tried if others.items() <= each.values.items()
        )
        rate = trial.values["learning_rate"]
        if len(rates) < 2 or rates[0] < rate < rates[-1]:
            return None
        (low, high) = next(iter(pairwise(rates))) if rate == rates[0] else (rates[-2], rates[-1])
        beyond = low * low / high if rate == rates[0] else high * high / low
        outer.append({**others, "learning_rate": float(f"{beyond:.{DIGITS}g}")})
    return outer[0] if outer else None


def as_search(
    rule: SearchRule, method: str, reference: str, backbone: str | None, protocol: str | None, settings: Any
) -> Search:
    """Return the runs that a rule asks for, as a search.

    Raises:
        UserError: a setting fixes what the rule searches.
    """
    for text in settings:
        name = text.partition("=")[0].strip().rpartition(".")[2]
        if name in ("learning_rate", "optimizer", "first_tasks", "score_at", "score_on"):
            raise UserError(
                f"--set {text}: the protocol's search chooses that; give --trials to search freely"
            )
    trials = [f"protocol.first_tasks={rule.tasks}", "protocol.score_at=every"]
    return Search(
        method,
        reference,
        trials=rule.trials,
        orders=",".join(rule.orders),
        seeds=",".join(str(seed) for seed in rule.seeds),
        backbone=backbone,
        protocol=protocol,
        settings=[*settings, *trials],
    )


def why_not(asked: Search, rule: SearchRule) -> str:
    """Return in words why there is nothing to search for a method; empty where there is."""
    method, run = load_method(asked.method), asked.runs({})[0]
    preset = preset_key(run.backbone)
    kind = BACKBONES.load(preset).kind if preset is not None else None
    if kind is not None and kind not in method.kinds:
        return f"left out, it does not work on backbones of the kind {kind}"
    if method.changes == "nothing" and kind in TEXT_TO_TEXT and not method.probes:
        return "nothing to search, there is no head to train"
    return "" if grid_of(method, rule) else "nothing to search, it has no learning rate"


def search_by_rule(
    rule: SearchRule,
    asked: Search,
    out: Path,
    data_dir: Path | None,
    device: str,
    conditions: Conditions,
    callback: Callback,
) -> Path:
    """Run the trials, write what was tried and chosen below `out`, and return where.

    Args:
        asked: what `as_search` made of the rule, and `why_not` has nothing against.

    Raises:
        UserError: no trial was completed, another process works on one, or the data cannot be read.
        KeyboardInterrupt: the user stopped the search; the trials so far are on disk.
    """
    method = load_method(asked.method)
    left = grid_of(method, rule)
    check_writable(out)
    space = {name: list(dict.fromkeys(point[name] for point in left)) for name in left[0]}
    tried, extended = list[TrialFacts](), 0
    while left:
        values = left.pop(0)
        jobs = [Job(run, out.resolve(), data_dir, device, False, conditions) for run in asked.runs(values)]
        scores = [each.score for each in tried if each.state == "complete" and each.score is not None]
        judge = BoundJudge(objective=rule.objective, best=max(scores, default=None), runs=len(jobs))
        tried.append(try_point(values, jobs, judge, callback))
        beyond = next_point(tried) if not left and extended < EXTENSIONS else None
        if beyond is not None and _is_valid(method, beyond):
            left.append(beyond)
            space["learning_rate"].append(beyond["learning_rate"])
            extended += 1
    return keep(asked, out, jobs, tried, space, BY_RULE, PRUNER, rule.objective)


def _is_valid(method: type[Method], point: dict[str, Any]) -> bool:
    try:
        method.Hyperparameters(**point)
    except ValidationError:
        return False
    return True
