"""Spreads, intervals, shared runs and twins, on runs whose answer is known beforehand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.scoring.statistics import common_runs, compare, find_twins, spread, student_interval
from benchmark.scoring.statistics_normalised import Width, measure_gap, summarise


def runs(*values):
    return {(seed, "order"): value for seed, value in enumerate(values)}


def test_spread_is_the_mean_and_the_sample_deviation():
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))  # sqrt((1 + 1) / (2 - 1))
    assert spread([4.0]) == (4.0, None)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_methods_are_compared_on_shared_runs_alone():
    first = {(0, "a"): 0.9, (1, "a"): 0.8, (0, "b"): 0.7}
    second = {(0, "a"): 0.5, (1, "a"): 0.6, (7, "a"): 0.0}
    result = compare(first, second)
    assert result.n == 2 and result.difference == pytest.approx(0.3)  # (0.4 + 0.2) / 2
    assert result.standard_error == pytest.approx(0.1)  # sqrt((0.1^2 + 0.1^2) / 1) / sqrt 2
    assert compare(first, {}).difference is None is compare(first, {}).standard_error


def test_a_run_on_other_data_is_another_run():
    """Seed and order alike, the rows not: the pair would compare two test sets."""
    first = {(0, "order", "f00d"): 0.9, (1, "order", "f00d"): 0.9}
    second = {(0, "order", "f00d"): 0.5, (1, "order", "beef"): 0.1}
    assert compare(first, second).differences == (pytest.approx(0.4),)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_runs_changes_nothing(values, random):
    first, second = runs(*values), runs(*reversed(values))
    keys = list(first)
    random.shuffle(keys)
    shuffled = {key: first[key] for key in keys}
    assert compare(shuffled, second) == compare(first, second)


def test_the_interval_of_a_mean_is_students():
    # mean 2, deviation 1, t(0.975, 2) = 4.303: 2 +- 4.303 / sqrt 3 = 2 +- 2.484
    assert student_interval([1.0, 2.0, 3.0]) == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert student_interval([1.0]) is None


def test_a_table_stands_on_the_runs_that_fill_most_of_it():
    ten, three, other = range(10), range(3), range(20, 23)
    # Six rows of ten fill 60 runs, all eight rows on three runs 24.
    assert common_runs({f"m{i}": ten for i in range(6)} | {"a": three, "b": three}) == frozenset(ten)
    # One row of ten fills 10 runs; eight rows on three runs 24.
    assert common_runs({"long": ten} | {f"m{i}": three for i in range(7)}) == frozenset(three)
    # Five runs of two rows or two runs of five: equal runs, more runs win.
    equal = {"a": range(5), "b": range(5), "c": range(2), "d": range(2), "e": range(2)}
    assert common_runs(equal) == frozenset(range(5))
    # Two rows of three runs can be compared, however many stand on one.
    assert common_runs({"a": three, "b": three} | {f"m{i}": [0] for i in range(9)}) == frozenset(three)
    assert common_runs({"a": three, "b": other, "c": other}) == frozenset(other)
    # References of ten runs do not set two methods of three apart, nor one that may be read beside them.
    references = {f"reference {i}": ten for i in range(6)}
    assert common_runs(references | {"a": three, "b": three}, {"a", "b"}) == frozenset(three)
    assert common_runs(references | {"a": three}, {"a"}) == frozenset(three)
    assert common_runs({"a": ten, "r": three, "s": three}, {"a"}) == frozenset(three), "ten stand alone"
    assert common_runs({"a": []}) == common_runs({}) == frozenset()


def test_twins_are_equal_on_all_runs_that_they_share():
    scores = {
        "first": {0: "ab", 1: "cd"},
        "same": {0: "ab", 1: "cd", 2: "ef"},
        "once": {0: "ab", 1: "cX"},  # equal in one run, not in all
        "elsewhere": {7: "ab"},  # no shared run
        "also": {1: "cd"},
    }
    assert find_twins(scores) == [["first", "same", "also"]]
    assert find_twins({"alone": {0: "a"}}) == []


def test_a_gap_must_be_wide_sure_and_seen_often_enough():
    floor, ceiling = runs(0.50, 0.52, 0.48, 0.50, 0.50), runs(0.70, 0.71, 0.69, 0.70, 0.70)
    found = measure_gap(floor, ceiling)
    # Differences 0.20, 0.19, 0.21, 0.20, 0.20: mean 0.2, deviation sqrt(0.0002 / 4), error that over sqrt 5
    assert (found.mean, found.n) == (pytest.approx(0.2), 5)
    assert found.standard_error == pytest.approx((0.0002 / 4) ** 0.5 / 5**0.5)
    assert found.refusal == ""
    assert "share 4 runs" in Width(0.2, 0.001, 4).refusal
    assert "gap is 9.9 points" in Width(0.099, 0.001, 5).refusal
    assert "gap is 4.0 standard errors" in Width(0.2, 0.05, 10).refusal
    assert Width(0.10, 0.02, 5).refusal == ""  # the limits themselves will do: 5 errors, 10 points, 5 runs
    assert measure_gap(floor, {}) is None is measure_gap(runs(0.1), runs(0.9))


def test_a_mean_over_boards_tells_what_one_board_decides():
    found = summarise([0.1, 0.2, 0.9])
    assert (found.mean, found.median) == (pytest.approx(0.4), 0.2)
    # Without 0.9: 0.15; without 0.1: 0.55; without 0.2: 0.5.
    assert (found.low, found.high) == (pytest.approx(0.15), pytest.approx(0.55))
    assert summarise([0.3]) is None
