"""Intervals over runs and test rows, on scores whose noise is known."""

import numpy as np
import pytest

from benchmark.scoring.statistics_bootstrap import hierarchical_interval


def test_without_noise_there_is_no_interval_and_with_one_run_none_at_all():
    sure = [[np.ones(20), np.ones(10)]] * 4
    assert hierarchical_interval(sure) == (1.0, 1.0)
    assert hierarchical_interval(sure[:1]) is None


def binomial(runs, rows, seed, shared):
    """Runs that answer rows right by chance; where the rows are shared, all runs answer them alike."""
    drawn = np.random.default_rng(seed)
    answers = [drawn.random(rows) < 0.5 for _ in range(1 if shared else runs)]
    return [[answers[0 if shared else run].astype(float)] for run in range(runs)]


def test_rows_of_one_run_each_average_out_over_runs():
    # 8 runs of 400 rows of their own: the mean has the error sqrt(0.25 / 3200) = 0.0088, and runs differ by
    # no more than their rows do, so that both levels together give sqrt 2 of it: 1.96 * 0.0125 to a side.
    low, high = hierarchical_interval(binomial(8, 400, 0, shared=False))
    assert high - low == pytest.approx(2 * 1.96 * 0.0125, rel=0.35)
    assert low < 0.5 < high


def test_a_shared_test_set_does_not_average_out():
    """Eight runs that answer the same 400 rows alike are no surer than one: 1.96 * sqrt(0.25 / 400)."""
    runs = binomial(8, 400, 0, shared=True)
    numbers = [[np.arange(400)]] * 8
    low, high = hierarchical_interval(runs, numbers)
    assert high - low == pytest.approx(2 * 1.96 * 0.025, rel=0.1)
    alone = hierarchical_interval(runs)
    assert alone[1] - alone[0] < 0.5 * (high - low)


def test_runs_that_differ_widen_it():
    drawn = np.random.default_rng(2)
    runs = [[(drawn.random(2000) < skill).astype(float)] for skill in (0.3, 0.5, 0.7, 0.5, 0.4, 0.6)]
    low, high = hierarchical_interval(runs, [[np.arange(2000)]] * 6)
    # Skills have the deviation 0.129 as a bootstrap sees it (divisor n): 1.96 * 0.129 / sqrt 6 to a side.
    assert high - low == pytest.approx(2 * 1.96 * 0.129 / 6**0.5, rel=0.15)


def test_the_same_runs_give_the_same_interval_and_a_wider_level_a_wider_one():
    runs = binomial(5, 50, 3, shared=False)
    assert hierarchical_interval(runs) == hierarchical_interval(runs)
    narrow, wide = hierarchical_interval(runs, level=0.8), hierarchical_interval(runs, level=0.99)
    assert wide[0] <= narrow[0] < narrow[1] <= wide[1]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    drawn = np.random.default_rng(5)
    numbers = [[np.arange(60), np.arange(60, 120)]] * 6
    covered = 0
    for _ in range(200):
        easy = drawn.normal(size=(2, 60))  # how easy each test row is, for every run
        runs = [
            [(row + drawn.normal(0, 0.5) + drawn.normal(size=60) > 0) * 1.0 for row in easy] for _ in range(6)
        ]
        low, high = hierarchical_interval(runs, numbers, resamples=300)
        covered += low <= 0.5 <= high
    # Few runs make a percentile bootstrap a little short; Student's reach at six runs would be 1.3 times it.
    assert covered / 200 > 0.85


def test_scores_and_numbers_of_rows_must_fit():
    with pytest.raises(ValueError, match="a number for each"):
        hierarchical_interval([[np.ones(3)]] * 2, [[np.arange(2)]] * 2)
    with pytest.raises(ValueError, match="needs test rows"):
        hierarchical_interval([[np.ones(0)]] * 2)
