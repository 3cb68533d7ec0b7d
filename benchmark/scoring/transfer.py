"""What learning one task does to others: backward and forward transfer, each convention under its own name.

The rules are those of `benchmark.scoring.metrics`: a number that needs a missing cell is None, and so is one
that needs a second task where there is one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmark.scoring.matrix import Array, Matrix, as_array, number


def backward_transfer(matrix: Matrix) -> float | None:
    """Last score minus the score when just learned: `(1/(T-1)) sum_{i<T-1} (R[T-1][i] - R[i][i])`.

    Source: GEM, eq. 3. Used by mammoth, EasyCL, TRACE.
    """
    scores = as_array(matrix)
    gains = (scores[-1] - scores.diagonal())[:-1]
    return number(gains.mean()) if gains.size else None


def backward_transfer_sapt(matrix: Matrix) -> float | None:
    """GEM's sum divided by T: `(1/T) sum_i (R[T-1][i] - R[i][i])`; smaller in magnitude by (T-1)/T.

    Source: the score script of SAPT and GainLoRA.
    """
    scores = as_array(matrix)
    return number((scores[-1] - scores.diagonal()).mean()) if len(scores) > 1 else None


def backward_transfer_losses(matrix: Matrix) -> float | None:
    """GEM's sum with gains counted as 0, divided by T: `(1/T) sum_i min(R[T-1][i] - R[i][i], 0)`.

    Never positive. Source: the script of TreeLoRA, whose tables print it with the sign turned.
    """
    scores = as_array(matrix)
    if len(scores) < 2:
        return None
    return number(np.minimum(scores[-1] - scores.diagonal(), 0).mean())


def backward_transfer_libcontinual(matrix: Matrix) -> float | None:
    """All pairs but neighbours: `(2/(T(T-1))) sum_t sum_{i<t-1} (R[t][i] - R[i][i])`.

    The divisor counts the pairs that are left out. Not defined below three tasks, where the code gives 0.
    Source: `compute_bwt` of LibContinual.
    """
    scores = as_array(matrix)
    tasks = len(scores)
    gains = (scores - scores.diagonal())[np.tril_indices(tasks, -2)]
    return number(2 * gains.sum() / (tasks * (tasks - 1))) if gains.size else None


def backward_transfer_all_pairs(matrix: Matrix) -> float | None:
    """Mean over all later rows: `(2/(T(T-1))) sum_{t>i} (R[t][i] - R[i][i])`.

    Source: Diaz-Rodriguez et al. 2018; Continuum.
    """
    scores = as_array(matrix)
    gains = (scores - scores.diagonal())[np.tril_indices(len(scores), -1)]
    return number(gains.mean()) if gains.size else None


def backward_transfer_libcontinual_overall(matrix: Matrix) -> float | None:
    """Mean over stages of LibContinual's backward transfer up to the stage, from the third task on.

    `(1/(T-2)) sum_{s=2}^{T-1} B_s`, with `B_s` that of `backward_transfer_libcontinual` on tasks 0..s.
    Source: LibContinual, which prints it as "Overall BwT".
    """
    return _overall(matrix, backward_transfer_libcontinual)


def forgetting_libcontinual(matrix: Matrix) -> float | None:
    """Diagonal minus last row without the last two tasks: `(1/(T-1)) sum_{i<T-2} (R[i][i] - R[T-1][i])`.

    The divisor counts the task that is left out. Not defined below three tasks, where the code gives 0.
    Source: `compute_frgt` of LibContinual.
    """
    scores = as_array(matrix)
    drops = (scores.diagonal() - scores[-1])[:-2]
    return number(drops.sum() / (len(scores) - 1)) if drops.size else None


def forgetting_libcontinual_overall(matrix: Matrix) -> float | None:
    """Mean over stages of LibContinual's forgetting up to the stage, from the third task on.

    `(1/(T-2)) sum_{s=2}^{T-1} F_s`, with `F_s` that of `forgetting_libcontinual` on tasks 0..s.
    Source: LibContinual, which prints it as "Overall Frgt".
    """
    return _overall(matrix, forgetting_libcontinual)


def _overall(matrix: Matrix, of_stage: Callable[[Matrix], float | None]) -> float | None:
    scores = as_array(matrix)
    stages = [of_stage(scores[: s + 1, : s + 1]) for s in range(2, len(scores))]
    known = [stage for stage in stages if stage is not None]
    return sum(known) / len(known) if known and len(known) == len(stages) else None


def positive_backward_transfer(matrix: Matrix) -> float | None:
    """What of the transfer over all later rows is gain: `max(0, BWT)`, by `backward_transfer_all_pairs`.

    Source: Diaz-Rodriguez et al. 2018 (BWT+); Continuum.
    """
    transfer = backward_transfer_all_pairs(matrix)
    return None if transfer is None else max(0.0, transfer)


def remembering(matrix: Matrix, full: float = 1.0) -> float | None:
    """What is left of a full score after the loss over all later rows: `full - max(0, -BWT)`.

    Args:
        matrix: needs the lower triangle.
        full: the score of a perfect answer in the unit of the matrix, 1 or 100.

    Source: Diaz-Rodriguez et al. 2018 (REM); Continuum.
    """
    transfer = backward_transfer_all_pairs(matrix)
    return None if transfer is None else full - max(0.0, -transfer)


def retention(matrix: Matrix) -> float | None:
    """Share of a task's score that is left: `(1/(T-1)) sum_{i<T-1} R[T-1][i] / R[i][i]`.

    A ratio and no score. None where a task scored 0 when it was learned. Printed as "stability"; papers
    differ in what they mean by it.
    """
    scores = as_array(matrix)
    learned = scores.diagonal()[:-1]
    return number((scores[-1, :-1] / learned).mean()) if learned.size and (learned != 0).all() else None


def learning_accuracy(matrix: Matrix) -> float | None:
    """Mean score of each task just after it was learned: `(1/T) sum_i R[i][i]`; also "plasticity".

    Source: Riemer et al. 2019 (MER). GainLoRA's script prints it as "Fwt".
    """
    return number(as_array(matrix).diagonal().mean())


def forward_transfer_gem(matrix: Matrix, untrained: Sequence[float | None]) -> float | None:
    """Score just before a task minus the untrained model: `(1/(T-1)) sum_{i>0} (R[i-1][i] - b_i)`.

    Args:
        matrix: needs the cells right above the diagonal, that is scores on tasks not yet learned.
        untrained: `b_i`, T scores of the model before any task.

    Source: GEM, eq. 4; mammoth.
    """
    scores, base = as_array(matrix), references_of(untrained, len(matrix))
    gains = scores.diagonal(1) - base[1:]
    return number(gains.mean()) if gains.size else None


def forward_transfer_continuum(matrix: Matrix) -> float | None:
    """Mean score on the task that is learned next: `(1/(T-1)) sum_{i>0} R[i-1][i]`, nothing subtracted.

    GEM's without the untrained model. Source: Continuum.
    """
    following = as_array(matrix).diagonal(1)
    return number(following.mean()) if following.size else None


def forward_transfer_column_means(matrix: Matrix) -> float | None:
    """Mean of the column means above the diagonal: `(1/(T-1)) sum_{i>0} (1/i) sum_{t<i} R[t][i]`.

    Every task but the first counts the same, however often it was scored. Source: MTIL and X-TAIL (RAIL,
    CoDyRA), which call it Transfer.
    """
    scores = as_array(matrix)
    columns = [scores[:i, i].mean() for i in range(1, len(scores))]
    return number(np.mean(columns)) if columns else None


def forward_transfer_sapt(matrix: Matrix, single: Sequence[float | None]) -> float | None:
    """Score just after a task minus a model that learned that task alone: `(1/T) sum_i (R[i][i] - s_i)`.

    Args:
        matrix: needs the diagonal.
        single: `s_i`, T scores of single-task runs with the same recipe and seed.

    Source: the paper of SAPT; its script subtracts a constant instead.
    """
    return number((as_array(matrix).diagonal() - references_of(single, len(matrix))).mean())


def intransigence(matrix: Matrix, joint: Sequence[float | None]) -> float | None:
    """Score of joint training minus the score when just learned: `(1/T) sum_i (j_i - R[i][i])`.

    Args:
        matrix: needs the diagonal.
        joint: `j_i`, the score on task i of a model that learned tasks 0..i at once; often that of one model
            that learned all tasks is taken instead, which is lower where classes of later tasks compete.

    Source: Chaudhry et al. 2018, eq. 5.
    """
    return number((references_of(joint, len(matrix)) - as_array(matrix).diagonal()).mean())


def references_of(values: Sequence[float | None], tasks: int) -> Array:
    """Return the `(T,)` reference scores, NaN where one is None.

    Raises:
        ValueError: there are not T of them.
    """
    if len(values) != tasks:
        raise ValueError(f"{tasks} tasks need {tasks} reference scores, got {len(values)}")
    return np.array([np.nan if value is None else value for value in values], dtype=float)
