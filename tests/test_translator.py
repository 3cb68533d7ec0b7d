"""Every convention on one matrix worked by hand, and against the formulas as the public code states them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.analysis.translator import of_result, table, translate
from benchmark.errors import UserError
from benchmark.results import write
from tests.command import assert_one_line_error, bench
from tests.factories import result

# after   t1  t2  t3
WORKED = [[80.0, None, None], [90.0, 80.0, None], [85.0, 82.0, 85.0]]
SIZES = [100, 100, 200]


def numbers(matrix, sizes=SIZES, single=None, **references):
    return {each.rule.name: each.value for each in translate(matrix, sizes, single, **references)}


def test_the_worked_matrix_in_every_convention():
    expected = {
        "average_performance": 84.0,  # (85 + 82 + 85) / 3
        "average_performance_pooled": 84.25,  # (100*85 + 100*82 + 200*85) / 400
        "average_anytime": 83.0,  # (80 + 85 + 84) / 3
        "average_anytime_pooled": 83.083,  # (80 + 85 + 84.25) / 3
        "average_all_cells": 83.667,  # (80 + 90 + 80 + 85 + 82 + 85) / 6
        "average_all_stages": None,  # no cells above the diagonal
        "forgetting": 1.5,  # ((90 - 85) + (80 - 82)) / 2
        "forgetting_all_rows": 2.5,  # ((90 - 85) + (82 - 82)) / 2
        "forgetting_diagonal": -3.5,  # ((80 - 85) + (80 - 82)) / 2
        "forgetting_libcontinual": -2.5,  # (80 - 85) / 2
        "forgetting_libcontinual_overall": -2.5,  # of the third stage, which is the only one
        "backward_transfer": 3.5,  # (5 + 2) / 2
        "backward_transfer_sapt": 2.333,  # (5 + 2 + 0) / 3
        "backward_transfer_losses": 0.0,  # min(5, 0) + min(2, 0) + 0
        "backward_transfer_all_pairs": 5.667,  # (10 + 5 + 2) / 3
        "backward_transfer_libcontinual": 1.667,  # 5 / 3
        "backward_transfer_libcontinual_overall": 1.667,
        "positive_backward_transfer": 5.667,  # that over all pairs, a gain
        "remembering": 100.0,  # nothing lost
        "retention": 1.04375,  # (85/80 + 82/80) / 2
        "learning_accuracy": 81.667,  # (80 + 80 + 85) / 3
        "forward_transfer_gem": None,
        "forward_transfer_continuum": None,
        "forward_transfer_column_means": None,
        "forward_transfer_sapt": -2.0,  # (80-82 + 80-84 + 85-85) / 3
        "intransigence": None,
    }
    found = numbers(WORKED, single=[82.0, 84.0, 85.0], full=100.0)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-3)), name


def test_cells_above_the_diagonal_open_the_rest():
    full = [[80.0, 30.0, 20.0], [90.0, 80.0, 40.0], [85.0, 82.0, 85.0]]
    found = numbers(full)
    assert found["forward_transfer_continuum"] == pytest.approx(35.0)  # (30 + 40) / 2
    assert found["forward_transfer_column_means"] == pytest.approx(30.0)  # (30 + (20 + 40) / 2) / 2
    assert found["average_all_stages"] == pytest.approx(65.778, abs=1e-3)  # 592 / 9


# The formulas as each code base states them, restated cell by cell on rows padded with zeros.


def pilot_forgetting(rows):
    last = len(rows) - 1
    return sum(max(row[j] for row in rows) - rows[last][j] for j in range(last)) / last


def sapt_script(rows):
    count = len(rows)
    best = [max(line[j] for line in rows[:-1]) - rows[-1][j] for j in range(count - 1)]
    gains = [rows[-1][j] - rows[j][j] for j in range(count)]
    return {
        "average_performance": sum(rows[-1]) / count,
        "forgetting": sum(best) / len(best),
        "backward_transfer_sapt": sum(gains) / count,
    }


def tree_lora_script(rows):
    count = len(rows)
    cells = [rows[t][j] for t in range(count) for j in range(t + 1)]
    losses = [min(rows[-1][j] - rows[j][j], 0) for j in range(count)]
    return {"average_all_cells": sum(cells) / len(cells), "backward_transfer_losses": sum(losses) / count}


def libcontinual(rows):
    last = len(rows) - 1
    gains = [rows[t][j] - rows[j][j] for t in range(2, last + 1) for j in range(t - 1)]
    return {
        "backward_transfer_libcontinual": 2 * sum(gains) / (last * (last + 1)),
        "forgetting_libcontinual": sum(rows[j][j] - rows[last][j] for j in range(last - 1)) / last,
    }


def continuum_backward(rows):
    pairs = [(t, j) for t in range(1, len(rows)) for j in range(t)]
    return sum(rows[t][j] - rows[j][j] for t, j in pairs) / len(pairs)


@st.composite
def triangles(draw):
    tasks = draw(st.integers(3, 6))
    score = st.integers(0, 100)
    return [[float(draw(score)) if j <= t else None for j in range(tasks)] for t in range(tasks)]


@settings(max_examples=50, deadline=None)
@given(triangles())
def test_the_formulas_agree_with_the_code_bases(matrix):
    padded = [[cell or 0.0 for cell in row] for row in matrix]
    stated = sapt_script(padded) | tree_lora_script(padded) | libcontinual(padded)
    stated["forgetting_all_rows"] = pilot_forgetting(padded)
    stated["backward_transfer_all_pairs"] = continuum_backward(padded)
    stated["forgetting_diagonal"] = -numbers(matrix, [1] * len(matrix))["backward_transfer"]
    found = numbers(matrix, [1] * len(matrix))
    for name, value in stated.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_pooled_numbers_count_rows():
    # Correct rows over all rows, as a class-incremental evaluation counts them: 3 of 4, then (1 + 30) of 40.
    matrix = [[0.75, None], [0.25, 30 / 36]]
    found = numbers(matrix, [4, 36])
    assert found["average_performance_pooled"] == pytest.approx(31 / 40)
    assert found["average_anytime_pooled"] == pytest.approx((0.75 + 31 / 40) / 2)


def test_one_and_two_tasks_have_no_numbers_that_need_more():
    one, two = numbers([[0.5]], [1]), numbers([[0.5, None], [0.4, 0.6]], [1, 1])
    assert {name for name, value in one.items() if value is not None} == {
        "average_performance", "average_performance_pooled", "average_anytime", "average_anytime_pooled",
        "average_all_cells", "average_all_stages", "learning_accuracy",
    }  # fmt: skip
    assert two["backward_transfer_libcontinual"] is two["forgetting_libcontinual"] is None
    assert numbers([[0.0, None], [0.4, 0.6]], [1, 1])["retention"] is None  # a ratio to nothing


def test_what_is_missing_is_said():
    text = table(translate(WORKED, SIZES))
    assert "--zero-shot" in text and "--single RESULT" in text and "--joint RESULT" in text
    assert all(len(line) <= 130 for line in text.splitlines())


def test_single_task_runs_must_be_of_the_same_setting():
    alone = result("alone", last=0.9)
    found = {each.rule.name: each.value for each in of_result(result(), alone)}
    assert found["forward_transfer_sapt"] == pytest.approx(0.0)
    with pytest.raises(UserError, match="seed differs"):
        of_result(result(), result("alone", seed=1))


def test_references_open_the_rest():
    full = [[80.0, 30.0, 20.0], [90.0, 80.0, 40.0], [85.0, 82.0, 85.0]]
    found = numbers(full, joint=[90.0, 84.0, 86.0], untrained=[10.0, 20.0, 25.0])
    assert found["intransigence"] == pytest.approx(5.0)  # (10 + 4 + 1) / 3
    assert found["forward_transfer_gem"] == pytest.approx(12.5)  # (30-20 + 40-25) / 2


def test_a_joint_run_gives_its_last_row_or_its_diagonal():
    last_row = [[None] * 3, [None] * 3, [0.95, 0.92, 0.91]]
    every_step = [[0.99, None, None], [0.9, 0.98, None], [0.9, 0.9, 0.97]]
    for scores, expected in ((last_row, (0.05 + 0.02 + 0.01) / 3), (every_step, (0.09 + 0.08 + 0.07) / 3)):
        found = of_result(result(), joint=result("joint", scores=scores))  # the diagonal is 0.9
        (value,) = [each.value for each in found if each.rule.name == "intransigence"]
        assert value == pytest.approx(expected)
    with pytest.raises(UserError, match="--joint: order differs"):
        of_result(result(), joint=result("joint", order="back"))


def test_a_zero_shot_result_brings_its_untrained_model():
    scores = [[0.9, 0.3, 0.2], [0.8, 0.9, 0.4], [0.6, 0.6, 0.9]]
    made = result(scores=scores, untrained=[0.1, 0.2, 0.25])
    (value,) = [each.value for each in of_result(made) if each.rule.name == "forward_transfer_gem"]
    assert value == pytest.approx(0.125)  # (0.3 - 0.2 + 0.4 - 0.25) / 2


def test_the_command_prints_text_and_json(tmp_path):
    joint = [[None] * 3, [None] * 3, [0.95, 0.92, 0.91]]
    write(result("joint", scores=joint), tmp_path / "joint.json")
    reported = bench("metrics", tmp_path / "one.json", "--joint", tmp_path / "joint.json", "--json")
    assert_one_line_error(reported, "no result at")
    write(result(), tmp_path / "one.json")
    reported = bench("metrics", tmp_path / "one.json", "--joint", tmp_path / "joint.json", "--json")
    printed = {each["name"]: each["value"] for each in json.loads(reported.stdout)}
    assert printed["intransigence"] == pytest.approx(0.08 / 3)  # (0.05 + 0.02 + 0.01) / 3
    shown = bench("metrics", tmp_path / "one.json")
    assert shown.returncode == 0 and "LibContinual" in shown.stdout
    data = json.loads(bench("metrics", tmp_path / "one.json", "--json").stdout)
    by_name = {each["name"]: each["value"] for each in data}
    assert by_name["average_performance"] == pytest.approx(0.7)  # (0.6 + 0.6 + 0.9) / 3
    assert_one_line_error(bench("metrics", tmp_path / "none.json"), "no result at")
