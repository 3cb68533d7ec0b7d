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
    "untrained": "needs scores of the untrained model",
    "single": "needs single-task runs: --single RESULT",
    "joint": "needs scores of joint runs on the tasks so far",
}
WIDTHS = [None, None, 46, 38]


@dataclass(frozen=True)
class Translation:
    """One convention's number, in the unit of the matrix, or why there is none."""

    rule: Convention
    value: float | None
    missing: str = ""


def translate(
    matrix: Matrix, sizes: Sequence[int], single: Sequence[float | None] | None = None
) -> list[Translation]:
    """Return every convention's number.

    Args:
        matrix: `R[t][i]`, the score on task i after task t.
        sizes: `n_i`, test rows of each task.
        single: `s_i`, the score on task i of a model that learned it alone.
    """
    given = {"sizes": sizes} | ({} if single is None else {"single": single})
    translations = []
    for rule in CONVENTIONS.values():
        absent = [REFERENCES[need] for need in rule.needs if need not in given]
        if absent:
            translations.append(Translation(rule, None, absent[0]))
            continue
        value = rule.function(matrix, *(given[need] for need in rule.needs))
        missing = "" if value is not None else "needs cells that were not scored, or more tasks"
        translations.append(Translation(rule, value, missing))
    return translations


def of_result(result: Result, single: Result | None = None) -> list[Translation]:
    """Return every convention's number of a result.

    Args:
        single: a result whose diagonal holds the score of each task learned alone, under the same setting.

    Raises:
        UserError: `single` is of other tasks or another setting.
    """
    diagonal = None
    if single is not None:
        _check_alike(result, single)
        diagonal = [row[i] for i, row in enumerate(single.matrix)]
    return translate(result.matrix, [task.test for task in result.tasks], diagonal)


def table(translations: Sequence[Translation]) -> str:
    """Return the numbers x 100 as a text table."""
    rows = [
        {
            "number": each.rule.name.replace("_", " ") + (" ↑" if each.rule.higher_is_better else " ↓"),
            "value": "" if each.value is None else f"{100 * each.value:.2f}",
            "definition": each.missing or each.rule.title,
            "used by": each.rule.users,
        }
        for each in translations
    ]
    sides = ["left", "right", "left", "left"]
    return text_table(pd.DataFrame(rows), colalign=sides, maxcolwidths=WIDTHS)


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


def _check_alike(result: Result, single: Result) -> None:
    for what, of in (
        ("stream", lambda run: run.stream),
        ("order", lambda run: run.order),
        ("seed", lambda run: run.seed),
        ("backbone", lambda run: run.backbone),
        ("protocol", lambda run: run.config.get("protocol")),
        ("data", lambda run: run.provenance.data_fingerprint),
    ):
        if of(result) != of(single):
            raise UserError(f"--single: {what} differs from that of the result; both must share it")
