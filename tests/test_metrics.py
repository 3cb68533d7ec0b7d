"""Metrics on a matrix worked by hand, and properties that hold for every matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.scoring import metrics
from benchmark.scoring.metrics import CONVENTIONS

# after   t1  t2  t3
WORKED = [[80.0, None, None], [90.0, 80.0, None], [85.0, 82.0, 85.0]]
SIZES = [100, 100, 200]


def close(value):
    return pytest.approx(value, abs=0.005)


def test_averages_of_the_worked_matrix():
    assert metrics.average_performance(WORKED) == close(84.0)  # (85 + 82 + 85) / 3
    assert metrics.average_anytime(WORKED) == close(83.0)  # (80 + (90 + 80) / 2 + 84) / 3
    assert metrics.average_all_cells(WORKED) == close(83.67)  # (80 + 90 + 80 + 85 + 82 + 85) / 6
    assert metrics.learning_accuracy(WORKED) == close(81.67)  # (80 + 80 + 85) / 3
    # SAPT's script prints 81.67 - 50.94 = 30.73 as its Fwt, so what it prints plus 50.94 is this number.
    assert "SAPT's Fwt plus 50.94" in CONVENTIONS["learning_accuracy"].users


def test_pooled_averages_weigh_by_test_rows():
    # (100*85 + 100*82 + 200*85) / 400
    assert metrics.average_performance_pooled(WORKED, SIZES) == close(84.25)
    # (80 + 85 + 84.25) / 3
    assert metrics.average_anytime_pooled(WORKED, SIZES) == close(83.0833)


def test_forgetting_of_the_worked_matrix():
    assert metrics.forgetting(WORKED) == close(1.5)  # ((max(80, 90) - 85) + (80 - 82)) / 2
    assert metrics.forgetting_all_rows(WORKED) == close(2.5)  # ((90 - 85) + (82 - 82)) / 2
    assert metrics.forgetting_diagonal(WORKED) == close(-3.5)  # ((80 - 85) + (80 - 82)) / 2


def test_backward_transfer_of_the_worked_matrix():
    assert metrics.backward_transfer(WORKED) == close(3.50)  # (5 + 2) / 2
    assert metrics.backward_transfer_sapt(WORKED) == close(2.33)  # (5 + 2 + 0) / 3
    assert metrics.backward_transfer_all_pairs(WORKED) == close(5.67)  # (10 + 5 + 2) / 3


def test_forward_transfer_needs_its_references():
    zero_shot = [[80.0, 30.0, 20.0], [90.0, 80.0, 40.0], [85.0, 82.0, 85.0]]
    assert metrics.forward_transfer_gem(zero_shot, [10.0, 20.0, 25.0]) == close(12.5)  # (30-20 + 40-25) / 2
    assert metrics.forward_transfer_gem(WORKED, [10.0, 20.0, 25.0]) is None
    assert metrics.forward_transfer_gem(zero_shot, [None, 20.0, 25.0]) == close(12.5)  # b_0 is not used
    assert metrics.forward_transfer_sapt(WORKED, [82.0, 84.0, 85.0]) == close(-2.0)  # (-2 - 4 + 0) / 3
    assert metrics.forward_transfer_sapt(WORKED, [82.0, None, 85.0]) is None
    with pytest.raises(ValueError, match="3 reference scores"):
        metrics.forward_transfer_sapt(WORKED, [82.0])


def test_forward_transfer_without_a_baseline_has_two_conventions():
    full = [[66.0, 13.0, 21.0], [56.5, 94.0, 33.5], [65.0, 79.0, 92.5]]
    assert metrics.forward_transfer_continuum(full) == close(23.25)  # (13 + 33.5) / 2
    assert metrics.forward_transfer_column_means(full) == close(20.125)  # (13 + (21 + 33.5) / 2) / 2
    assert metrics.forward_transfer_continuum(WORKED) is None is metrics.forward_transfer_column_means(WORKED)


def test_intransigence_is_what_joint_training_has_more():
    # j - diagonal: 90 - 80, 84 - 80, 86 - 85: (10 + 4 + 1) / 3, positive where the method learns less.
    assert metrics.intransigence(WORKED, [90.0, 84.0, 86.0]) == close(5.0)
    assert metrics.intransigence(WORKED, [70.0, 80.0, 85.0]) == close(-3.33)  # (-10 + 0 + 0) / 3
    assert metrics.intransigence(WORKED, [90.0, None, 86.0]) is None
    with pytest.raises(ValueError, match="3 reference scores, got 2"):
        metrics.intransigence(WORKED, [90.0, 84.0])


def test_retention_is_a_mean_of_ratios_and_needs_every_one():
    assert metrics.retention(WORKED) == pytest.approx(1.04375)  # (85/80 + 82/80) / 2
    # One task that scored 0 when it was learned has no ratio, though the other one has: 0.4 / 0.8.
    holed = [[0.0, None, None], [0.2, 0.8, None], [0.1, 0.4, 0.9]]
    assert metrics.retention(holed) is None
    assert metrics.retention([[0.0, None, None], [0.2, 0.0, None], [0.1, 0.4, 0.9]]) is None


def test_continuum_splits_transfer_into_gain_and_loss():
    # Over all later rows: (90-80 + 85-80 + 82-80) / 3 = 5.67, a gain, and nothing is lost of a full score.
    assert metrics.positive_backward_transfer(WORKED) == close(5.67)
    assert metrics.remembering(WORKED, 100.0) == 100.0
    # 0.5-0.9, 0.3-0.9, 0.4-0.8: -1.4 / 3 = -0.467
    falling = [[0.9, None, None], [0.5, 0.8, None], [0.3, 0.4, 0.7]]
    assert metrics.positive_backward_transfer(falling) == 0.0
    assert metrics.remembering(falling) == pytest.approx(1 - 1.4 / 3)
    assert metrics.remembering([[0.9]]) is None is metrics.positive_backward_transfer([[0.9]])


def test_libcontinuals_overall_numbers_are_means_over_stages():
    four = [[0.9, None, None, None], [0.8, 0.9, None, None], [0.7, 0.6, 0.9, None], [0.5, 0.4, 0.3, 0.9]]
    # Up to the third task: 0.7 - 0.9 = -0.2, times 2 / (3 * 2). Up to the fourth: -0.2, and 0.5-0.9 and
    # 0.4-0.9: -1.1, times 2 / (4 * 3).
    assert metrics.backward_transfer_libcontinual(four) == pytest.approx(-1.1 / 6)
    assert metrics.backward_transfer_libcontinual_overall(four) == pytest.approx((-0.2 / 3 - 1.1 / 6) / 2)
    # 0.2 / 2 after the third task, (0.4 + 0.5) / 3 after the fourth.
    assert metrics.forgetting_libcontinual_overall(four) == pytest.approx((0.1 + 0.3) / 2)
    assert metrics.forgetting_libcontinual_overall([[0.9, None], [0.8, 0.9]]) is None


def test_one_task_has_no_forgetting_and_no_transfer():
    numbers = metrics.headline([[0.7]], [10])
    assert numbers == {
        "average_performance": 0.7,
        "average_performance_pooled": 0.7,
        "average_anytime": 0.7,
        "average_anytime_pooled": 0.7,
        "forgetting": None,
        "forgetting_all_rows": None,
        "backward_transfer": None,
        "learning_accuracy": 0.7,
    }
    assert metrics.backward_transfer_sapt([[0.7]]) is None
    assert metrics.backward_transfer_all_pairs([[0.7]]) is None
    assert metrics.forgetting_diagonal([[0.7]]) is None
    assert metrics.forward_transfer_gem([[0.7]], [0.1]) is None


def test_two_tasks_are_enough_for_every_transfer_but_libcontinuals():
    two = [[0.8, 0.3], [0.6, 0.9]]  # 0.6 - 0.8 = -0.2 on the first task
    assert metrics.backward_transfer(two) == metrics.backward_transfer_all_pairs(two) == pytest.approx(-0.2)
    assert metrics.backward_transfer_sapt(two) == metrics.backward_transfer_losses(two) == pytest.approx(-0.1)
    assert metrics.forgetting(two) == metrics.forgetting_all_rows(two) == pytest.approx(0.2)
    assert metrics.forward_transfer_continuum(two) == metrics.forward_transfer_column_means(two) == 0.3
    assert metrics.backward_transfer_libcontinual(two) is None is metrics.forgetting_libcontinual(two)


def test_only_the_last_row_of_a_joint_run_gives_averages_and_nothing_else():
    joint = [[None] * 3, [None] * 3, [0.9, 0.8, 0.7]]
    numbers = metrics.headline(joint, SIZES)
    assert numbers["average_performance"] == close(0.8)
    assert numbers["average_performance_pooled"] == close(0.775)
    rest = set(metrics.HEADLINE) - {"average_performance", "average_performance_pooled"}
    assert [numbers[name] for name in rest] == [None] * len(rest)


def test_the_mean_of_the_tasks_seen_leaves_out_what_was_not_scored():
    assert metrics.mean_of_seen([0.9, 0.5, 0.1, 0.0], 1) == 0.7  # (0.9 + 0.5) / 2: tasks 2 and 3 are not seen
    assert metrics.mean_of_seen([0.9, None, 0.1], 2) == 0.5
    assert metrics.mean_of_seen([None, None], 1) is None


def test_a_missing_cell_is_never_read_as_zero():
    holed = [[80.0, None, None], [None, 80.0, None], [85.0, 82.0, 85.0]]
    assert metrics.forgetting(holed) is None
    assert metrics.forgetting_all_rows(holed) is None
    assert metrics.average_anytime(holed) is None
    assert metrics.backward_transfer(holed) == close(3.5)  # needs the diagonal and the last row alone


@pytest.mark.parametrize("matrix", [[], [[1.0, 2.0]], [[1.0, None], [1.0]]])
def test_a_matrix_that_is_not_square_is_refused(matrix):
    with pytest.raises(ValueError, match="score matrix"):
        metrics.headline(matrix, [1] * len(matrix))


def test_nan_and_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.average_performance([[float("nan")]])
    with pytest.raises(ValueError, match="test sizes"):
        metrics.average_performance_pooled(WORKED, [1, 2])
    with pytest.raises(ValueError, match="positive"):
        metrics.average_performance_pooled(WORKED, [1, 2, 0])


def test_the_table_of_conventions_covers_the_headline():
    assert set(metrics.HEADLINE) <= set(metrics.CONVENTIONS)
    for name, rule in metrics.CONVENTIONS.items():
        assert rule.name == name and rule.title and rule.users
        assert rule.higher_is_better == (not name.startswith(("forgetting", "intransigence")))


@st.composite
def matrices(draw, smallest=2):
    tasks = draw(st.integers(smallest, 5))
    cells = draw(st.lists(st.integers(0, 100), min_size=tasks * tasks, max_size=tasks * tasks))
    full = np.array(cells, dtype=float).reshape(tasks, tasks)
    return [[full[t, i] if i <= t else None for i in range(tasks)] for t in range(tasks)]


few = settings(max_examples=60, deadline=None)


@few
@given(matrices())
def test_the_all_rows_variant_is_never_below_the_other_nor_below_zero(matrix):
    all_rows = metrics.forgetting_all_rows(matrix)
    assert all_rows >= -1e-9
    assert all_rows >= metrics.forgetting(matrix) - 1e-9


@few
@given(matrices())
def test_forgetting_is_minus_bwt_when_no_later_row_beats_the_diagonal(matrix):
    falling = [[c if c is None else min(c, matrix[i][i]) for i, c in enumerate(row)] for row in matrix]
    assert metrics.forgetting(falling) == pytest.approx(-metrics.backward_transfer(falling))
    assert metrics.forgetting_diagonal(falling) == pytest.approx(metrics.forgetting(falling))


@few
@given(matrices(smallest=1), st.sampled_from([0.01, 0.5, 3.0]))
def test_every_number_scales_with_the_scores(matrix, factor):
    sizes = list(range(1, len(matrix) + 1))
    scaled = [[c if c is None else c * factor for c in row] for row in matrix]
    for name, value in metrics.headline(matrix, sizes).items():
        other = metrics.headline(scaled, sizes)[name]
        assert (other is None) if value is None else other == pytest.approx(value * factor, abs=1e-9)


@few
@given(matrices(), st.randoms(use_true_random=False))
def test_the_last_row_does_not_care_about_the_order_of_tasks(matrix, random):
    sizes = [10 * (i + 1) for i in range(len(matrix))]
    order = list(range(len(matrix)))
    random.shuffle(order)
    moved = [[row[i] for i in order] for row in matrix]
    moved_sizes = [sizes[i] for i in order]
    assert metrics.average_performance(moved) == pytest.approx(metrics.average_performance(matrix))
    assert metrics.average_performance_pooled(moved, moved_sizes) == pytest.approx(
        metrics.average_performance_pooled(matrix, sizes)
    )


@few
@given(matrices(smallest=1), st.integers(1, 50))
def test_pooled_is_the_mean_for_equal_sizes(matrix, size):
    sizes = [size] * len(matrix)
    assert metrics.average_performance_pooled(matrix, sizes) == pytest.approx(
        metrics.average_performance(matrix)
    )
    assert metrics.average_anytime_pooled(matrix, sizes) == pytest.approx(metrics.average_anytime(matrix))


def test_pooled_differs_from_the_mean_for_unequal_sizes():
    assert metrics.average_performance_pooled([[1.0, None], [0.0, 1.0]], [1, 3]) == close(0.75)
    assert metrics.average_performance([[1.0, None], [0.0, 1.0]]) == close(0.5)


@few
@given(matrices())
def test_cells_above_the_diagonal_change_nothing_in_the_headline(matrix):
    filled = [[1000.0 if c is None else c for c in row] for row in matrix]
    sizes = [5] * len(matrix)
    assert metrics.headline(filled, sizes) == metrics.headline(matrix, sizes)
