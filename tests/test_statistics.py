"""Spreads, intervals and tiers on runs whose answer is known beforehand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from benchmark.scoring.statistics import (
    bootstrap_interval,
    compare,
    friedman,
    holm,
    signed_rank,
    spread,
    student_interval,
    tiers,
)


def runs(*values):
    return {(seed, "order"): value for seed, value in enumerate(values)}


def test_spread_is_the_mean_and_the_sample_deviation():
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))  # sqrt((1 + 1) / (2 - 1))
    assert spread([4.0]) == (4.0, None)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_the_interval_is_seeded_and_holds_the_mean():
    values = [0.1, 0.4, 0.2, 0.5, 0.3]
    low, high = bootstrap_interval(values)
    assert 0.1 < low < 0.3 < high < 0.5
    assert bootstrap_interval(values) == (low, high)
    wider = bootstrap_interval(values, level=0.99)
    assert wider[0] <= low and wider[1] >= high
    assert bootstrap_interval([0.1]) is None
    assert bootstrap_interval([0.2, 0.2, 0.2]) == (pytest.approx(0.2), pytest.approx(0.2))


def test_methods_are_compared_on_shared_runs_alone():
    first = {(0, "a"): 0.9, (1, "a"): 0.8, (0, "b"): 0.7}
    second = {(0, "a"): 0.5, (1, "a"): 0.6, (7, "a"): 0.0}
    result = compare(first, second)
    assert result.n == 2 and result.difference == pytest.approx(0.3)
    assert not result.distinguishable  # two runs are too few whatever they say
    assert compare(first, {}).difference is None


def test_the_signed_rank_test_sees_a_steady_difference():
    better = runs(*(0.8 + 0.001 * i for i in range(8)))
    worse = runs(*(0.7 - 0.001 * i for i in range(8)))
    assert compare(better, worse).p == pytest.approx(2 / 2**8)
    assert compare(better, better).p == 1.0
    assert not compare(better, better).distinguishable


def test_the_signed_rank_test_counts_signs_of_shared_ranks():
    # Sizes 1, 1, 2 have ranks 1.5, 1.5, 3, the zero none. The negative sum 1.5 is reached, or fallen below,
    # by three of the eight signs, which are none, the first or the second negative: 2 * 3/8.
    assert signed_rank([0.25, -0.25, 0.5, 0.0]) == 0.75


@given(
    st.one_of(
        st.lists(st.integers(-3, 3), min_size=2, max_size=7),  # ties and zeros
        st.lists(st.integers(-3, 3), min_size=14, max_size=20),
        st.lists(st.floats(-1, 1), min_size=2, max_size=60, unique_by=abs),
    )
)
@settings(max_examples=60, deadline=None)
def test_the_signed_rank_test_gives_what_scipy_gives(differences):
    expected = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
    assert signed_rank(differences) == expected


def test_methods_that_cannot_be_told_apart_share_a_tier():
    scores = {
        "noisy": runs(0.80, 0.70, 0.90),
        "steady": runs(0.79, 0.72, 0.88),
        "low": runs(0.50, 0.40, 0.60),
        "lowest": runs(0.30, 0.20, 0.40),
    }
    assert tiers(scores) == {"noisy": 1, "steady": 1, "low": 2, "lowest": 3}
    assert tiers(scores, higher_is_better=False) == {"lowest": 1, "low": 2, "noisy": 3, "steady": 3}


def test_pairing_finds_what_the_spread_hides():
    # Orders differ by 0.4, the methods by 0.02 in each of them.
    assert tiers({"a": runs(0.92, 0.52, 0.72), "b": runs(0.90, 0.50, 0.70)}) == {"a": 1, "b": 2}


def test_too_few_runs_are_not_ranked():
    assert tiers({"a": runs(0.9, 0.8), "b": runs(0.1, 0.2)}) == {"a": None, "b": None}
    assert tiers({"a": runs(0.9, 0.8, 0.7), "b": runs(0.1)}) == {"a": None, "b": None}
    three = {"a": runs(0.9, 0.8, 0.7), "b": runs(0.1, 0.2, 0.1), "c": runs(0.99)}
    assert tiers(three) == {"a": 1, "b": 2, "c": None}


def test_runs_without_a_partner_prove_nothing():
    elsewhere = {(seed, "other order"): 0.1 for seed in range(3)}
    assert tiers({"a": runs(0.9, 0.9, 0.9), "b": elsewhere}) == {"a": 1, "b": 1}
    assert tiers({}) == {}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_runs_changes_nothing(values, random):
    first, second = runs(*values), runs(*reversed(values))
    keys = list(first)
    random.shuffle(keys)
    shuffled = {key: first[key] for key in keys}
    assert compare(shuffled, second) == compare(first, second)


def test_student_is_wider_than_the_bootstrap_where_values_are_few():
    # mean 2, deviation 1, t(0.975, 2) = 4.303: 2 +- 4.303 / sqrt 3 = 2 +- 2.484
    assert student_interval([1.0, 2.0, 3.0]) == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert bootstrap_interval([1.0, 2.0, 3.0])[0] >= 1.0
    assert student_interval([1.0]) is None
    # All differences have one sign, which three runs do by chance one time in four: no tier of its own.
    assert not compare(runs(0.7, 0.8, 0.9), runs(0.6, 0.6, 0.6)).distinguishable


def test_holm_multiplies_the_smallest_most():
    # 3 * 0.01, then 2 * 0.04 = 0.08, then 1 * 0.03 would be below the one before it
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"b": 0.03, "c": 0.06, "a": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


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
