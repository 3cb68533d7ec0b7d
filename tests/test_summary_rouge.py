"""Rouge-L as TRACE's scorer has it, worked by hand, and when it is the one that counts."""

import pytest

from benchmark.scoring.summary_rouge import summary_rouge_l
from benchmark.scoring.task_metrics import score
from benchmark.stream import Examples, Task
from tasks.sources import trace_rows
from tasks.trace import SMOKE, TRACE
from tests import tiny


def f_score(precision, recall):
    return pytest.approx(2 * precision * recall / (precision + recall), abs=1e-7)


def test_the_union_over_sentences_is_counted():
    # With "w1 w2 w6 w7 w8" the words w1, w2 are common in order, with "w1 w3 w8 w9 w5" w1, w3, w5: 4 in the
    # union, of 8 distinct words and of 5.
    accepted = "w1 w2 w6 w7 w8. w1 w3 w8 w9 w5"
    assert summary_rouge_l("w1 w2 w3 w4 w5", accepted) == f_score(4 / 8, 4 / 5)


def test_words_keep_case_and_commas_and_are_not_stemmed():
    assert summary_rouge_l("The cats, sat", "the cat sat") == f_score(1 / 3, 1 / 3)  # "sat" alone
    assert score("rouge-l", ["The cats, sat"], ["the cat sat"]) == 1.0


def test_a_word_counts_once():
    assert summary_rouge_l("a a a b", "a b") == pytest.approx(1.0, abs=1e-7)


def test_order_counts_within_a_sentence_and_not_between_sentences():
    assert summary_rouge_l("b. a", "a. b") == pytest.approx(1.0, abs=1e-7)
    assert summary_rouge_l("b a", "a b") == f_score(1 / 2, 1 / 2)


def test_of_two_longest_sequences_one_alone_counts():
    # "x y" and "y x" share either word; the way back from the end goes to the left, which finds y. In the
    # second sentence y is the only common word, so that the union is y: 1 of 2 and 1 of 2 words.
    assert summary_rouge_l("x y. y", "y x") == f_score(1 / 2, 1 / 2)
    # Had x been found, the union would be x and y.
    assert summary_rouge_l("x y. x", "y x") == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize(("guess", "accepted"), [("", "a"), ("a", ""), (".", "a"), ("a b", "c d")])
def test_nothing_in_common_scores_nothing(guess, accepted):
    assert summary_rouge_l(guess, accepted) == 0.0


def test_a_blank_between_full_stops_is_a_word():
    # "a. " is the sentences "a" and " ": two distinct words, of which one is common.
    assert summary_rouge_l("a. ", "a") == f_score(1, 1 / 2)


@pytest.mark.parametrize(
    ("protocol", "rouge", "match"),
    [(TRACE, f_score(1 / 3, 1 / 3), 0.0), (SMOKE, 1.0, 1.0)],
    ids=["trace", "smoke"],
)
def test_the_protocol_trace_scores_as_its_authors_do_and_the_smoke_one_forgives(protocol, rouge, match):
    settings = {"normaliser": protocol.normaliser}
    task_model = tiny.make_method("frozen", "seq2seq", settings=settings).task_model
    rows = Examples(["a"], references=[["a"]])
    summary = Task("MeetingBank", rows, rows, metric=trace_rows.TASKS["MeetingBank"].metric)
    letter = Task("FOMC", rows, rows, metric=trace_rows.TASKS["FOMC"].metric)

    def scored(task, guess, accepted):
        return score(task_model.metric(task), [guess], [accepted], normaliser=protocol.normaliser)

    assert scored(summary, "The cats, sat", "the cat sat") == rouge
    assert scored(letter, "(A)", "A") == match
    assert scored(letter, "A", "A") == 1.0
