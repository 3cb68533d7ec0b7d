"""Decisions to keep adapters beside what is known to be needed, worked by hand."""

import pytest

from benchmark.publishing import report
from benchmark.publishing.plots_decisions import RIGHT, WRONG, decisions, find_decisions
from benchmark.publishing.terminal import result_table
from benchmark.scoring.decisions import Decisions, read_decisions
from tests.factories import result, save

# Tasks 2 to 6 are asked about: needed are 2, 3 and 5, kept 2, 4 and 5.
NEEDED = (True, True, True, False, True, False)
KEPT = (True, True, False, True, True, False)


def test_precision_and_recall_leave_the_first_task_out():
    decisions = Decisions(NEEDED, KEPT)
    # Of the kept 2, 4, 5 two were needed; of the needed 2, 3, 5 two were kept.
    assert decisions.precision == pytest.approx(2 / 3) and decisions.recall == pytest.approx(2 / 3)
    assert decisions.auc is None
    assert Decisions((True, False), (True, False)).precision is None
    assert Decisions((True, False), (True, True)).recall is None


def test_auc_counts_the_pairs_of_needed_and_not_that_stand_in_order():
    # Needed 2, 3, 5 have 0.9, 0.1, 0.5; not needed 4, 6 have 0.5, -1. Of six pairs 0.9 wins two, 0.1 one,
    # 0.5 ties one and wins one: (2 + 1 + 1.5) / 6 = 0.75.
    decisions = Decisions(NEEDED, KEPT, (9.0, 0.9, 0.1, 0.5, 0.5, -1.0))
    assert decisions.auc == pytest.approx(0.75)
    assert Decisions((True, True), (True, True), (1.0, 2.0)).auc is None, "every task needs one"


def test_what_a_report_leaves_out_is_what_was_said_last():
    reports = [{"kept": True, "gate_logit": 0.5}, {"gate_logit": -0.25}, {"kept": False}]
    found = read_decisions([True, True, False], reports)
    assert found == Decisions((True, True, False), (True, True, False), (0.5, -0.25, -0.25))


@pytest.mark.parametrize(
    ("needed", "reports"),
    [
        ([], [{"kept": True}]),
        ([True], [{"gate_logit": 1.0}]),
        ([True, False], [{"kept": True}]),
        ([True], [{"kept": "yes"}]),
    ],
)
def test_without_an_answer_or_a_decision_there_is_nothing_to_say(needed, reports):
    assert read_decisions(needed, reports) is None


def test_gates_in_several_places_have_no_one_confidence():
    found = read_decisions([True, False], [{"kept": True, "gate_logit": [0.5, 1.0]}, {"kept": False}])
    assert found is not None and found.confidence is None


def test_the_table_after_a_run_shows_what_was_kept_beside_what_was_needed():
    reports = [{"kept": True}, {"kept": False}, {"kept": True}]
    text = result_table([result(needs_adapter=[True, False, True], report=reports)])
    # Asked about are tasks 2 and 3; the one kept was needed, and the one needed was kept.
    assert "1 3" in text and text.splitlines()[-1].split()[-3:] == ["100", "100", "-"]
    assert "needed" not in result_table([result(report=reports)])


def test_the_picture_marks_what_was_right_and_what_was_wrong():
    drawn = decisions({"a run": Decisions(NEEDED, KEPT, (0.5, 1.0, -0.5, 0.2, 0.3, -1.0))})
    lines = [(line.get_marker(), line.get_xdata()[0], line.get_color()) for line in drawn.axes[0].get_lines()]
    assert [t for marker, t, _ in lines if marker == "s"] == [1, 2, 3, 5], "needed"
    assert [(t, colour) for marker, t, colour in lines if marker == "o"] == [
        (1, "0.5"),
        (2, RIGHT),
        (4, WRONG),
        (5, RIGHT),
    ]
    assert [(t, colour) for marker, t, colour in lines if marker == "x"] == [(3, WRONG)]
    assert [(t, colour) for marker, t, colour in lines if marker == "."] == [(6, RIGHT)]
    assert [each.get_text() for each in drawn.axes[0].texts] == ["1.0", "-0.5", "0.2", "0.3", "-1.0"]


def test_a_report_has_the_picture_where_the_answer_is_known(tmp_path):
    reports = [{"kept": True}, {"kept": False}, {"kept": True}]
    known = [result(seed=seed, needs_adapter=[True, False, True], report=reports) for seed in (0, 1)]
    save(tmp_path / "known", *known)
    save(tmp_path / "unknown", result())
    for folder, shown in (("known", True), ("unknown", False)):
        page = report.build(tmp_path / folder, tmp_path / f"{folder}.html").read_text(encoding="utf-8")
        assert ("Adapters kept beside those needed" in page) is shown
    assert len(find_decisions([*known, known[0]])) == 3, "two results of one name are both drawn"
