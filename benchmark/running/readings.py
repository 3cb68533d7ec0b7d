"""Three readings of the model after a stage, from one forward pass over the test rows if possible.

A prediction that is a function of one feature pass notes its features and class scores (`TaskModel.note`).
From them follow the method's own answer, the answer among the task's classes, and the nearest class mean. The
means are of up to `ROWS_A_CLASS` train rows of every class seen, read by the model as it is after the stage;
their rows depend on the task's name, not on method, seed or stage. A method whose features or
scores depend on the task id is asked a second time with the id.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmark.data.batches import Batch, Rows, batch_by_length
from benchmark.method import Method
from benchmark.models.answers import Answer
from benchmark.models.class_means import ClassMeans
from benchmark.models.task_model import TaskModel
from benchmark.results import CLASS_MEANS, READINGS, TASK_INCREMENTAL, TRAINED_HEAD, Reading
from benchmark.row_scores import mean, pack
from benchmark.scoring.task_metrics import row_scores
from benchmark.stream import Examples, Task

ROWS_A_CLASS = 20
NO_FEATURE = "a prediction is no function of one feature of the row"
BY_TASK_ID = "the features depend on the task id"

Predict = Callable[[Batch, int | None], list[Any]]
"""From a batch, and the index of its task where that is given, to an answer for each row."""

RowScores = dict[str, list[float]]
"""The score of every row of a task, in 0..1, by reading."""


@dataclass
class Reader:
    """Reads a method after each stage.

    Attributes:
        blank: readings that do not exist for this run, each with the reason.
        predict: what answers; the method where it is None.
    """

    method: Method
    blank: dict[str, str] = field(default_factory=dict)
    predict: Predict | None = None
    _means: ClassMeans | None = None
    _mean_rows: dict[int, Rows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Leave out what cannot exist."""
        self.blank = self.task_model.blank_readings() | self.blank
        if self.method.needs.task_id:
            self.blank.setdefault(CLASS_MEANS, BY_TASK_ID)

    @property
    def task_model(self) -> TaskModel:
        """The method's task model."""
        return self.method.task_model

    @torch.no_grad()
    def take_means(self, tasks: Sequence[int]) -> None:
        """Take the class means of the tasks seen, by the features that the method now answers with."""
        self._means = None
        for i in tasks:
            if CLASS_MEANS in self.blank:
                return
            with self.method.predicting():
                self._take_means_of(i)

    def _take_means_of(self, i: int) -> None:
        for batch in self._batches(self._rows_of_means(i)):
            answer = self._ask(batch, visible_task_id(self.method, i))
            if answer.features is None:
                self.blank[CLASS_MEANS] = NO_FEATURE
                return
            assert batch.labels is not None
            if self._means is None:
                self._means = ClassMeans(answer.features.shape[1], answer.features)
            self._means.add(answer.features, batch.labels, len(self.task_model.columns))

    def read(self, i: int, rows: Rows, examples: Examples, seen: bool = True) -> RowScores:
        """Return every row's score on task i by each reading that exists.

        Args:
            seen: whether the task has been learned; before that only the method's own answer is read.
        """
        read = [name for name in READINGS if name not in self.blank] if seen else [TRAINED_HEAD]
        answers = self.answer_rows(i, rows, read)
        return {
            name: score_rows(self.method, i, answers[name], examples)
            for name in read
            if name not in self.blank
        }

    @torch.no_grad()
    def answer_rows(self, i: int, rows: Rows, read: Sequence[str]) -> dict[str, list[Any]]:
        """Return the answer to every row of task i by each of some readings; some turn out to be blank."""
        found: dict[str, list[Any]] = {name: [None] * len(rows) for name in read}
        with self.method.predicting():
            for batch in self._batches(rows):
                for name, answers in self._answers(batch, i, read).items():
                    for row, answer in zip(batch.rows, answers, strict=True):
                        found[name][row] = answer
        return found

    def _answers(self, batch: Batch, i: int, read: Sequence[str]) -> dict[str, list[Any]]:
        given = visible_task_id(self.method, i)
        answer = self._ask(batch, given)
        found = {TRAINED_HEAD: answer.predictions}
        if TASK_INCREMENTAL in read:
            found[TASK_INCREMENTAL] = self._mask_predictions(batch, i, given, answer)
        if CLASS_MEANS in read:
            if answer.features is None or self._means is None:
                self.blank[CLASS_MEANS] = NO_FEATURE
            else:
                found[CLASS_MEANS] = self.task_model.choose(self._means.scores(answer.features), None)
        return found

    def _mask_predictions(self, batch: Batch, i: int, given: int | None, answer: Answer) -> list[Any]:
        if given is not None:
            return answer.predictions
        if answer.scores is not None and only_masks(type(self.method)):
            return self.task_model.choose(answer.scores, i)
        return self.method.predict(batch, i)

    def _ask(self, batch: Batch, given: int | None) -> Answer:
        """Return the method's predictions with what they were made from, where one pass made all of them."""
        noted: list[Answer] = []
        self.task_model.answers = noted
        try:
            predictions = (self.predict or self.method.predict)(batch, given)
        finally:
            self.task_model.answers = None
        # What a method made of several passes, or changed afterwards, does not follow from one feature.
        if len(noted) == 1 and noted[0].predictions == predictions:
            return noted[0]
        return Answer(predictions)

    def _batches(self, rows: Rows) -> Iterator[Batch]:
        return batch_by_length(rows, self.method.protocol.evaluation_batch_size, self.task_model.device)

    def _rows_of_means(self, i: int) -> Rows:
        if i not in self._mean_rows:
            task = self.task_model.tasks[i]
            chosen = task.train.take(rows_a_class(task, ROWS_A_CLASS))
            self._mean_rows[i] = self.task_model.encode(task, chosen)
        return self._mean_rows[i]


def rows_a_class(task: Task, most: int) -> list[int]:
    """Return up to `most` train rows of each class, chosen by the task's name alone, in the split's order."""
    labels = task.train.labels
    assert labels is not None
    order = np.random.default_rng(zlib.crc32(task.name.encode())).permutation(len(labels))
    chosen = [order[labels[order] == label][:most] for label in range(len(task.classes))]
    return sorted(int(row) for rows in chosen for row in rows)


def only_masks(method: type[Method]) -> bool:
    """Whether the task id given to `predict` only masks classes.

    It does by default; a class that changes `predict` says so itself, or one built on it does.
    """
    for part in method.__mro__:
        if "task_id_only_masks" in vars(part) and part is not Method:
            return bool(vars(part)["task_id_only_masks"])
        if "predict" in vars(part):
            return part is Method
    return False


def visible_task_id(method: Method, task: int) -> int | None:
    """Return what a prediction for a task's rows may know of the task: its index, or None.

    It is given where the method says that it needs it or the protocol is task-incremental.
    """
    return task if method.needs.task_id or method.protocol.head == "task-incremental" else None


def find_scored_examples(task: Task, score_on: str) -> Examples | None:
    """Return the rows that a protocol scores, those of test or of validation; None where there are none."""
    return task.test if score_on == "test" else task.validation


def score_rows(method: Method, i: int, predictions: Sequence[Any], examples: Examples) -> list[float]:
    """Return the score of every prediction for task i's rows, in 0..1."""
    task_model, protocol = method.task_model, method.protocol
    task = task_model.tasks[i]
    return row_scores(
        task_model.metric(task),
        predictions,
        task_model.references(task, examples),
        ids=examples.ids,
        sources=examples.texts,
        references_rule=protocol.references,
        normaliser=task_model.normaliser(task),
    )


def readings_of(stages: Sequence[Mapping[str, Any]], blank: Mapping[str, str]) -> dict[str, Reading]:
    """Return the readings of a run, each of what `pack_stage` gave for every stage."""
    return {
        name: Reading(blank=blank[name])
        if name in blank
        else Reading(
            matrix=[stage[name]["scores"] for stage in stages], rows=[stage[name]["rows"] for stage in stages]
        )
        for name in READINGS
    }


def pack_stage(
    scores: Mapping[int, RowScores], metrics: Sequence[str], blank: Mapping[str, str]
) -> dict[str, dict[str, list[Any]]]:
    """Return a stage's row of each reading's matrix with its packed row scores.

    Args:
        scores: by task.
        blank: readings to leave out.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for name in READINGS:
        if name in blank:
            continue
        cells: list[float | None] = []
        rows: list[str] = []
        measured = {i: read[name] for i, read in scores.items() if name in read}
        for i in range(max(measured, default=-1) + 1):
            text = pack(measured[i], metrics[i]) if i in measured else ""
            cells.append(mean(text, len(measured[i]), metrics[i]) if text else None)
            rows.append(text)
        found[name] = {"scores": cells, "rows": rows}
    return found
