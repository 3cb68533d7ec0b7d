"""One score matrix in the words of every paper: all conventions, their values and who uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.scoring.metrics import CONVENTIONS, Convention, Matrix
from benchmark.text_table import text_table

REFERENCES = {
    "untrained": "needs scores of the untrained model: bench run --zero-shot",
    "single": "needs single-task runs: --single RESULT",
    "joint": "needs joint training: --joint RESULT",
}
Scores = Sequence[float | None]
WIDTHS = [None, None, 42, 32]


@dataclass(frozen=True)
class Translation:
    """One convention's number, in the unit of the matrix, or why there is none."""

    rule: Convention
    value: float | None
    missing: str = ""


def translate(
    matrix: Matrix,
    sizes: Sequence[int],
    single: Scores | None = None,
    joint: Scores | None = None,
    untrained: Scores | None = None,
    full: float = 1.0,
) -> list[Translation]:
    """Return every convention's number.

    Args:
        matrix: `R[t][i]`, the score on task i after task t.
        sizes: `n_i`, test rows of each task.
        single: `s_i`, the score on task i of a model that learned it alone.
        joint: `j_i`, the score on task i of a model that learned tasks 0..i, or all, at once.
        untrained: `b_i`, the score on task i of the model before any task.
        full: the score of a perfect answer, 1 or 100.
    """
    references = {"single": single, "joint": joint, "untrained": untrained}
    given: dict[str, Any] = {name: scores for name, scores in references.items() if scores is not None}
    given |= {"sizes": sizes, "full": full}
    translations = []
    for rule in CONVENTIONS.values():
        absent = [REFERENCES[need] for need in rule.needs if need not in given]
        if absent:
            translations.append(Translation(rule, None, absent[0]))
            continue
        value = rule.function(matrix, *(given[need] for need in rule.needs))
        missing = "" if value is not None else "needs runs that were not scored, or more tasks"
        translations.append(Translation(rule, value, missing))
    return translations


def of_result(result: Result, single: Result | None = None, joint: Result | None = None) -> list[Translation]:
    """Return every convention's number of a result.

    Args:
        single: a result whose diagonal holds the score of each task learned alone, under the same setting.
        joint: a result that learned tasks at once, under the same setting: its diagonal where it learned all
            tasks so far anew at every step, else its last row.

    Raises:
        UserError: `single` or `joint` is of other tasks or another setting.
    """
    for flag, other in (("--single", single), ("--joint", joint)):
        if other is not None:
            _check_alike(result, other, flag)
    sizes = [task.test for task in result.tasks]
    alone = None if single is None else _diagonal(single)
    at_once = None
    if joint is not None:
        diagonal = _diagonal(joint)
        at_once = joint.matrix[-1] if None in diagonal else diagonal
    return translate(result.matrix, sizes, alone, at_once, result.untrained)


def _diagonal(result: Result) -> list[float | None]:
    return [row[i] for i, row in enumerate(result.matrix)]


def table(translations: Sequence[Translation]) -> str:
    """Return the numbers x 100 as a text table."""
    sides = ["left", "right", "left", "left"]
    return text_table(frame(translations), colalign=sides, maxcolwidths=WIDTHS)


def frame(translations: Sequence[Translation]) -> pd.DataFrame:
    """Return the numbers x 100 as texts, with what defines each and who uses it."""
    rows = [
        {
            "number": each.rule.name.replace("_", " ") + (" ↑" if each.rule.higher_is_better else " ↓"),
            "value": "" if each.value is None else f"{100 * each.value:.2f}",
            "definition": each.missing or each.rule.title,
            "used by": each.rule.users,
        }
        for each in translations
    ]
    return pd.DataFrame(rows)


def as_data(translations: Sequence[Translation]) -> list[dict[str, Any]]:
    """Return the numbers in the unit of the matrix, for JSON."""
    return [
        {
            "name": each.rule.name,
            "value": each.value,
            "missing": each.missing or None,
            "definition": each.rule.title,
            "higher_is_better": each.rule.higher_is_better,
            "used_by": each.rule.users,
        }
        for each in translations
    ]


def _check_alike(result: Result, other: Result, flag: str) -> None:
    for what, of in (
        ("stream", lambda run: run.stream),
        ("order", lambda run: run.order),
        ("seed", lambda run: run.seed),
        ("backbone", lambda run: run.backbone),
        ("protocol", lambda run: run.config.get("protocol")),
        ("data", lambda run: run.provenance.data_fingerprint),
    ):
        if of(result) != of(other):
            raise UserError(f"{flag}: {what} differs from that of the result; both must share it")
