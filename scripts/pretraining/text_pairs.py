"""Self-supervised (source, target) text pairs made from DBpedia and BoolQ passages."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MASK = "[MASK]"
MAX_SOURCE_WORDS = 55
MAX_TARGET_WORDS = 18
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(])")
# "Dreams is a 1999 album by Philip Bailey": the words between the article and the next function word.
_KIND = re.compile(
    r"\b(?:is|was|are|were) (?:an?|the) ((?:[\w-]+ ){0,4}?[\w-]+)(?= (?:by|in|of|from|for|who|which|that|at|"
    r"on|with|located|born|and|or|to)\b|[.,;(])"
)


@dataclass(frozen=True)
class Passage:
    """One training text: its title, its body and, for BoolQ, the question asked about it."""

    title: str
    body: str
    question: str | None = None

    @property
    def sentences(self) -> list[str]:
        """Return the sentences of the body."""
        return _SENTENCE_END.split(self.body)


Pair = tuple[str, str]
MakePair = Callable[[Passage, random.Random], Pair | None]


def read_passages(data_dir: Path) -> list[Passage]:
    """Read the `train` rows of the two open-licence sets; other splits stay unseen."""
    passages = []
    for name, parse in (("dbpedia", _parse_dbpedia), ("boolq", _parse_boolq)):
        with gzip.open(data_dir / "longseq" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            rows = (json.loads(line) for line in stream)
            passages += [parse(row["text"]) for row in rows if row["split"] == "train"]
    return [passage for passage in passages if len(passage.body.split()) >= 8]


def _parse_dbpedia(text: str) -> Passage:
    title, _, body = text.removeprefix("Title:").partition("\nText:")
    return Passage(title.strip(), " ".join(body.split()))


def _parse_boolq(text: str) -> Passage:
    question, _, passage = text.removeprefix("question:").partition("\npassage:")
    title, _, body = passage.partition(" -- ")
    return Passage(title.strip(), " ".join(body.split()), question.strip())


def _clip(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


def _window(passage: Passage, rng: random.Random, longest: int = MAX_SOURCE_WORDS) -> list[str]:
    """Return words from the start of a sentence on; lengths vary so that short inputs are seen too."""
    sentences = passage.sentences
    words = " ".join(sentences[rng.randrange(len(sentences)) :]).split()
    if len(words) < 8:
        words = passage.body.split()
    return words[: rng.randint(8, longest)]


def _span(words: Sequence[str], rng: random.Random, longest: int = 4) -> tuple[int, int]:
    length = rng.randint(1, min(longest, len(words) - 3))
    start = rng.randrange(1, len(words) - length)
    return start, start + length


def fill_gap(passage: Passage, rng: random.Random) -> Pair:
    """Ask for a masked span from its context alone."""
    words = _window(passage, rng, 40)
    start, end = _span(words, rng)
    return f"fill : {' '.join([*words[:start], MASK, *words[end:]])}", " ".join(words[start:end])


def answer_cloze(passage: Passage, rng: random.Random) -> Pair:
    """Ask for the span of a passage that a question with a gap points to, as extractive answering does."""
    words = _window(passage, rng, 40)
    start, end = _span(words, rng, 5)
    question = " ".join([*words[max(0, start - 5) : start], "what", *words[end : end + 3]])
    return f"question : {question} ? passage : {' '.join(words)}", " ".join(words[start:end])


def copy_after(passage: Passage, rng: random.Random) -> Pair:
    """Ask for the words that follow two given words."""
    words = _window(passage, rng)
    start, end = _span(words, rng, 5)
    return f"after {' '.join(words[max(0, start - 2) : start])} : {' '.join(words)}", " ".join(
        words[start:end]
    )


def copy_first(passage: Passage, rng: random.Random) -> Pair:
    """Ask for the first sentence, the usual lead summary; without a cue half of the time."""
    cue = rng.choice(["summary : ", ""])
    return cue + _clip(passage.body, rng.randint(20, MAX_SOURCE_WORDS)), _clip(
        passage.sentences[0], MAX_TARGET_WORDS
    )


def copy_last(passage: Passage, rng: random.Random) -> Pair:
    """Ask for the last sentence of a text short enough to be seen whole."""
    sentences = passage.sentences[: rng.randint(2, 3)]
    return f"last : {_clip(' '.join(sentences), MAX_SOURCE_WORDS)}", _clip(sentences[-1], MAX_TARGET_WORDS)


def name_title(passage: Passage, rng: random.Random) -> Pair:
    """Ask for the title of a body."""
    return f"title : {_clip(passage.body, rng.randint(15, 50))}", _clip(passage.title, MAX_TARGET_WORDS)


def next_sentence(passage: Passage, rng: random.Random) -> Pair | None:
    """Ask for the sentence that comes next."""
    sentences = passage.sentences
    if len(sentences) < 2:
        return None
    at = rng.randrange(1, len(sentences))
    return f"next : {_clip(' '.join(sentences[max(0, at - 2) : at]), 50)}", _clip(
        sentences[at], MAX_TARGET_WORDS
    )


def ask_question(passage: Passage, rng: random.Random) -> Pair | None:
    """Ask for the reader's question about a passage."""
    if passage.question is None:
        return None
    return f"ask : {_clip(passage.body, rng.randint(25, 50))}", passage.question


def name_kind(passage: Passage, rng: random.Random) -> Pair | None:
    """Ask what kind of thing a text is about, half of the time with the stated kind hidden."""
    found = _KIND.search(passage.body)
    if found is None or found.end() > 300:
        return None
    body = passage.body
    if rng.random() < 0.5:
        body = f"{body[: found.start(1)]}{MASK}{body[found.end(1) :]}"
    return f"kind : {passage.title} {_clip(body, rng.randint(30, 50))}", found.group(1)


def choose_option(passage: Passage, rng: random.Random, words: Sequence[str]) -> Pair:
    """Ask which of some offered words the text holds."""
    text = _window(passage, rng, 40)
    answer = rng.choice(text)
    options = [answer, *rng.sample(words, rng.randint(1, 4))]
    rng.shuffle(options)
    return f"options : {' , '.join(options)} . text : {' '.join(text)}", answer


def copy_words(_: Passage, rng: random.Random, words: Sequence[str]) -> Pair:
    """Ask for random vocabulary words back, so that every word can be emitted, not only frequent ones."""
    chosen = " ".join(rng.sample(words, rng.randint(1, 6)))
    return f"copy : {chosen}", chosen


def objectives(words: Sequence[str]) -> dict[str, tuple[float, MakePair]]:
    """Return every objective with its share of the mix; `words` is the vocabulary of whole words."""
    return {
        "fill gap": (1.0, fill_gap),
        "answer cloze": (2.0, answer_cloze),
        "copy after": (1.5, copy_after),
        "copy first": (1.5, copy_first),
        "copy last": (0.75, copy_last),
        "name title": (1.0, name_title),
        "name kind": (1.5, name_kind),
        "next sentence": (0.25, next_sentence),
        "ask question": (0.5, ask_question),
        "choose option": (1.0, lambda passage, rng: choose_option(passage, rng, words)),
        "copy words": (2.0, lambda passage, rng: copy_words(passage, rng, words)),
    }


def make_pairs(
    passages: Sequence[Passage], words: Sequence[str], count: int, rng: random.Random
) -> list[tuple[str, str, str]]:
    """Return `count` triples of objective, source and target, drawn by the mix."""
    mix = objectives(words)
    names, shares = list(mix), [share for share, _ in mix.values()]
    triples: list[tuple[str, str, str]] = []
    while len(triples) < count:
        name = rng.choices(names, shares)[0]
        pair = mix[name][1](rng.choice(passages), rng)
        if pair is not None:
            triples.append((name, *pair))
    return triples
