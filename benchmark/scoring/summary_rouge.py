"""Rouge-L of summaries as the package `rouge` 1.0.1 computes it, which TRACE's scorer calls for MeetingBank.

It differs from the usual Rouge-L in four ways. Words are what white space separates, with case and commas
kept and without stemming. Texts are cut into sentences at every full stop. Each sentence of one text is
matched with each of the other, and what counts is the union of their longest common subsequences. And a word
counts once, however often it occurs.
"""

from __future__ import annotations

from collections.abc import Sequence

EPSILON = 1e-8
"""Keeps the F of nothing in common at 0; it takes some 1e-8 off every other score."""


def summary_rouge_l(guess: str, accepted: str) -> float:
    """Return `2 P R / (P + R)` over distinct words: P = u / words of one text, R = u / words of the other.

    u is the number of distinct words in any longest common subsequence of a sentence of the answer and one of
    the accepted text. 0 where either text is empty or holds full stops alone; there TRACE adds nothing to the
    sum of scores, or fails.
    """
    given, wanted = _sentences(guess), _sentences(accepted)
    if not given or not wanted:
        return 0.0
    common: set[str] = set()
    for sentence in given:
        for other in wanted:
            common |= _common_words(sentence, other)
    first, second = (len({word for sentence in text for word in sentence}) for text in (wanted, given))
    precision, recall = len(common) / first, len(common) / second
    return 2 * precision * recall / (precision + recall + EPSILON)


def _sentences(text: str) -> list[list[str]]:
    """Return the words of each sentence; of white space alone between two full stops, one empty word."""
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _common_words(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """Return the words of a longest common subsequence.

    Of several the one that is found from the end, by going back in `second` where either way is as long;
    which one it is decides which words are in the union.
    """
    import numpy as np

    numbers = {word: number for number, word in enumerate(dict.fromkeys([*first, *second]))}
    columns = np.array([numbers[word] for word in second])
    # lengths[i, j]: of the longest common subsequence of the first i and j words.
    lengths = np.zeros((len(first) + 1, len(second) + 1), dtype=np.int32)
    for i, word in enumerate(first, 1):
        equal = columns == numbers[word]
        # A row is the running maximum of the row above and of one more than it where the words are equal.
        candidates = np.where(equal, lengths[i - 1, :-1] + 1, lengths[i - 1, 1:])
        lengths[i, 1:] = np.maximum.accumulate(candidates)
    found: set[str] = set()
    i, j = len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            found.add(first[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1, j] > lengths[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found
