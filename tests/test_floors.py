"""Rows beside floors: above, below, and what is left of a lead without the task learned last."""

import pytest

from benchmark.publishing.board import LEADING, boards
from benchmark.publishing.collect import sections
from benchmark.publishing.floors import count_apart, describe_floors, score_earlier_tasks
from benchmark.scoring.statistics import student_p
from tests.factories import result


def test_student_s_p_value_of_paired_differences():
    # Mean 2, deviation 1: t = 2 sqrt 3 = 3.464. With two degrees of freedom the two-sided p is
    # 1 - t / sqrt(t^2 + 2) = 1 - 3.464 / 3.742 = 0.0742, whichever the sign.
    assert student_p([1.0, 2.0, 3.0]) == pytest.approx(0.0742, abs=5e-5)
    assert student_p([-1.0, -2.0, -3.0]) == student_p([1.0, 2.0, 3.0])
    assert student_p([0.5, 0.5]) == 0.0 and student_p([0.0, 0.0]) == 1.0
    assert student_p([1.0]) is None


def rows_of(last_rows: dict[str, list[float]]):
    """Rows of three tasks and four runs; the scores after the last task, apart by 0.01 a run."""
    found = []
    for name, ends in last_rows.items():
        for seed in range(4):
            # Another noise in each row, or differences would all be the same.
            noise = (seed * (2 if name == "frozen" else 1) % 4) / 100
            start = ends[0] + noise
            scores = [[start, None, None], [start, ends[1], None], [end + noise for end in ends]]
            found.append(result(name, seed, scores=scores, reference=name in ("frozen", "seq-lora")))
    return sections(found)[0].rows


def test_a_lead_by_the_last_task_alone_is_told():
    # AP: frozen 0.3, leads 0.4 = (0.1 + 0.1 + 1.0) / 3, sinks 0.1. Without the last task 0.3, 0.1 and 0.1.
    rows = rows_of({"frozen": [0.3, 0.3, 0.3], "leads": [0.1, 0.1, 0.97], "sinks": [0.1, 0.1, 0.1]})
    (board, *_) = (each for each in boards(rows) if each.ranked)
    floor = [row for row in rows if row.first.method == "frozen"]
    (sentence,) = describe_floors(board, floor)
    assert "1 of 2 rows score significantly more than the frozen backbone" in sentence
    assert "and 1 significantly less; on the tasks before the last, 0 more and 2 less" in sentence
    earlier = score_earlier_tasks(next(row for row in rows if row.first.method == "leads"))
    assert sorted(earlier.values()) == pytest.approx([0.10, 0.11, 0.12, 0.13])


def test_rows_that_share_no_run_with_a_floor_are_not_counted():
    rows = rows_of({"frozen": [0.3, 0.3, 0.3], "leads": [0.1, 0.1, 0.97]})
    other = sections([result("seq-lora", seed, reference=True) for seed in (8, 9)])[0].rows[0]
    assert count_apart(rows, other, lambda row: row.runs(LEADING)) == (0, 0)
