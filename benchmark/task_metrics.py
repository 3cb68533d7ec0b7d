"""Scores of one task, as `evaluate` metrics that need neither the network nor a folder to write to.

`score` is the only entry point. The metrics are made once per process and keep their rows in memory.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import evaluate

Reference = int | str | Sequence[str]

NAMES = ("accuracy", "exact-match", "rouge-l")

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return a text as exact match compares it: lower case, no ASCII punctuation, single blanks.

    Articles stay, and so does punctuation beyond ASCII. Source: the scorer that O-LoRA, SAPT and GainLoRA
    share, which is SQuAD's without the removal of articles.
    """
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def draw(references: Sequence[str], identity: str) -> str:
    """Return the one reference that belongs to a row for good, chosen by a hash of the row's name.

    Args:
        references: the accepted answers; at least one.
        identity: the row's name. The same name and answers give the same draw in every process and version.
    """
    digest = hashlib.sha256(identity.encode()).digest()
    return references[int.from_bytes(digest[:8], "big") % len(references)]


def score(
    metric: str,
    predictions: Sequence[Any],
    references: Sequence[Reference],
    ids: Sequence[str] = (),
    references_rule: Literal["best", "drawn"] = "best",
) -> float:
    """Return the mean score of a task's rows, in 0..1.

    Args:
        metric: one of `NAMES`.
        predictions: n class indices for accuracy, n texts otherwise.
        references: n class indices for accuracy; otherwise n texts or n lists of accepted texts.
        ids: n row names; read by the rule "drawn" alone.
        references_rule: "best" takes the highest score over a row's accepted texts, "drawn" the score
            against one of them, see `draw`.

    Raises:
        ValueError: the metric is unknown, there are no rows, the lengths differ, or a row accepts nothing.
    """
    if metric not in NAMES:
        raise ValueError(f"unknown metric '{metric}', one of {', '.join(NAMES)}")
    if not len(predictions) == len(references) > 0:
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
    if metric == "accuracy":
        rows: list[Any] = [int(row) for row in references]  # type: ignore[arg-type]
        given: list[Any] = [int(row) for row in predictions]
    else:
        rows = _accepted(references, ids, references_rule)
        given = [str(row) for row in predictions]
    result = _metrics()[metric].compute(predictions=given, references=rows)
    return float(result[metric])


def _accepted(references: Sequence[Any], ids: Sequence[str], rule: str) -> list[list[str]]:
    rows = [[row] if isinstance(row, str) else list(row) for row in references]
    if not all(rows):
        raise ValueError(f"row {next(i for i, row in enumerate(rows) if not row)} has no reference")
    if rule == "best":
        return rows
    if len(ids) != len(rows):
        raise ValueError(f"drawn references need a name for each of {len(rows)} rows, got {len(ids)}")
    return [[draw(row, name)] for row, name in zip(rows, ids, strict=True)]


def _best(pair: Callable[[str, str], float], predictions: list[str], references: list[list[str]]) -> float:
    """Return the mean over rows of the best pair score over a row's references."""
    rows = zip(predictions, references, strict=True)
    return sum(max(pair(guess, accepted) for accepted in row) for guess, row in rows) / len(predictions)


@cache
def _metrics() -> dict[str, evaluate.Metric]:
    """Make the metrics; cached, because importing `evaluate` takes seconds and a metric some milliseconds."""
    import datasets
    import evaluate
    from rouge_score.rouge_scorer import RougeScorer

    texts = datasets.Features(
        {"predictions": datasets.Value("string"), "references": datasets.List(datasets.Value("string"))}
    )
    indices = datasets.Features(
        {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
    )
    stemmed = RougeScorer(["rougeL"], use_stemmer=True)

    class InMemory(evaluate.Metric):
        """A metric that leaves nothing on disk: the base class makes a folder even when told not to."""

        def __init__(self) -> None:
            # A given seed keeps the base class from indexing NumPy's global generator; nothing here is drawn.
            super().__init__(keep_in_memory=True, seed=0)

        def _build_data_dir(self) -> str:
            return str(self._data_dir_root)

    class Accuracy(InMemory):
        """Share of class indices predicted right."""

        def _info(self) -> evaluate.MetricInfo:
            return _info("Share of rows whose class is predicted right.", indices)

        def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
            right = sum(guess == label for guess, label in zip(predictions, references, strict=True))
            return {"accuracy": right / len(references)}

    class ExactMatch(InMemory):
        """Share of texts equal to an accepted one once both are normalised."""

        def _info(self) -> evaluate.MetricInfo:
            return _info("Share of rows equal to an accepted answer after normalisation.", texts)

        def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
            def pair(guess: str, accepted: str) -> float:
                return float(normalise(guess) == normalise(accepted))

            return {"exact-match": _best(pair, predictions, references)}

    class RougeL(InMemory):
        """Mean Rouge-L F with stemming.

        Only a-z and 0-9 make words, as in the official scorers: a text of none (two empty strings, or two
        equal Chinese ones) gets 0 although it matches exactly.
        """

        def _info(self) -> evaluate.MetricInfo:
            return _info("Mean Rouge-L F, with stemming.", texts)

        def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
            def pair(guess: str, accepted: str) -> float:
                return float(stemmed.score(target=accepted, prediction=guess)["rougeL"].fmeasure)

            return {"rouge-l": _best(pair, predictions, references)}

    def _info(description: str, features: datasets.Features) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=description, citation="", inputs_description="", features=features
        )

    return {"accuracy": Accuracy(), "exact-match": ExactMatch(), "rouge-l": RougeL()}
