"""From a score matrix to numbers: every convention in use, each under its own name.

A matrix is a list of T rows of T cells; `R[t][i]` is the score on task i after task t was learned, both
counted from 0, and None where it was not measured. Scores may be in 0..1 or in percent: every number comes
back in the same unit. `n_i` is the number of test rows of task i.

Two rules hold throughout. A number that needs a missing cell is None; nothing is ever filled with zero. With
one task there is nothing to forget and nothing to transfer, so those numbers are None as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.results import TRAINED_HEAD, Result

Array = np.ndarray
Matrix = Sequence[Sequence[float | None]] | Array


def as_array(matrix: Matrix) -> Array:
    """Return the `(T, T)` float array of a matrix, NaN where a cell is None; an array as it is.

    Raises:
        ValueError: there is no task, a row has not T cells, or a score is NaN or infinite.
    """
    if isinstance(matrix, np.ndarray):
        return matrix
    tasks = len(matrix)
    if tasks == 0 or any(len(row) != tasks for row in matrix):
        lengths = [len(row) for row in matrix]
        raise ValueError(f"a score matrix of {tasks} rows needs as many cells a row: {lengths}")
    array = np.array(matrix, dtype=float)  # None becomes NaN
    if np.isfinite(array).sum() + sum(row.count(None) for row in matrix) < array.size:
        raise ValueError("a score is NaN or infinite; a cell that was not measured is None")
    return array


def _number(value: float | np.floating) -> float | None:
    """Return a plain float, or None where a missing cell (NaN) went in."""
    return None if math.isnan(value) else float(value)


def _drop(rows: Array, last: Array) -> float | None:
    """Return the mean, over tasks but the last, of the best score since learning in `rows` minus `last`."""
    rows, last = rows[:, :-1], last[:-1]
    best = np.where(np.tri(*rows.shape) > 0, rows, -np.inf).max(axis=0, initial=-np.inf)
    return _number((best - last).mean()) if last.size else None


def _weights(sizes: Sequence[int], tasks: int) -> Array:
    if len(sizes) != tasks or any(size <= 0 for size in sizes):
        raise ValueError(f"{tasks} tasks need {tasks} positive test sizes, got {list(sizes)}")
    return np.asarray(sizes, dtype=float)


def mean_of_seen(row: Sequence[float | None], t: int) -> float | None:
    """Return the mean over the tasks learned up to t, from the row that was scored after t."""
    known = [score for score in row[: t + 1] if score is not None]
    return sum(known) / len(known) if known else None


def average_performance(matrix: Matrix) -> float | None:
    """Mean over tasks after the last one: `(1/T) sum_i R[T-1][i]`.

    Source: GEM (ACC). Called AP, ACC, OP, FAA, A_last or "average accuracy" by O-LoRA, SAPT, TRACE, TreeLoRA.
    """
    return _number(as_array(matrix)[-1].mean())


def average_performance_pooled(matrix: Matrix, sizes: Sequence[int]) -> float | None:
    """Share of correct rows in the union of all test sets: `sum_i n_i R[T-1][i] / sum_i n_i`.

    Source: PILOT. The "Last" of class-incremental papers (CL-LoRA, SD-LoRA, InfLoRA, SEMA).
    """
    scores = as_array(matrix)
    return _number(np.average(scores[-1], weights=_weights(sizes, len(scores))))


def average_anytime(matrix: Matrix) -> float | None:
    """Mean over stages of the mean over seen tasks: `(1/T) sum_t (1/(t+1)) sum_{i<=t} R[t][i]`.

    Source: iCaRL's "average incremental accuracy". Also written A-bar, Inc-Acc or AAA.
    """
    scores = as_array(matrix)
    return _number(np.mean([scores[t, : t + 1].sum() / (t + 1) for t in range(len(scores))]))


def average_anytime_pooled(matrix: Matrix, sizes: Sequence[int]) -> float | None:
    """Mean over stages of the accuracy on the union of seen test sets.

    `(1/T) sum_t (sum_{i<=t} n_i R[t][i] / sum_{i<=t} n_i)`. Source: PILOT, which prints it as "Average
    Accuracy"; the A of LiteLoRA and the AAA of SD-LoRA.
    """
    scores = as_array(matrix)
    weights = _weights(sizes, len(scores))
    stages = [(scores[t] * weights)[: t + 1].sum() / weights[: t + 1].sum() for t in range(len(scores))]
    return _number(np.mean(stages))


def average_all_cells(matrix: Matrix) -> float | None:
    """Mean over every cell of a seen task: `(2/(T(T+1))) sum_t sum_{i<=t} R[t][i]`.

    Source: Continuum's accuracy_A; the "All Average" of TreeLoRA.
    """
    scores = as_array(matrix)
    return _number(scores[np.tril_indices(len(scores))].mean())


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


def forgetting_libcontinual(matrix: Matrix) -> float | None:
    """Diagonal minus last row without the last two tasks: `(1/(T-1)) sum_{i<T-2} (R[i][i] - R[T-1][i])`.

    The divisor counts the task that is left out. Not defined below three tasks, where the code gives 0.
    Source: `compute_frgt` of LibContinual.
    """
    scores = as_array(matrix)
    drops = (scores.diagonal() - scores[-1])[:-2]
    return _number(drops.sum() / (len(scores) - 1)) if drops.size else None


def forgetting_diagonal(matrix: Matrix) -> float | None:
    """Score when just learned minus the last: `(1/(T-1)) sum_{i<T-1} (R[i][i] - R[T-1][i])`, minus BWT.

    Source: Avalanche. What papers after TRACE print as a positive "BWT" with an arrow down.
    """
    transfer = backward_transfer(matrix)
    return None if transfer is None else 0.0 - transfer


def backward_transfer(matrix: Matrix) -> float | None:
    """Last score minus the score when just learned: `(1/(T-1)) sum_{i<T-1} (R[T-1][i] - R[i][i])`.

    Source: GEM, eq. 3. Used by mammoth, EasyCL, TRACE.
    """
    scores = as_array(matrix)
    gains = (scores[-1] - scores.diagonal())[:-1]
    return _number(gains.mean()) if gains.size else None


def backward_transfer_sapt(matrix: Matrix) -> float | None:
    """GEM's sum divided by T: `(1/T) sum_i (R[T-1][i] - R[i][i])`; smaller in magnitude by (T-1)/T.

    Source: the score script of SAPT and GainLoRA.
    """
    scores = as_array(matrix)
    return _number((scores[-1] - scores.diagonal()).mean()) if len(scores) > 1 else None


def backward_transfer_losses(matrix: Matrix) -> float | None:
    """GEM's sum with gains counted as 0, divided by T: `(1/T) sum_i min(R[T-1][i] - R[i][i], 0)`.

    Never positive. Source: the script of TreeLoRA, whose tables print it with the sign turned.
    """
    scores = as_array(matrix)
    if len(scores) < 2:
        return None
    return _number(np.minimum(scores[-1] - scores.diagonal(), 0).mean())


def backward_transfer_libcontinual(matrix: Matrix) -> float | None:
    """All pairs but neighbours: `(2/(T(T-1))) sum_t sum_{i<t-1} (R[t][i] - R[i][i])`.

    The divisor counts the pairs that are left out. Not defined below three tasks, where the code gives 0.
    Source: `compute_bwt` of LibContinual.
    """
    scores = as_array(matrix)
    tasks = len(scores)
    gains = (scores - scores.diagonal())[np.tril_indices(tasks, -2)]
    return _number(2 * gains.sum() / (tasks * (tasks - 1))) if gains.size else None


def backward_transfer_all_pairs(matrix: Matrix) -> float | None:
    """Mean over all later rows: `(2/(T(T-1))) sum_{t>i} (R[t][i] - R[i][i])`.

    Source: Diaz-Rodriguez et al. 2018; Continuum.
    """
    scores = as_array(matrix)
    gains = (scores - scores.diagonal())[np.tril_indices(len(scores), -1)]
    return _number(gains.mean()) if gains.size else None


def retention(matrix: Matrix) -> float | None:
    """Share of a task's score that is left: `(1/(T-1)) sum_{i<T-1} R[T-1][i] / R[i][i]`.

    A ratio and no score. None where a task scored 0 when it was learned. Printed as "stability"; papers
    differ in what they mean by it.
    """
    scores = as_array(matrix)
    learned = scores.diagonal()[:-1]
    return _number((scores[-1, :-1] / learned).mean()) if learned.size and (learned != 0).all() else None


def learning_accuracy(matrix: Matrix) -> float | None:
    """Mean score of each task just after it was learned: `(1/T) sum_i R[i][i]`; also "plasticity".

    Source: Riemer et al. 2019 (MER). GainLoRA's script prints it as "Fwt".
    """
    return _number(as_array(matrix).diagonal().mean())


def forward_transfer_gem(matrix: Matrix, untrained: Sequence[float | None]) -> float | None:
    """Score just before a task minus the untrained model: `(1/(T-1)) sum_{i>0} (R[i-1][i] - b_i)`.

    Args:
        matrix: needs the cells right above the diagonal, that is scores on tasks not yet learned.
        untrained: `b_i`, T scores of the model before any task.

    Source: GEM, eq. 4; mammoth.
    """
    scores, base = as_array(matrix), _references(untrained, len(matrix))
    gains = scores.diagonal(1) - base[1:]
    return _number(gains.mean()) if gains.size else None


def forward_transfer_no_baseline(matrix: Matrix) -> float | None:
    """Mean score on tasks not learned yet: `(2/(T(T-1))) sum_{t<i} R[t][i]`, with nothing subtracted.

    Source: Continuum; called Transfer for CLIP models on MTIL and X-TAIL.
    """
    later = as_array(matrix)[np.triu_indices(len(matrix), 1)]
    return _number(later.mean()) if later.size else None


def average_all_stages(matrix: Matrix) -> float | None:
    """Mean of the whole matrix, tasks not learned yet included: `(1/T^2) sum_t sum_i R[t][i]`.

    Called Average for CLIP models on MTIL and X-TAIL.
    """
    return _number(as_array(matrix).mean())


def intransigence(matrix: Matrix, joint: Sequence[float | None]) -> float | None:
    """Score of joint training minus the score when just learned: `(1/T) sum_i (j_i - R[i][i])`.

    Args:
        matrix: needs the diagonal.
        joint: `j_i`, the score on task i of a model that learned tasks 0..i at once.

    Source: Chaudhry et al. 2018, eq. 5.
    """
    return _number((_references(joint, len(matrix)) - as_array(matrix).diagonal()).mean())


def forward_transfer_sapt(matrix: Matrix, single: Sequence[float | None]) -> float | None:
    """Score just after a task minus a model that learned that task alone: `(1/T) sum_i (R[i][i] - s_i)`.

    Args:
        matrix: needs the diagonal.
        single: `s_i`, T scores of single-task runs with the same recipe and seed.

    Source: the paper of SAPT; its script subtracts a constant instead.
    """
    return _number((as_array(matrix).diagonal() - _references(single, len(matrix))).mean())


def _references(values: Sequence[float | None], tasks: int) -> Array:
    if len(values) != tasks:
        raise ValueError(f"{tasks} tasks need {tasks} reference scores, got {len(values)}")
    return np.array([np.nan if value is None else value for value in values], dtype=float)


@dataclass(frozen=True)
class Convention:
    """One row of the table of conventions.

    Attributes:
        function: called with the matrix and with what `needs` names.
        title: a definition in one line, for footers.
        higher_is_better: which way the arrow points.
        users: who reports the number in this form.
        needs: further arguments, in order: "sizes", "untrained", "single" or "joint".
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
    Convention(average_anytime, "mean over stages of the mean over seen tasks", True, "iCaRL"),
    Convention(
        average_anytime_pooled,
        "mean over stages of the accuracy on all seen test rows",
        True,
        "PILOT, SD-LoRA, LiteLoRA",
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
    Convention(retention, "last row over diagonal, mean over T-1", True, "papers that print stability"),
    Convention(
        learning_accuracy,
        "mean of the diagonal",
        True,
        "MER; GainLoRA's Fwt; SAPT's Fwt less 50.94",
    ),
    Convention(
        forward_transfer_gem,
        "row before a task minus the untrained model",
        True,
        "GEM, mammoth",
        ("untrained",),
    ),
    Convention(
        forward_transfer_no_baseline,
        "mean of the cells above the diagonal",
        True,
        "Continuum; MTIL, X-TAIL: Transfer",
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
