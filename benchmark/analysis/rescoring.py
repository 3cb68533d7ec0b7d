"""Scores a finished run's adapters again, without training: as they were, or under other conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field

from benchmark.errors import UserError, unknown
from benchmark.protocol import Protocol
from benchmark.results import Part, Result, atomic_write, read, to_json
from benchmark.running.readings import find_scored_examples
from benchmark.running.rebuilding import rebuild, rebuild_run
from benchmark.running.run import plain
from benchmark.running.training import evaluate
from benchmark.running.worker import load_data
from benchmark.scoring.metrics import mean_of_seen
from benchmark.settings import key_and_value, refine
from benchmark.stream import Task
from benchmark.text_table import text_table

SCORING = (
    *("head", "decoding", "normaliser", "references", "score_on"),
    *("test_limit", "target_length", "evaluation_batch_size"),
)
"""Settings of a protocol that can be others for a trained model; the rest made it what it is."""
COMPETING, APART = "class-incremental", "task-incremental"
"""Heads whose training is the same under a local loss, so that the same model can be scored under both."""


class Scores(Part):
    """The last row of a result's score matrix, measured again, as a file."""

    scores_version: int = 1
    key: str = Field(description="of the result whose adapters were scored")
    settings: dict[str, Any] = Field(description="of the protocol, where they are not the result's own")
    other_data: bool = Field(description="whether the rows are not those of the result")
    data_fingerprint: str
    tasks: list[str]
    metrics: list[str]
    scores: list[float | None]
    mean: float | None = Field(description="over the tasks that were measured")


@dataclass(frozen=True)
class Rescored:
    """The last row of a score matrix as it is stored, and as it was measured again."""

    stored: list[float | None]
    found: Scores

    @property
    def conditions(self) -> str:
        """In words what differs from how the stored row was measured; empty where nothing does."""
        parts = [f"{name}={value}" for name, value in self.found.settings.items()]
        return ", ".join([*parts, *(["other data"] if self.found.other_data else [])])

    @property
    def reproduced(self) -> bool:
        """Whether every score is the stored one, to the last digit."""
        return self.stored == self.found.scores

    def table(self) -> str:
        """Return both rows for reading, x 100."""
        stored, again = [*self.stored, _mean(self.stored)], [*self.found.scores, self.found.mean]
        rows = {
            "task": [*self.found.tasks, "mean"],
            "stored": [_format_score(score) for score in stored],
            "again": [_format_score(score) for score in again],
        }
        return text_table(pd.DataFrame(rows))


def rescore(
    path: Path, data_dir: Path | None, settings: Sequence[str] = (), stream_file: Path | None = None
) -> Rescored:
    """Return the last row of a result, measured again with the adapters beside it.

    Args:
        data_dir: folder of data, which may then hold other rows than those of the result; None for the
            variable BENCH_DATA or the hub, which may not.
        settings: `key=value` texts for what `SCORING` names.
        stream_file: that describes the stream, where it is not a registered one.

    Raises:
        UserError: the result, its adapters or its data cannot be read, the data is not what it was, or a
            setting is none of scoring.
    """
    result = read(path)
    run = rebuild_run(result, stream_file)
    protocol = _change_scoring(run.protocol, settings)
    loaded, fingerprint = load_data(run, data_dir)
    other = fingerprint != result.provenance.data_fingerprint
    if other and data_dir is None:
        raise UserError(
            f"the data of {run.stream} is not what {path} was made from: its fingerprint begins with "
            f"{fingerprint[:8]}, that of the result with {result.provenance.data_fingerprint[:8]}; "
            "--data-dir scores on other data"
        )
    if protocol != run.protocol:
        result = result.model_copy(update={"config": result.config | {"protocol": protocol.model_dump()}})
        loaded, fingerprint = load_data(replace(run, protocol=protocol), data_dir)
    _require_same_tasks(result, loaded.tasks)
    method = rebuild(result, path, loaded.tasks)
    row: list[float | None] = []
    for stored, task in zip(result.matrix[-1], loaded.tasks, strict=True):
        examples = find_scored_examples(task, protocol.score_on)
        if stored is None or examples is None:
            row.append(None)
        else:
            row.append(evaluate(method, len(row), method.task_model.encode(task, examples), examples))
    scores = Scores(
        key=result.key,
        settings={name: getattr(protocol, name) for name in _differing(run.protocol, protocol)},
        other_data=other,
        data_fingerprint=fingerprint,
        tasks=[task.name for task in loaded.tasks],
        metrics=[method.task_model.metric(task) for task in loaded.tasks],
        scores=row,
        mean=_mean(row),
    )
    return Rescored(result.matrix[-1], scores)


def write(scores: Scores, result: Path, name: str) -> Path:
    """Write scores beside the result that they are of, and return where.

    Raises:
        UserError: the name would lead into another folder, or the file cannot be written.
    """
    path = result.with_name(f"{result.stem}.{plain(name)}.scores")
    atomic_write(path, to_json(scores.model_dump(mode="json")))
    return path


def _change_scoring(protocol: Protocol, settings: Sequence[str]) -> Protocol:
    """Return a protocol with settings of scoring changed."""
    chosen: dict[str, str] = {}
    for text in settings:
        key, value = key_and_value(text, "bench score --help")
        name = key.removeprefix("protocol.")
        if name not in SCORING:
            raise unknown("setting of scoring", name, SCORING, "bench score --help")
        chosen[name] = value
    changed: Protocol = refine(Protocol, protocol.model_dump(), chosen, "protocol")
    if changed.head != protocol.head and (
        {changed.head, protocol.head} != {COMPETING, APART} or protocol.loss != "local"
    ):
        raise UserError(
            f"what was trained with head {protocol.head} and a {protocol.loss} loss cannot be scored with "
            f"head {changed.head}; only {COMPETING} and {APART} with a local loss train alike"
        )
    return changed


def _differing(before: Protocol, after: Protocol) -> list[str]:
    return [name for name in SCORING if getattr(before, name) != getattr(after, name)]


def _require_same_tasks(result: Result, tasks: Sequence[Task]) -> None:
    """Refuse data of which the adapters know nothing."""
    learned = [(task.name, tuple(task.classes)) for task in result.tasks]
    given = [(task.name, tuple(task.classes)) for task in tasks]
    if learned != given:
        first = next(
            (name for (name, _), there in zip(learned, given, strict=False) if there[0] != name), None
        )
        what = f"no task '{first}' in its place" if first else "other tasks or classes"
        raise UserError(
            f"the data has {what}; the adapters were learned on {len(learned)} tasks of their own"
        )


def _mean(row: Sequence[float | None]) -> float | None:
    return mean_of_seen(row, len(row))


def _format_score(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.2f}"
