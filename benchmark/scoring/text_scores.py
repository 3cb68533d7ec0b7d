"""What one answer scores against accepted ones: normalisers, Rouge-L, edit similarity, first letter, SARI."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
LONGEST_GRAM = 4


def words(text: str) -> str:
    """Return lower case, no ASCII punctuation, single blanks; articles stay.

    Source: the scorer that O-LoRA, SAPT and GainLoRA share, which is SQuAD's without the removal of articles.
    """
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def words_no_articles(text: str) -> str:
    """Return `words` without a, an and the, as SQuAD's scorer compares them."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


NORMALISERS: dict[str, Callable[[str], str]] = {
    "words": words,
    "words-no-articles": words_no_articles,
    "exact": lambda text: text,
}


@cache
def _rouge(every_script: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True, tokenizer=_EveryScript() if every_script else None)


def _rouge_f(guess: str, accepted: str, every_script: bool) -> float:
    return float(_rouge(every_script).score(target=accepted, prediction=guess)["rougeL"].fmeasure)


def rouge_l(guess: str, accepted: str) -> float:
    """Return Rouge-L F with stemming.

    Only a-z and 0-9 make words, as in the official scorers: a text of none (two empty strings, or two equal
    Chinese ones) gets 0 although it matches exactly; `rouge_l_all_scripts` counts those.
    """
    return _rouge_f(guess, accepted, every_script=False)


def rouge_counts(text: str) -> bool:
    """Return whether a text has anything that `rouge_l` makes a word of."""
    return re.search("[a-z0-9]", text.lower()) is not None


class _EveryScript:
    """Splits a text of any script for Rouge."""

    def tokenize(self, text: str) -> list[str]:
        """Return words of letters, marks and digits; in scripts without blanks every letter is one."""
        from nltk.stem.porter import PorterStemmer

        spaced = "".join(_space_out(letter) for letter in unicodedata.normalize("NFC", text).lower())
        stem = PorterStemmer().stem
        # As the scorer itself stems, and only what is in its alphabet.
        return [stem(word) if word.isascii() and len(word) > 3 else word for word in spaced.split()]


# Written without blanks between words: Chinese, Japanese, Thai, Lao, Burmese and Khmer.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "MYANMAR ", "KHMER ")


@cache
def _space_out(letter: str) -> str:
    if unicodedata.category(letter)[0] not in "LMN":
        return " "
    apart = unicodedata.name(letter, "").startswith(_UNSPACED) and unicodedata.category(letter)[0] == "L"
    return f" {letter}" if apart else letter


def rouge_l_all_scripts(guess: str, accepted: str) -> float:
    """Return Rouge-L F over words of every script; for text of a-z and 0-9 alone it is `rouge_l`."""
    return _rouge_f(guess, accepted, every_script=True)


def edit_similarity(guess: str, accepted: str) -> float:
    """Return 1 - (insertions + deletions) / (sum of lengths); 1 for two empty texts.

    TRACE scores code completion so (`fuzz.ratio`), after its placeholders for literals are taken out, see
    `without_literal_marks`. Its ratio depends on which of two back ends is installed; this is the one of
    Levenshtein and rapidfuzz, not that of `difflib`.
    """
    from rapidfuzz import fuzz

    return float(fuzz.ratio(without_literal_marks(guess), without_literal_marks(accepted))) / 100


def without_literal_marks(code: str) -> str:
    """Return CodeXGLUE's tokenised code with its marks for literals put back: `<STR_LIT:x>` becomes x."""
    for kind in ("STR", "NUM", "CHAR"):
        code = re.sub(rf"<{kind}_LIT:(.*?)>", r"\1", code, flags=re.DOTALL)
        code = code.replace(f"<{kind}_LIT>", "0" if kind == "NUM" else "")
    return code


def first_letter(guess: str, accepted: str) -> float:
    """Return 1 where both texts begin with the same letter; 0 where the answer is empty.

    TRACE scores ScienceQA so: the letter of the choice comes first, the reason after it.
    """
    return float(bool(guess) and guess[:1] == accepted[:1])


def sari(source: str, guess: str, accepted: Sequence[str]) -> float:
    """Return SARI in 0..1: the mean of F of kept, F of added and precision of deleted n-grams, n = 1..4.

    Xu et al., Optimizing Statistical Machine Translation for Text Simplification, TACL 2016, with 0 / 0 = 1
    and the recall of kept n-grams weighted by their counts, as in the Hugging Face `sari` metric that TRACE
    calls. Texts are lower-cased and split as mteval-v13a does, through sacrebleu.
    """
    tokens = [_tokens(text) for text in (source, guess, *accepted)]
    totals = [0.0, 0.0, 0.0]
    for size in range(1, LONGEST_GRAM + 1):
        of_source, of_guess, *of_accepted = [_grams(words_, size) for words_ in tokens]
        for place, value in enumerate(_operations(of_source, of_guess, of_accepted)):
            totals[place] += value / LONGEST_GRAM
    return sum(totals) / 3


def _operations(
    source: Counter[str], guess: Counter[str], accepted: Sequence[Counter[str]]
) -> tuple[float, float, float]:
    """Return F of keeping, precision of deleting and F of adding for n-grams of one size."""
    answers: Counter[str] = sum(accepted, Counter())
    # Each accepted text is one vote, so what source and guess hold counts once for each.
    votes = len(accepted)
    origin = Counter({gram: count * votes for gram, count in source.items()})
    given = Counter({gram: count * votes for gram, count in guess.items()})
    kept, kept_right, keepable = origin & given, origin & given & answers, origin & answers
    keep_precision = _mean(kept_right[gram] / kept[gram] for gram in kept)
    keep_recall = kept_right.total() / keepable.total() if keepable else 1.0
    deleted = origin - given
    deleted_right = deleted - answers
    deletion = _mean(deleted_right[gram] / deleted[gram] for gram in deleted)
    added, addable = set(guess) - set(source), set(answers) - set(source)
    right = len(added & set(answers))
    add_precision = right / len(added) if added else 1.0
    add_recall = right / len(addable) if addable else 1.0
    return _f(keep_precision, keep_recall), deletion, _f(add_precision, add_recall)


def _mean(values: Iterable[float]) -> float:
    """Return the mean, 1 of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 1.0


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _grams(tokens: list[str], size: int) -> Counter[str]:
    return Counter(" ".join(tokens[start : start + size]) for start in range(len(tokens) - size + 1))


@cache
def _splitter() -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()


def _tokens(text: str) -> list[str]:
    return str(_splitter()(text.lower())).split()
