"""The signed-rank test, Holm's adjustment, Friedman's test and the ranks of two halves of the runs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr, wilcoxon

from benchmark.scoring.statistics_ranks import friedman, half_correlation, holm, signed_rank


def runs(*values):
    return {(seed, "order"): value for seed, value in enumerate(values)}


def test_the_signed_rank_test_sees_a_steady_difference():
    assert signed_rank([0.1 + 0.002 * i for i in range(8)]) == pytest.approx(2 / 2**8)
    assert signed_rank([0.0] * 8) == 1.0
    assert signed_rank([0.3]) is None


def test_the_signed_rank_test_counts_signs_of_shared_ranks():
    # Sizes 1, 1, 2 have ranks 1.5, 1.5, 3, the zero none. The negative sum 1.5 is reached, or fallen below,
    # by three of the eight signs, which are none, the first or the second negative: 2 * 3/8.
    assert signed_rank([0.25, -0.25, 0.5, 0.0]) == 0.75


def test_differences_equal_but_for_rounding_are_ties():
    # 0.7 - 0.6 and 0.4 - 0.3 are not equal in floating point, and -(0.2 - 0.1) is a third value; as ties they
    # rank 2, 2, 2, and a negative sum of 2 or less has the signs none, or any one negative: 2 * 4/8.
    assert len({0.7 - 0.6, 0.4 - 0.3, 0.2 - 0.1}) == 3
    assert signed_rank([0.7 - 0.6, 0.4 - 0.3, -(0.2 - 0.1)]) == 1.0


def every_sign(differences):
    """The exact p-value by trying all signs, as the definition has it."""
    signed = [value for value in differences if value]
    ranks = rankdata(np.abs(signed))
    observed = sum(rank for rank, value in zip(ranks, signed, strict=True) if value > 0)
    smaller = min(observed, ranks.sum() - observed)
    sums = [np.dot(ranks, signs) for signs in product((0, 1), repeat=len(ranks))]
    return min(1.0, 2 * sum(total <= smaller + 1e-9 for total in sums) / len(sums))


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=11).filter(any))  # ties and zeros
@settings(max_examples=60, deadline=None)
def test_the_signed_rank_test_is_exact_with_ties(differences):
    assert signed_rank(differences) == pytest.approx(every_sign(differences), abs=1e-12)


@given(st.lists(st.integers(-1000, 1000).filter(bool), min_size=2, max_size=50, unique_by=abs))
@settings(max_examples=60, deadline=None)
def test_without_ties_it_gives_what_scipy_gives(differences):
    assert signed_rank(differences) == pytest.approx(float(wilcoxon(differences, method="exact").pvalue))


def test_holm_multiplies_the_smallest_most():
    # 3 * 0.01, then 2 * 0.04 = 0.08, then 1 * 0.03 would be below the one before it
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"b": 0.03, "c": 0.06, "a": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_holm_agrees_with_statsmodels(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is the dev extra")
    named = {str(place): p for place, p in enumerate(p_values)}
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert list(map(holm(named).get, named)) == pytest.approx(list(expected))


def test_friedman_ranks_within_blocks():
    # Ranks by block: a 1 1 1 1, b 2 2 2 3, c 3 3 3 2; means 1, 2.25, 2.75.
    scores = {"a": runs(9, 9, 9, 9), "b": runs(5, 5, 5, 4), "c": runs(4, 4, 4, 5)}
    found = friedman(scores)
    assert found.mean_ranks == {"a": 1.0, "b": 2.25, "c": 2.75} and found.blocks == 4
    # 12 * 4 / (3 * 4) * (1 + 2.25^2 + 2.75^2 - 3 * 4^2 / 4) = 4 * (13.625 - 12)
    assert found.statistic == pytest.approx(6.5)
    # Demsar, table 5: q(0.05, 3) = 2.343; 2.343 * sqrt(3 * 4 / (6 * 4))
    assert found.critical_difference == pytest.approx(2.343 * 0.5**0.5, abs=1e-3)


def test_friedman_needs_three_methods_and_a_difference():
    assert friedman({"a": runs(1, 2), "b": runs(2, 1)}) is None
    assert friedman({"a": runs(1, 1), "b": runs(1, 1), "c": runs(1, 1)}) is None
    assert friedman({"a": runs(1, 2), "b": runs(2, 1), "c": {(0, "elsewhere"): 1.0}}) is None
    assert friedman({}) is None


def test_two_halves_of_the_runs_rank_alike_or_not():
    # The first run ranks a, b, c; the second one a, c, b: rho = 1 - 6 (0 + 1 + 1) / (3 (9 - 1)) = 0.5.
    assert half_correlation(np.array([[3.0, 3.0], [2.0, 1.0], [1.0, 2.0]])) == pytest.approx(0.5)
    # One order in all runs, and its reverse in half of them: of the three ways to halve four runs, two put
    # one run of each kind in both halves, where all means tie.
    assert half_correlation(np.array([[3.0] * 4, [2.0] * 4, [1.0] * 4])) == pytest.approx(1.0)
    assert half_correlation(np.array([[3.0, 1.0] * 2, [2.0, 2.0] * 2, [1.0, 3.0] * 2])) is None
    assert half_correlation(np.ones((2, 6))) is None is half_correlation(np.arange(3.0).reshape(3, 1))


def test_the_correlation_of_halves_is_the_mean_of_scipys():
    table = np.random.default_rng(3).normal(size=(6, 3))
    splits = [([0], [1, 2]), ([1], [0, 2]), ([2], [0, 1])]
    expected = [spearmanr(table[:, one].mean(1), table[:, two].mean(1)).statistic for one, two in splits]
    assert half_correlation(table) == pytest.approx(np.mean(expected))
    many = np.random.default_rng(4).normal(size=(6, 14))  # 3,432 ways: some of them, the same each time
    assert half_correlation(many) == half_correlation(many.copy())
