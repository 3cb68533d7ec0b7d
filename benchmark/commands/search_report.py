"""Searches for hyper-parameters in a table: trials, those that are done, and what the rest will take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.commands.plan_report import PUBLISHED
from benchmark.commands.progress import duration
from benchmark.text_table import text_table
from benchmark.tuning.rule_search import EXTENSIONS, why_not
from benchmark.tuning.search_plan import SearchPlan, plan_searches

if TYPE_CHECKING:
    from benchmark.space import SearchRule
    from benchmark.tuning.search import Search


def as_text(searches: Sequence[tuple[Search, SearchRule | None]], out: Path, data_dir: Path | None) -> str:
    """Return what searches will take, a line each, and the sum.

    Args:
        searches: each with the rule of its protocol; None where points are searched freely.
    """
    parts, kept = [], []
    for search, rule in searches:
        if rule is not None and (reason := why_not(search, rule)):
            parts.append(f"{search.method}: {reason}")
        else:
            kept.append((search, rule))
    plans = plan_searches(kept, out, data_dir)
    if plans:
        parts += ["", text_table(pd.DataFrame([_row(plan) for plan in plans]))]
    return "\n".join([*parts, "", _total(plans)]).strip()


def _row(plan: SearchPlan) -> dict[str, str]:
    return {
        "method": plan.method,
        "stream": plan.stream,
        "trials": str(plan.trials),
        "done": str(plan.done),
        "time left": "unknown" if plan.seconds is None else duration(plan.seconds),
    }


def _total(plans: Sequence[SearchPlan]) -> str:
    count = "1 search" if len(plans) == 1 else f"{len(plans)} searches"
    if all(plan.done == plan.trials for plan in plans):
        return f"{count}: all done"
    unknown = sum(plan.seconds is None for plan in plans)
    known = duration(sum(plan.seconds or 0.0 for plan in plans))
    time = "an unknown time" if unknown == len(plans) else f"about {known}"
    more = f" and {unknown} that nothing is known of" if 0 < unknown < len(plans) else ""
    whose = PUBLISHED if any(plan.published for plan in plans) else ""
    return (
        f"{count}: {time}{more}{whose}; pruned trials take less, and a grid whose best lies at its end gets "
        f"up to {EXTENSIONS} more"
    )
