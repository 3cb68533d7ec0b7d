"""Task scores against cases worked by hand, and the promises about files, processes and speed."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmark.scoring.task_metrics import draw, score
from benchmark.scoring.text_scores import edit_similarity, first_letter, sari, words, words_no_articles

ROOT = Path(__file__).parents[1]


def test_accuracy_counts_rows():
    assert score("accuracy", [0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    assert score("accuracy", np.array([1, 1]), np.array([1, 0])) == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  Answer. ", "the answer"),
        ("A.\tB\n", "a b"),
        ("don't", "dont"),
        ("很好。", "很好。"),  # the full stop is not ASCII and stays
        ("...", ""),
    ],
)
def test_normalisation_keeps_articles_and_foreign_punctuation(text, expected):
    assert words(text) == expected


def test_exact_match_takes_any_accepted_answer():
    assert score("exact-match", ["World news!", "sports"], ["world  news", "business"]) == 0.5
    assert score("exact-match", ["b"], [["a", "B."]]) == 1.0
    assert score("exact-match", ["the cat"], ["cat"]) == 0.0


def test_rouge_l_is_the_stemmed_f_score_of_the_best_reference():
    # one common word of 1 and 2: precision 1, recall 1/2, F 2/3
    assert score("rouge-l", ["cats"], ["cat sat"]) == pytest.approx(2 / 3)
    assert score("rouge-l", ["cats"], [["dog", "cat"]]) == 1.0
    assert score("rouge-l", ["a b", "x"], [["a b"], ["y"]]) == 0.5


@pytest.mark.parametrize("text", ["", "天气很好"])
def test_equal_texts_without_latin_words_match_but_have_no_rouge(text):
    assert score("exact-match", [text], [text]) == 1.0
    assert score("rouge-l", [text], [text]) == 0.0


def test_a_drawn_reference_is_fixed_by_the_name_of_its_row():
    answers = ["a", "b", "c"]
    assert [draw(answers, f"row-{i}") for i in range(6)] == [draw(answers, f"row-{i}") for i in range(6)]
    drawn = Counter(draw(answers, f"row-{i}") for i in range(300))
    assert set(drawn) == set(answers) and min(drawn.values()) > 60
    one = draw(answers, "row-0")
    assert score("exact-match", [one], [answers], ["row-0"], "drawn") == 1.0
    assert score("exact-match", [next(a for a in answers if a != one)], [answers], ["row-0"], "drawn") == 0.0


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="unknown metric"):
        score("bleu", ["a"], ["a"])
    with pytest.raises(ValueError, match="2 predictions for 1"):
        score("accuracy", [1, 2], [1])
    with pytest.raises(ValueError, match="0 predictions"):
        score("accuracy", [], [])
    with pytest.raises(ValueError, match="row 1 has no reference"):
        score("rouge-l", ["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="name for each"):
        score("rouge-l", ["a"], [["a", "b"]], [], "drawn")


def test_scoring_is_cheap_and_leaves_the_random_state_alone():
    score("accuracy", [1], [1])
    before, plain = np.random.get_state()[1].copy(), random.getstate()
    start = time.process_time()
    for _ in range(50):
        score("accuracy", [1], [1])
    assert (time.process_time() - start) / 50 < 0.05  # 5 ms measured; room for a busy machine
    assert (np.random.get_state()[1] == before).all() and random.getstate() == plain


@pytest.mark.slow
def test_two_processes_at_once_are_quiet_and_leave_no_file(tmp_path):
    code = (
        "from benchmark.scoring.task_metrics import score\n"
        "values = [score('exact-match', ['a'] * 4, ['a', 'A.', 'b', 'c']) for _ in range(20)]\n"
        "assert values == [0.5] * 20"
    )
    folders = dict.fromkeys(("HOME", "HF_HOME", "TMPDIR"), str(tmp_path))
    env = {**os.environ, **folders, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("HF_METRICS_CACHE", "HF_EVALUATE_CACHE", "XDG_CACHE_HOME"):
        env.pop(name, None)
    command = [sys.executable, "-c", code]
    both = [
        subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert out == err == b""
    assert list(tmp_path.rglob("*")) == []


def test_normalisers_differ_in_articles_and_in_everything():
    assert words_no_articles("The cat, an  owl.") == "cat owl"
    assert score("exact-match", ["The cat"], ["cat"], normaliser="words-no-articles") == 1.0
    assert score("exact-match", ["A", "a"], ["A", "A"], normaliser="exact") == 0.5


def test_edit_similarity_counts_insertions_and_deletions_and_puts_literals_back():
    # "ab" -> "b" -> "bc": one deletion and one insertion among 2 + 2 letters.
    assert edit_similarity("ab", "bc") == pytest.approx(1 - 2 / 4)
    assert edit_similarity('x = "<STR_LIT:a>"', 'x = "a"') == 1.0
    assert edit_similarity("<NUM_LIT>", "0") == 1.0
    assert score("edit-similarity", ["ab"], ["bc"]) == pytest.approx(0.5)


def test_first_letter_of_an_empty_answer_is_wrong_and_no_error():
    assert score("first-letter", ["B because", "", "A"], ["B since", "B", "C"]) == pytest.approx(1 / 3)
    assert first_letter("", "") == 0.0
    # A model that knows no capitals can still be right, unless the protocol compares the strings as they are.
    assert score("first-letter", ["b because"], ["B since"]) == 1.0
    assert score("first-letter", ["b because"], ["B since"], normaliser="exact") == 0.0


def test_sari_by_hand():
    """Source `a b c`, answer `a b d`, accepted `a d`; sizes 3 and 4 add what their counters leave.

    n = 1: kept {a, b}, of these right {a}: precision 1/2; keepable {a}: recall 1; F 2/3.
           deleted {c}, right {c}: 1. added {d} of addable {d}: F 1.
    n = 2: source ab bc, answer ab bd, accepted ad. kept {ab}, right none: precision 0, keepable none: 1, F 0.
           deleted {bc}, right: 1. added {bd}, right none: precision 0; addable {ad}: recall 0; F 0.
    n = 3: source abc, answer abd, accepted none. kept none and keepable none: 1, 1, F 1.
           deleted {abc}, right: 1. added {abd}, right none: 0; addable none: 1; F 0.
    n = 4: nothing anywhere: 1, 1, 1.
    keep (2/3 + 0 + 1 + 1) / 4, delete 1, add (1 + 0 + 0 + 1) / 4.
    """
    keep, delete, add = (2 / 3 + 0 + 1 + 1) / 4, 1.0, 2 / 4
    expected = (keep + delete + add) / 3
    assert sari("a b c", "a b d", ["a d"]) == pytest.approx(expected)
    assert score("sari", ["a b d"], [["a d"]], sources=["a b c"]) == pytest.approx(expected)


def test_sari_of_an_accepted_answer_is_one_and_of_the_source_is_worked():
    assert sari("Das ist ein langer Satz.", "Ein Satz.", ["Ein Satz."]) == 1.0
    # Keeping is wrong at every size (0), nothing is deleted (1), and "six" alone is missed (0, 1, 1, 1).
    assert sari("one two three four five", "one two three four five", ["six"]) == pytest.approx(
        (1 + 3 / 4) / 3
    )


def test_sari_needs_sources():
    with pytest.raises(ValueError, match="needs a source"):
        score("sari", ["a"], ["a"])
