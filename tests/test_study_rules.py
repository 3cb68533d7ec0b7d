"""The rules of a study: where lambdas lie, which of them is lambda*, and what decides an outcome."""

from __future__ import annotations

import pytest

from benchmark.errors import UserError
from benchmark.study import verdicts
from benchmark.study.path import choose_lambda, place_lambdas, predict_kept, round_digits
from benchmark.study.study_file import Outcomes
from benchmark.study.verdicts import conclude, judge, non_inferiority, sees_need

PLANNED = Outcomes()


# --- the path


def test_lambdas_lie_between_the_worths_and_the_last_beyond_all() -> None:
    # Quantiles 1/3 and 2/3 of 0.1, 0.2, 0.3, 0.4 are 0.2 and 0.3; beyond is 1.5 x 0.4. What is worth nothing
    # closes at any lambda and places none.
    assert place_lambdas([0.4, 0.1, -0.5, 0.3, 0.2, 0.0], 4) == [0.0, 0.2, 0.3, 0.6]
    assert round_digits(0.012345) == 0.0123


def test_too_few_different_worths_and_none_get_one_line() -> None:
    # All quantiles of one worth are that worth: 0, 0.2 and beyond 0.3.
    with pytest.raises(UserError, match="give 3 different lambdas, 5 are asked for") as caught:
        place_lambdas([0.2], 5)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="nothing for a gate to find"):
        place_lambdas([-0.1, 0.0], 4)


def test_lambda_star_scores_highest_of_those_that_drop_enough() -> None:
    scores = {0.0: [80.0, 82.0], 0.1: [79.6, 80.0], 0.2: [80.4, 80.8], 0.3: [70.0, 72.0]}
    reductions = {0.0: [0.0, 0.0], 0.1: [0.3, 0.3], 0.2: [0.5, 0.7], 0.3: [0.9, 0.9]}
    # Means 81, 79.8, 80.6, 71 at reductions 0, 0.3, 0.6, 0.9.
    assert choose_lambda(scores, reductions, 0.2) == 0.2
    assert choose_lambda(scores, reductions, 0.3) == 0.2
    assert choose_lambda(scores, reductions, 0.61) == 0.3
    assert choose_lambda(scores, reductions, 0.95) == 0.3, "where none drops enough, what drops most"
    alike = {value: [0.5] for value in scores}
    assert choose_lambda(alike, reductions, 0.2) == 0.3, "of equal scores the larger reduction"


def test_a_worth_above_lambda_is_kept() -> None:
    assert predict_kept([0.3, 0.1, 0.2], 0.1) == [True, False, True]


# --- verdicts


def bounds(lower: float, upper: float) -> verdicts.Bounds:
    return verdicts.Bounds(5, (lower + upper) / 2, 1.0, lower, upper)


@pytest.mark.parametrize(
    ("lower", "upper", "word"),
    [(-0.9, 3.0, "confirmed"), (-3.0, -1.1, "refuted"), (-3.0, 2.0, "undecided"), (-1.0, -1.0, "undecided")],
)
def test_one_rule_gives_three_words(lower: float, upper: float, word: str) -> None:
    assert judge(bounds(lower, upper), -1.0, -1.0) == word


def test_no_loss_is_confirmed_a_loss_refuted_and_noise_reported_with_the_runs_it_takes() -> None:
    assert non_inferiority([0.1, -0.2, 0.0, 0.1], PLANNED).word == "confirmed"
    assert non_inferiority([-3.1, -3.2, -3.0, -3.1], PLANNED).word == "refuted"
    noise = non_inferiority([4.0, -4.0, 3.0, -3.0], PLANNED)
    # Deviation sqrt(50 / 3) = 4.08; a margin of 1 is 0.245 of it: about (1.645 + 0.842)^2 / 0.06 = 103 runs.
    assert noise.word == "undecided" and noise.needed is not None and 100 < noise.needed < 110
    assert (
        f"{noise.needed} runs would confirm it with 80% probability if the true difference were 0"
        in noise.sentence
    )
    assert non_inferiority([1.0], PLANNED).word == "undecided"


def test_a_choice_that_was_never_made_is_not_judged() -> None:
    found = verdicts.better_than_shuffled([0.0, 0.0], 2, PLANNED)
    assert found.word == "undecided" and "no choice" in found.figures
    assert verdicts.better_than_shuffled([2.0, 2.1, 1.9], 0, PLANNED).word == "confirmed"
    # Surely less than the point that would matter.
    assert verdicts.better_than_shuffled([0.1, -0.1, 0.0], 0, PLANNED).word == "refuted"


def test_sight_is_confirmed_by_permutation_and_refuted_by_the_bound() -> None:
    kinds = [True, True, False, False, False]
    seen, test = sees_need([(kinds, [3.0, 2.0, 1.0, 0.5, 0.1])] * 3, PLANNED)
    # One of the 10 choices of two has AUC 1, in each of three runs: p = 1 / 1000.
    assert seen.word == "confirmed" and test is not None and test.p == pytest.approx(0.001)
    blind, _ = sees_need(
        [(kinds, [1.0, 0.0, 0.9, 0.1, 0.5])] * 5 + [(kinds, [0.9, 0.1, 1.0, 0.0, 0.5])], PLANNED
    )
    assert blind.word == "refuted"
    unknown, _ = sees_need([], PLANNED)
    assert unknown.sentence.endswith("**not asked** (the stream does not say what is needed).")
    assert conclude(seen, seen, unknown, 0.5).endswith("so that whether its gate tells them is not asked.")


def test_the_conclusion_says_what_the_three_words_mean() -> None:
    def of(word: verdicts.Word) -> verdicts.Verdict:
        return verdicts.Verdict("c", word, "r", "f")

    text = conclude(of("confirmed"), of("refuted"), of("undecided"), 0.6)
    assert text.startswith(
        "LiteLoRA, which drops 60% of the adapters, loses less than the margin to SD-LoRA; "
    )
    assert (
        "shuffled over tasks by less than was to matter, or not at all" in text and "is not decided" in text
    )
    assert "not put to the test" in conclude(of("confirmed"), of("refuted"), of("refuted"), 0.0)
