"""Scores of one task, as `evaluate` metrics that need neither the network nor a folder to write to.

`score` is the only entry point. The metrics are made once per process and keep their rows in memory. What
two texts score is in `benchmark.scoring.text_scores`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from benchmark.scoring.summary_rouge import summary_rouge_l
from benchmark.scoring.text_scores import (
    NORMALISERS,
    edit_similarity,
    first_letter,
    rouge_l,
    rouge_l_all_scripts,
    sari,
)

if TYPE_CHECKING:
    import evaluate

Reference = int | str | Sequence[str]

PAIRS: dict[str, tuple[Callable[[str, str], float], str]] = {
    "exact-match": (lambda guess, accepted: float(guess == accepted), "Share of rows equal to an answer."),
    "rouge-l": (rouge_l, "Mean Rouge-L F, with stemming."),
    "rouge-l-all-scripts": (rouge_l_all_scripts, "Mean Rouge-L F over words of every script."),
    "summary-rouge-l": (summary_rouge_l, "Mean Rouge-L F of summaries, by white-space words and sentences."),
    "edit-similarity": (edit_similarity, "Mean similarity by insertions and deletions."),
    "first-letter": (first_letter, "Share of rows whose first letter is that of an answer."),
}
NAMES = ("accuracy", *PAIRS, "sari")


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
    normaliser: str = "words",
    sources: Sequence[str] = (),
) -> float:
    """Return the mean score of a task's rows, in 0..1.

    Args:
        predictions: n class indices for accuracy, n texts otherwise.
        references: n class indices for accuracy; otherwise n texts or n lists of accepted texts.
        ids: n row names; read by the rule "drawn" alone.
        references_rule: "best" takes the highest score over a row's accepted texts, "drawn" the score
            against one of them, see `draw`. SARI counts all accepted texts at once.
        normaliser: what exact-match and first-letter make of both texts, one of
            `benchmark.scoring.text_scores.NORMALISERS`.
        sources: n inputs; read by sari alone.

    Raises:
        ValueError: the metric is unknown, there are no rows, the lengths differ, or a row accepts nothing.
    """
    given, rows, inputs = _prepare(metric, predictions, references, ids, references_rule, normaliser, sources)
    named = {"predictions": given, "references": rows}
    result = _metrics()[metric].compute(**({"sources": inputs} if metric == "sari" else {}), **named)
    return float(result[metric])


def row_scores(
    metric: str,
    predictions: Sequence[Any],
    references: Sequence[Reference],
    ids: Sequence[str] = (),
    references_rule: Literal["best", "drawn"] = "best",
    normaliser: str = "words",
    sources: Sequence[str] = (),
) -> list[float]:
    """Return the score of every row, whose mean `score` returns; the arguments are those of `score`."""
    given, rows, inputs = _prepare(metric, predictions, references, ids, references_rule, normaliser, sources)
    if metric == "accuracy":
        return [float(guess == label) for guess, label in zip(given, rows, strict=True)]
    if metric == "sari":
        return [sari(*row) for row in zip(inputs, given, rows, strict=True)]
    pair = PAIRS[metric][0]
    return [max(pair(guess, accepted) for accepted in row) for guess, row in zip(given, rows, strict=True)]


def _prepare(
    metric: str,
    predictions: Sequence[Any],
    references: Sequence[Any],
    ids: Sequence[str],
    rule: str,
    normaliser: str,
    sources: Sequence[str],
) -> tuple[list[Any], list[Any], list[str]]:
    """Return predictions, what they are compared with and the inputs, checked and normalised."""
    if metric not in NAMES:
        raise ValueError(f"unknown metric '{metric}', one of {', '.join(NAMES)}")
    if not len(predictions) == len(references) > 0:
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
    if metric == "accuracy":
        return [int(row) for row in predictions], [int(row) for row in references], []
    rows = _pick_accepted(references, ids, rule)
    given = [str(row) for row in predictions]
    if metric in ("exact-match", "first-letter"):
        plain = NORMALISERS[normaliser]
        given, rows = [plain(text) for text in given], [[plain(text) for text in row] for row in rows]
    if metric == "sari" and len(sources) != len(rows):
        raise ValueError(f"sari needs a source for each of {len(rows)} rows, got {len(sources)}")
    return given, rows, list(sources)


def _pick_accepted(references: Sequence[Any], ids: Sequence[str], rule: str) -> list[list[str]]:
    rows = [[row] if isinstance(row, str) else list(row) for row in references]
    if not all(rows):
        raise ValueError(f"row {next(i for i, row in enumerate(rows) if not row)} has no reference")
    if rule == "best":
        return rows
    if len(ids) != len(rows):
        raise ValueError(f"drawn references need a name for each of {len(rows)} rows, got {len(ids)}")
    return [[draw(row, name)] for row, name in zip(rows, ids, strict=True)]


@cache
def _metrics() -> dict[str, evaluate.Metric]:
    """Make the metrics; cached, because importing `evaluate` takes seconds and a metric some milliseconds."""
    import datasets
    import evaluate

    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    number = datasets.Value("int64")

    class InMemory(evaluate.Metric):
        """A metric that leaves nothing on disk: the base class makes a folder even when told not to."""

        description = ""
        columns: ClassVar[dict[str, Any]] = {}

        def __init__(self) -> None:
            # A given seed keeps the base class from indexing NumPy's global generator; nothing here is drawn.
            super().__init__(keep_in_memory=True, seed=0)

        def _build_data_dir(self) -> str:
            return str(self._data_dir_root)

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=self.description,
                citation="",
                inputs_description="",
                features=datasets.Features(self.columns),
            )

    class Accuracy(InMemory):
        description = "Share of rows whose class is predicted right."
        columns: ClassVar[dict[str, Any]] = {"predictions": number, "references": number}

        def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
            right = sum(guess == label for guess, label in zip(predictions, references, strict=True))
            return {"accuracy": right / len(references)}

    class BestPair(InMemory):
        """The mean over rows of the best score of a pair over the row's accepted texts."""

        columns: ClassVar[dict[str, Any]] = {"predictions": text, "references": texts}

        def __init__(self, name: str) -> None:
            self.called = name
            self.pair, self.description = PAIRS[name]
            super().__init__()

        def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
            rows = zip(predictions, references, strict=True)
            total = sum(max(self.pair(guess, accepted) for accepted in row) for guess, row in rows)
            return {self.called: total / len(predictions)}

    class Sari(InMemory):
        description = "Mean SARI over rows."
        columns: ClassVar[dict[str, Any]] = {"sources": text, "predictions": text, "references": texts}

        def _compute(
            self, sources: list[str], predictions: list[str], references: list[list[str]]
        ) -> dict[str, float]:
            rows = zip(sources, predictions, references, strict=True)
            return {"sari": sum(sari(*row) for row in rows) / len(sources)}

    return {"accuracy": Accuracy(), "sari": Sari()} | {name: BestPair(name) for name in PAIRS}
