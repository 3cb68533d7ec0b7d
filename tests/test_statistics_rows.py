"""Intervals over runs and test rows, on scores whose noise is known."""

import numpy as np
import pytest
from scipy.stats import t

from benchmark.scoring.statistics_rows import row_interval


def test_two_runs_of_two_rows_by_hand():
    # Means 1/2 and 1: v_runs = 0.125 / 2 = 1/16, one degree of freedom. In the first run row 0 is 1/2 above
    # its task's mean and row 1 as much below, each for 1/4 of the mean: with N / (N - 1) = 2 their pulls are
    # -+ sqrt(2) / 8, v_rows = 2 * 2 / 64 = 1/16, one degree more. Satterthwaite: (2/16)^2 / (2/16^2) = 2.
    # t of two degrees times sqrt(2/16) is 1.52, less than the 3.18 of t of one times sqrt(1/16): rows cannot
    # make two runs surer than they are.
    low, high = row_interval([[np.array([1.0, 0.0])], [np.array([1.0, 1.0])]], [[np.arange(2)]] * 2)
    assert t.ppf(0.975, 2) * (1 / 8) ** 0.5 == pytest.approx(1.52, abs=0.005)
    reach = t.ppf(0.975, 1) * (1 / 16) ** 0.5
    assert (low, high) == (pytest.approx(0.75 - reach), pytest.approx(0.75 + reach))


def test_without_noise_there_is_no_width_and_one_run_has_its_rows_alone():
    sure = [[np.ones(20), np.ones(10)]] * 4
    assert row_interval(sure) == (1.0, 1.0)
    # p (1 - p) / (N - 1) of 101 rows, 50 of them right.
    rows = np.repeat([1.0, 0.0], [50, 51])
    low, high = row_interval([[rows]])
    share = 50 / 101
    assert high - low == pytest.approx(2 * t.ppf(0.975, 100) * (share * (1 - share) / 100) ** 0.5)


def binomial(runs, rows, seed, shared):
    """Runs that answer rows right by chance; where the rows are shared, all runs answer them alike."""
    generator = np.random.default_rng(seed)
    answers = [generator.random(rows) < 0.5 for _ in range(1 if shared else runs)]
    return [[answers[0 if shared else run].astype(float)] for run in range(runs)]


def test_rows_of_one_run_each_average_out_over_runs():
    # 40 runs of 400 rows of their own: the mean has the error sqrt(0.25 / 16000) = 0.0040, and runs differ by
    # no more than their rows do, so that both levels together give sqrt 2 of it.
    low, high = row_interval(binomial(40, 400, 0, shared=False))
    assert high - low == pytest.approx(2 * 1.99 * 0.0040 * 2**0.5, rel=0.2)
    assert low < 0.5 < high


def test_a_shared_test_set_does_not_average_out():
    """Eight runs that answer the same 400 rows alike are no surer than one: 1.96 * sqrt(0.25 / 400)."""
    runs = binomial(8, 400, 0, shared=True)
    low, high = row_interval(runs, [[np.arange(400)]] * 8)
    assert high - low == pytest.approx(2 * 1.966 * 0.025, rel=0.01)
    alone = row_interval(runs)
    assert alone[1] - alone[0] < 0.5 * (high - low)


def test_runs_that_differ_have_students_reach():
    generator = np.random.default_rng(2)
    runs = [[(generator.random(2000) < skill).astype(float)] for skill in (0.3, 0.5, 0.7, 0.5, 0.4, 0.6)]
    low, high = row_interval(runs, [[np.arange(2000)]] * 6)
    # The deviation of the skills is 0.141, and t of five degrees of freedom 2.571; rows add little.
    assert high - low == pytest.approx(2 * 2.571 * 0.141 / 6**0.5, rel=0.15)


def test_a_wider_level_is_a_wider_interval():
    runs = binomial(5, 50, 3, shared=False)
    narrow, wide = row_interval(runs, level=0.8), row_interval(runs, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(count):
    generator = np.random.default_rng(5)
    numbers = [[np.arange(60), np.arange(60, 120)]] * count
    covered = 0
    for _ in range(1000):
        easy = generator.normal(size=(2, 60))  # how easy each test row is, for every run
        runs = [
            [(row + generator.normal(0, 0.5) + generator.normal(size=60) > 0) * 1.0 for row in easy]
            for _ in range(count)
        ]
        low, high = row_interval(runs, numbers)
        covered += low <= 0.5 <= high
    # Two standard errors of a share of 1,000 are 0.014.
    assert covered / 1000 > 0.95 - 0.014


def test_scores_and_numbers_of_rows_must_fit():
    with pytest.raises(ValueError, match="a number for each"):
        row_interval([[np.ones(3)]] * 2, [[np.arange(2)]] * 2)
    with pytest.raises(ValueError, match="needs test rows"):
        row_interval([[np.ones(0)]] * 2)
