"""Which methods could be the best: against statsmodels, by hand, and on thousands of simulated tables."""

import numpy as np
import pytest

from benchmark.scoring.statistics_best import (
    could_be_best,
    critical_difference,
    critical_range,
    residual_deviation,
    row_deviations,
    smallest_visible,
    visible_ratio,
)

TRIALS = 2000
LAYOUTS = [(2, 5), (5, 3), (10, 10), (20, 5)]


def simulated(methods, runs, deviation=1.0, seed=0):
    """Tables of methods that are all equally good: runs differ by much more than the noise."""
    drawn = np.random.default_rng([seed, methods, runs])
    noise = drawn.normal(scale=deviation, size=(TRIALS, methods, runs))
    return noise + 5 * drawn.normal(size=(TRIALS, 1, runs))


def test_what_a_run_does_to_all_methods_is_no_noise():
    # a - b is 0.1 in every run although runs differ by 0.4: no residual is left.
    table = np.array([[0.92, 0.52, 0.72], [0.82, 0.42, 0.62]])
    assert residual_deviation(table) == pytest.approx(0.0, abs=1e-12)
    assert could_be_best(table).tolist() == [True, False]


def test_the_noise_is_what_method_and_run_do_not_explain():
    # Means of rows 2, 2; of columns 1, 3; of all 2. Fitted 1, 3 / 1, 3; residuals 0.5, -0.5 / -0.5, 0.5.
    table = np.array([[1.5, 2.5], [0.5, 3.5]])
    assert residual_deviation(table) == pytest.approx(1.0)  # sqrt(4 * 0.25 / (1 * 1))
    # Three methods, three runs: q(0.95; 3, 4) = 5.040 (Tukey's table); s = 0.1 makes 5.040 * 0.1 / sqrt 3.
    square = 0.1 / 2**0.5 * np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert residual_deviation(square) == pytest.approx(0.1 / 2**0.5)  # sqrt(4 * 0.005 / 4)
    assert critical_difference(square) == pytest.approx(5.040 * 0.1 / 2**0.5 / 3**0.5, abs=1e-3)


def test_the_noise_is_the_residual_of_a_two_way_anova():
    smf = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is the dev extra")
    import pandas as pd

    table = np.random.default_rng(1).normal(size=(4, 6)) + np.arange(6)
    runs = [(f"m{i}", f"r{j}", table[i, j]) for i in range(4) for j in range(6)]
    frame = pd.DataFrame(runs, columns=["method", "run", "score"])
    fit = smf.ols("score ~ C(method) + C(run)", frame).fit()
    assert residual_deviation(table) == pytest.approx(fit.mse_resid**0.5)
    assert fit.df_resid == 3 * 5


@pytest.mark.parametrize(("methods", "runs"), [(2, 5), (5, 10), (20, 10), (60, 5)])
def test_the_critical_range_agrees_with_statsmodels(methods, runs):
    approximation = pytest.importorskip("statsmodels.stats.libqsturng", reason="statsmodels is the dev extra")
    expected = approximation.qsturng(0.95, methods, (methods - 1) * (runs - 1))
    assert critical_range(methods, runs) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("runs", [4, 10])
def test_for_two_methods_the_visible_difference_is_that_of_a_paired_t_test(runs):
    power = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is the dev extra")
    # In units of the deviation of a difference, sqrt 2 times that of the noise; one of two sides counts.
    effect = power.TTestPower().solve_power(nobs=runs, alpha=0.025, power=0.8, alternative="larger")
    assert visible_ratio(2, runs) == pytest.approx(effect * 2**0.5, rel=1e-4)


def test_equal_methods_are_left_out_in_at_most_five_of_a_hundred_tables():
    """Family-wise: a table counts as an error if any method at all is left out."""
    errors = [(~could_be_best(simulated(*layout))).any(axis=-1) for layout in LAYOUTS]
    # 8,000 tables: the rate has a standard error of 0.24 points.
    assert np.mean(errors) == pytest.approx(0.05, abs=0.0075)
    assert max(np.mean(each) for each in errors) < 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_equal_methods_stay_in_where_worse_ones_stand_beside_them():
    tables = simulated(6, 5)
    tables[:, 3:] -= 20
    kept = could_be_best(tables)
    assert np.mean(~kept[:, :3].all(axis=-1)) < 0.05
    assert not kept[:, 3:].any()


@pytest.mark.parametrize(("methods", "runs"), LAYOUTS)
def test_a_visible_difference_is_seen_as_often_as_is_said(methods, runs):
    tables = simulated(methods, runs, deviation=0.3, seed=1)
    tables[:, 1] -= 0.3 * visible_ratio(methods, runs)
    tables[:, 2:] -= 30  # nobody else is near the best
    left_out = 1 - could_be_best(tables)[:, 1].mean()
    assert left_out == pytest.approx(0.8, abs=3 * (0.8 * 0.2 / TRIALS) ** 0.5)
    # What a caption states is made from the noise of the table itself.
    assert np.median(smallest_visible(tables)) == pytest.approx(0.3 * visible_ratio(methods, runs), rel=0.15)


def test_rows_have_a_noise_of_their_own():
    # Rows (0, 0), (0, 0) and (-1, 1): residuals are +-1/3, the same, and -+2/3, s = 2/9, 2/9 and 8/9, and the
    # sum of variances 12/9 * 3/2 = 2. All of it is the third row's: (2/9 - 2/9) * 3 = 0, (8/9 - 2/9) * 3 = 2.
    table = np.array([[0.0, 0.0], [0.0, 0.0], [-1.0, 1.0]])
    assert row_deviations(table).tolist() == pytest.approx([0.0, 0.0, 2**0.5])
    drawn = np.random.default_rng(0).normal(size=(12, 8)) * np.linspace(1, 2, 12)[:, None]
    assert np.mean(row_deviations(drawn) ** 2) == pytest.approx(float(residual_deviation(drawn)) ** 2)
    many = np.random.default_rng(1).normal(size=(5, 4000)) * np.array([1.0, 1.0, 2.0, 3.0, 1.0])[:, None]
    assert row_deviations(many).tolist() == pytest.approx([1.0, 1.0, 2.0, 3.0, 1.0], rel=0.05)
    with pytest.raises(ValueError, match="3 or more, got 2"):
        row_deviations(np.array([[1.5, 2.5], [0.5, 3.5]]))


def test_the_error_is_larger_where_rows_differ_in_noise():
    """What a caption warns of: rows three times as noisy are left out too often, steady ones are not."""
    tables = simulated(10, 10)
    # Variances add: 1 + 8 = 3^2.
    tables[:, :5] += np.random.default_rng(7).normal(scale=8**0.5, size=(TRIALS, 5, 10))
    left_out = ~could_be_best(tables)
    assert 0.05 < left_out[:, :5].any(axis=-1).mean() < 0.25
    assert left_out[:, 5:].mean() < 0.02


def test_more_runs_see_smaller_differences():
    assert visible_ratio(10, 20) < visible_ratio(10, 10) < visible_ratio(10, 3)


def test_a_table_with_holes_or_with_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="complete table"):
        residual_deviation(np.array([[1.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="2 methods and 2 runs"):
        could_be_best(np.ones((3, 1)))
