"""The statistics of outcomes that are planned before the runs, worked by hand and beside SciPy."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from benchmark.scoring.curve_area import height_difference, mean_height
from benchmark.scoring.one_sided import bound_mean, p_above, runs_needed
from benchmark.scoring.rank_permutation import double_ranks, permute_auc, sums

# --- bounds of a mean


def test_bounds_by_hand() -> None:
    # 1, 2, 3: mean 2, deviation 1, standard error 1 / sqrt 3; t of 0.95 with two degrees is 2.919986.
    found = bound_mean([1.0, 2.0, 3.0])
    assert found is not None and (found.n, found.mean, found.deviation) == (3, 2.0, 1.0)
    assert found.lower == pytest.approx(2 - 2.919986 / math.sqrt(3), abs=1e-6)
    assert found.upper == pytest.approx(2 + 2.919986 / math.sqrt(3), abs=1e-6)
    assert bound_mean([1.0]) is None and p_above([1.0], 0.0) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_non_inferiority_is_scipys_one_sided_t_test(seed: int, margin: float) -> None:
    differences = np.random.RandomState(seed).normal(-0.3, 1.0, 6).tolist()
    theirs = stats.ttest_1samp(differences, -margin, alternative="greater")
    assert p_above(differences, -margin) == pytest.approx(theirs.pvalue)
    found = bound_mean(differences)
    assert found is not None
    assert found.lower == pytest.approx(theirs.confidence_interval(0.95).low)
    # The bound and the test say the same.
    assert (found.lower > -margin) == (theirs.pvalue < 0.05)


def test_equal_differences_need_no_test() -> None:
    assert (
        p_above([0.5, 0.5], 0.0) == 0.0
        and p_above([-0.5, -0.5], 0.0) == 1.0
        and p_above([0.0] * 3, 0.0) == 1.0
    )


def test_runs_needed_reach_the_power_and_no_fewer_do() -> None:
    # Cohen's table for a one-sided one-sample t test at d = 0.5, level 0.05, power 0.8 has 27.
    assert runs_needed(1.0, 0.5) == 27
    assert runs_needed(2.0, 1.0) == 27, "only the ratio counts"
    assert runs_needed(0.0, 1.0) == 2 and runs_needed(1.0, 0.0) is None and runs_needed(1.0, -1.0) is None
    assert runs_needed(1.0, 1e-6) is None
    drawn = np.random.RandomState(0).normal(0.5, 1.0, (4000, 27))
    found = (stats.ttest_1samp(drawn, 0.0, axis=1, alternative="greater").pvalue < 0.05).mean()
    # 4000 draws at 0.8 deviate by sqrt(0.8 x 0.2 / 4000) = 0.0063.
    assert abs(found - 0.8) < 0.03


# --- AUC within runs


def test_doubled_ranks_of_ties() -> None:
    # 3 and 3 share ranks 2 and 3: 2.5, doubled 5.
    assert double_ranks([5.0, 3.0, 3.0, 1.0]) == [8, 5, 5, 2]


def test_sums_count_every_subset() -> None:
    ranks = [2, 5, 5, 8, 10]
    expected: dict[int, int] = {}
    for chosen in combinations(ranks, 3):
        expected[sum(chosen)] = expected.get(sum(chosen), 0) + 1
    assert sums(ranks, 3) == expected and sum(expected.values()) == math.comb(5, 3)


def test_auc_of_one_run_by_hand() -> None:
    # Needed have 3 and 2, others 2 and 1. Pairs: 3 wins both; 2 ties one and wins one: 3.5 of 4.
    # Of the 6 choices of two of (3, 2, 2, 1) the pairs {3, 2} and {3, 2} have 3.5: no other as many. p = 2/6.
    found = permute_auc([([True, True, False, False], [3.0, 2.0, 2.0, 1.0])])
    assert found is not None and found.aucs == (0.875,) and found.p == pytest.approx(1 / 3)


def test_auc_of_two_runs_is_tested_by_all_permutations_within_runs() -> None:
    runs = [
        ([True, False, False], [0.9, 0.1, 0.5]),
        ([False, True, True, False], [0.3, 0.2, 0.8, -1.0]),
        ([True, True], [1.0, 2.0]),  # of one kind: says nothing
    ]
    found = permute_auc(runs)
    # Run 1: 0.9 beats both, AUC 1. Run 2: 0.2 beats one of two, 0.8 both: 3 of 4.
    assert found is not None and found.aucs == (1.0, 0.75) and found.mean == 0.875

    def auc(kinds: tuple[int, ...], numbers: list[float]) -> float:
        yes = [numbers[i] for i in kinds]
        no = [x for i, x in enumerate(numbers) if i not in kinds]
        return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))

    firsts = [auc(kinds, runs[0][1]) for kinds in combinations(range(3), 1)]
    seconds = [auc(kinds, runs[1][1]) for kinds in combinations(range(4), 2)]
    as_large = [a + b >= 1.75 - 1e-12 for a, b in product(firsts, seconds)]
    assert found.p == pytest.approx(np.mean(as_large))


def test_auc_needs_tasks_of_both_kinds() -> None:
    assert permute_auc([([True, True], [1.0, 2.0])]) is None and permute_auc([]) is None


def test_auc_under_chance_is_rarely_significant() -> None:
    drawn = np.random.RandomState(0)
    kinds = [True] * 4 + [False] * 5
    p_values = []
    for _ in range(300):
        found = permute_auc([(kinds, drawn.normal(size=9).tolist()) for _ in range(3)])
        assert found is not None
        p_values.append(found.p)
    # 300 draws at 0.05 deviate by sqrt(0.05 x 0.95 / 300) = 0.0126.
    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * 0.0126


# --- curves


def test_mean_height_by_hand() -> None:
    # From 0 to 0.5 the line falls from 4 to 2, mean 3; from 0.5 to 1 it stays at 2: (3 + 2) / 2.
    points = [(0.5, 2.0), (0.0, 4.0), (1.0, 2.0)]
    assert mean_height(points, 0.0, 1.0) == 2.5
    # From 0.25, where the line is at 3, to 0.5: (3 + 2) / 2.
    assert mean_height(points, 0.25, 0.5) == 2.5
    with pytest.raises(ValueError, match="no mean height"):
        mean_height(points, 0.5, 1.5)


def test_points_of_equal_reduction_count_by_their_mean_and_curves_only_where_both_are() -> None:
    first = [(0.0, 1.0), (0.0, 3.0), (1.0, 2.0)]  # flat at 2
    second = [(0.5, 1.0), (0.75, 1.0), (2.0, 7.0)]
    # Shared is 0.5 to 1. The second: 1 to 0.75, then up by 6 over 1.25, at 1 it is 2.2:
    # (1 x 0.25 + 1.6 x 0.25) / 0.5 = 1.3. The difference is 0.7.
    assert height_difference(first, second) == pytest.approx(0.7)
    assert height_difference([(0.5, 1.0)], second) is None
