"""From a score matrix to numbers: every convention in use, each under its own name.

A matrix is a list of T rows of T cells; `R[t][i]` is the score on task i after task t was learned, both
counted from 0, and None where it was not measured. Scores may be in 0..1 or in percent: every number comes
back in the same unit. `n_i` is the number of test rows of task i.

Two rules hold throughout. A number that needs a missing cell is None; nothing is ever filled with zero. With
one task there is nothing to forget and nothing to transfer, so those numbers are None as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.results import TRAINED_HEAD, Result
from benchmark.scoring.matrix import Array, Matrix, as_array, mean_of_seen, number
from benchmark.scoring.transfer import (
    backward_transfer,
    backward_transfer_all_pairs,
    backward_transfer_libcontinual,
    backward_transfer_libcontinual_overall,
    backward_transfer_losses,
    backward_transfer_sapt,
    forgetting_libcontinual,
    forgetting_libcontinual_overall,
    forward_transfer_column_means,
    forward_transfer_continuum,
    forward_transfer_gem,
    forward_transfer_sapt,
    intransigence,
    learning_accuracy,
    positive_backward_transfer,
    remembering,
    retention,
)

__all__ = [
    "CONVENTIONS",
    "HEADLINE",
    "Convention",
    "Matrix",
    "as_array",
    "headline",
    "mean_of_seen",
    "numbers",
]


def _drop(rows: Array, last: Array) -> float | None:
    """Return the mean, over tasks but the last, of the best score since learning in `rows` minus `last`."""
    rows, last = rows[:, :-1], last[:-1]
    best = np.where(np.tri(*rows.shape) > 0, rows, -np.inf).max(axis=0, initial=-np.inf)
    return number((best - last).mean()) if last.size else None


def _weights(sizes: Sequence[int], tasks: int) -> Array:
    if len(sizes) != tasks or any(size <= 0 for size in sizes):
        raise ValueError(f"{tasks} tasks need {tasks} positive test sizes, got {list(sizes)}")
    return np.asarray(sizes, dtype=float)


def average_performance(matrix: Matrix) -> float | None:
    """Mean over tasks after the last one: `(1/T) sum_i R[T-1][i]`.

    Source: GEM (ACC). Called AP, ACC, OP, FAA, A_last or "average accuracy" by O-LoRA, SAPT, TRACE, TreeLoRA.
    """
    return number(as_array(matrix)[-1].mean())


def average_performance_pooled(matrix: Matrix, sizes: Sequence[int]) -> float | None:
    """Share of correct rows in the union of all test sets: `sum_i n_i R[T-1][i] / sum_i n_i`.

    Source: PILOT. The "Last" of class-incremental papers (CL-LoRA, SD-LoRA, InfLoRA, SEMA).
    """
    scores = as_array(matrix)
    return number(np.average(scores[-1], weights=_weights(sizes, len(scores))))


def average_anytime(matrix: Matrix) -> float | None:
    """Mean over stages of the mean over seen tasks: `(1/T) sum_t (1/(t+1)) sum_{i<=t} R[t][i]`.

    Source: iCaRL's "average incremental accuracy". Also written A-bar, Inc-Acc or AAA.
    """
    scores = as_array(matrix)
    return number(np.mean([scores[t, : t + 1].sum() / (t + 1) for t in range(len(scores))]))


def average_anytime_pooled(matrix: Matrix, sizes: Sequence[int]) -> float | None:
    """Mean over stages of the accuracy on the union of seen test sets.

    `(1/T) sum_t (sum_{i<=t} n_i R[t][i] / sum_{i<=t} n_i)`. Source: PILOT, which prints it as "Average
    Accuracy"; the A of LiteLoRA and the AAA of SD-LoRA.
    """
    scores = as_array(matrix)
    weights = _weights(sizes, len(scores))
    stages = [(scores[t] * weights)[: t + 1].sum() / weights[: t + 1].sum() for t in range(len(scores))]
    return number(np.mean(stages))


def average_all_cells(matrix: Matrix) -> float | None:
    """Mean over every cell of a seen task: `(2/(T(T+1))) sum_t sum_{i<=t} R[t][i]`.

    Source: Continuum's accuracy_A; the "All Average" of TreeLoRA.
    """
    scores = as_array(matrix)
    return number(scores[np.tril_indices(len(scores))].mean())


def average_all_stages(matrix: Matrix) -> float | None:
    """Mean of the whole matrix, tasks not learned yet included: `(1/T^2) sum_t sum_i R[t][i]`.

    Called Average for CLIP models on MTIL and X-TAIL.
    """
    return number(as_array(matrix).mean())


def forgetting(matrix: Matrix) -> float | None:
    """Best earlier score minus the last: `(1/(T-1)) sum_{i<T-1} (max_{i<=t<T-1} R[t][i] - R[T-1][i])`.

    A term is negative where the last row is the best one. Source: Chaudhry et al. 2018, eq. 3. Used by SAPT,
    GainLoRA and Continuum (as fixed).
    """
    return _drop(as_array(matrix)[:-1], as_array(matrix)[-1])


def forgetting_all_rows(matrix: Matrix) -> float | None:
    """Best score of any row minus the last: `(1/(T-1)) sum_{i<T-1} (max_{i<=t<=T-1} R[t][i] - R[T-1][i])`.

    No term is below 0. Source: the code of PILOT and mammoth; used by LiteLoRA and SD-LoRA. They fill the
    rows before task i with zero, which changes nothing for scores that are not negative.
    """
    return _drop(as_array(matrix), as_array(matrix)[-1])


def forgetting_diagonal(matrix: Matrix) -> float | None:
    """Score when just learned minus the last: `(1/(T-1)) sum_{i<T-1} (R[i][i] - R[T-1][i])`, minus BWT.

    Source: Avalanche. What papers after TRACE print as a positive "BWT" with an arrow down.
    """
    transfer = backward_transfer(matrix)
    return None if transfer is None else 0.0 - transfer


@dataclass(frozen=True)
class Convention:
    """One row of the table of conventions.

    Attributes:
        function: called with the matrix and with what `needs` names.
        title: a definition in one line, for footers.
        higher_is_better: which way the arrow points.
        users: who reports the number in this form.
        needs: further arguments, in order: "sizes", "full", "untrained", "single" or "joint".
    """

    function: Callable[..., float | None]
    title: str
    higher_is_better: bool
    users: str
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key of the number, which is the name of its function."""
        return str(self.function.__name__)  # type: ignore[attr-defined]


_TABLE = (
    Convention(average_performance, "mean of the last row", True, "GEM, O-LoRA, SAPT, TRACE, TreeLoRA"),
    Convention(
        average_performance_pooled,
        "last row, weighted by test rows",
        True,
        "PILOT, CL-LoRA, InfLoRA, SD-LoRA",
        ("sizes",),
    ),
    Convention(average_anytime, "mean over stages of the mean over seen tasks", True, "iCaRL, LibContinual"),
    Convention(
        average_anytime_pooled,
        "mean over stages of the accuracy on all seen test rows",
        True,
        "PILOT, SD-LoRA, LiteLoRA, LibContinual",
        ("sizes",),
    ),
    Convention(average_all_cells, "mean of all cells of seen tasks", True, "Continuum, TreeLoRA"),
    Convention(average_all_stages, "mean of the whole matrix", True, "MTIL, X-TAIL: Average"),
    Convention(
        forgetting,
        "best earlier row minus last row, mean over T-1",
        False,
        "Chaudhry, SAPT, GainLoRA, Continuum",
    ),
    Convention(
        forgetting_all_rows,
        "best of all rows minus last row, mean over T-1",
        False,
        "PILOT, mammoth, SD-LoRA, LiteLoRA",
    ),
    Convention(forgetting_diagonal, "diagonal minus last row, mean over T-1", False, "Avalanche"),
    Convention(
        forgetting_libcontinual,
        "diagonal minus last row, less the last two tasks, over T-1",
        False,
        "LibContinual",
    ),
    Convention(
        forgetting_libcontinual_overall,
        "LibContinual's forgetting, mean over stages from the third",
        False,
        "LibContinual: Overall Frgt",
    ),
    Convention(
        backward_transfer, "last row minus diagonal, mean over T-1", True, "GEM, mammoth, EasyCL, TRACE"
    ),
    Convention(backward_transfer_sapt, "last row minus diagonal, divided by T", True, "SAPT, GainLoRA"),
    Convention(
        backward_transfer_losses, "last row minus diagonal, gains as 0, over T", True, "TreeLoRA's script"
    ),
    Convention(backward_transfer_all_pairs, "every later row minus diagonal", True, "Continuum"),
    Convention(
        backward_transfer_libcontinual,
        "later rows but the next minus diagonal, over all pairs",
        True,
        "LibContinual",
    ),
    Convention(
        backward_transfer_libcontinual_overall,
        "LibContinual's transfer, mean over stages from the third",
        True,
        "LibContinual: Overall BwT",
    ),
    Convention(positive_backward_transfer, "every later row minus diagonal, if a gain", True, "Continuum"),
    Convention(remembering, "a full score less the loss in every later row", True, "Continuum", ("full",)),
    Convention(retention, "last row over diagonal, mean over T-1", True, "papers that print stability"),
    Convention(learning_accuracy, "mean of the diagonal", True, "MER; GainLoRA's Fwt; SAPT's Fwt plus 50.94"),
    Convention(
        forward_transfer_gem,
        "row before a task minus the untrained model",
        True,
        "GEM, mammoth",
        ("untrained",),
    ),
    Convention(forward_transfer_continuum, "cells right above the diagonal", True, "Continuum"),
    Convention(
        forward_transfer_column_means,
        "mean of the column means above the diagonal",
        True,
        "MTIL, X-TAIL (RAIL, CoDyRA): Transfer",
    ),
    Convention(forward_transfer_sapt, "diagonal minus single-task runs", True, "SAPT's paper", ("single",)),
    Convention(intransigence, "joint training minus diagonal", False, "Chaudhry", ("joint",)),
)
CONVENTIONS: dict[str, Convention] = {rule.name: rule for rule in _TABLE}

HEADLINE = (
    "average_performance",
    "average_performance_pooled",
    "average_anytime",
    "average_anytime_pooled",
    "forgetting",
    "forgetting_all_rows",
    "backward_transfer",
    "learning_accuracy",
)


def headline(matrix: Matrix, sizes: Sequence[int]) -> dict[str, float | None]:
    """Return the numbers that every result file holds, by name; None where a cell they need is missing."""
    given, scores = {"sizes": sizes}, as_array(matrix)
    chosen = (CONVENTIONS[name] for name in HEADLINE)
    return {rule.name: rule.function(scores, *(given[need] for need in rule.needs)) for rule in chosen}


def numbers(result: Result, reading: str = TRAINED_HEAD) -> dict[str, float | None]:
    """Return the numbers of a reading by name; None where a cell they need is missing, or the reading is."""
    if reading == TRAINED_HEAD:
        return result.headline
    return headline(result.matrix_of(reading), [task.test for task in result.tasks])
