"""Packed row scores: the text says what each row scored, and the task's score is exactly their mean."""

from __future__ import annotations

import base64

import pytest

from benchmark.row_scores import mean, pack, unpack
from benchmark.scoring.task_metrics import row_scores, score


def test_right_and_wrong_take_a_bit_a_row() -> None:
    # Rows 1 0 1 1 0 0 0 0 | 1, filled up with zeros: 0b10110000 = 0xB0, 0b10000000 = 0x80.
    scores = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    text = pack(scores, "accuracy")
    assert base64.b64decode(text) == b"\xb0\x80"
    assert unpack(text, 9, "accuracy").tolist() == scores
    assert mean(text, 9, "accuracy") == 4 / 9


def test_grades_are_kept_in_ten_thousandths() -> None:
    # 0.33333 -> 3333, 1 -> 10000 = 0x2710 little-endian; mean (3333 + 10000) / 20000.
    text = pack([0.33333, 1.0], "rouge-l")
    assert base64.b64decode(text) == (3333).to_bytes(2, "little") + b"\x10\x27"
    assert unpack(text, 2, "rouge-l").tolist() == [0.3333, 1.0]
    assert mean(text, 2, "rouge-l") == 13333 / 20000


@pytest.mark.parametrize(
    ("text", "count", "reason"),
    [
        ("?", 1, "not base64"),
        (pack([1.0] * 9, "accuracy"), 8, "have 2 bytes; 8 rows of accuracy take 1"),
        (pack([1.0] * 9, "accuracy"), 17, "have 2 bytes; 17 rows of accuracy take 3"),
    ],
)
def test_a_text_of_other_rows_is_refused(text: str, count: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        unpack(text, count, "accuracy")


@pytest.mark.parametrize("metric", ["exact-match", "rouge-l", "edit-similarity", "first-letter"])
def test_the_mean_over_rows_is_the_metric(metric: str) -> None:
    guesses = ["the red fox", "a", "no", ""]
    accepted = [["a red fox", "the red fox"], ["b"], ["not now"], ["x"]]
    rows = row_scores(metric, guesses, accepted)
    assert sum(rows) / 4 == pytest.approx(score(metric, guesses, accepted), abs=1e-12)
    # The best of a row's accepted texts counts: the first row is met exactly.
    assert rows[0] == 1.0


def test_classes_are_right_or_wrong() -> None:
    assert row_scores("accuracy", [1, 2, 0], [1, 1, 0]) == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="2 predictions for 1 references"):
        row_scores("accuracy", [1, 2], [1])
