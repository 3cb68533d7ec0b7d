"""What a finished run answers to every test row, from its adapters, and scores that are no mean over rows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.results import TRAINED_HEAD, atomic_write, read
from benchmark.running.readings import Reader, find_scored_examples, score_rows
from benchmark.running.rebuilding import rebuild_with_data
from benchmark.text_table import text_table

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.stream import Task

ENDING = ".predictions.parquet"


@dataclass(frozen=True)
class Predictions:
    """The answers to all test rows after the last task.

    Attributes:
        rows: a row each: task, id, prediction, reference (several answers joined by a line break), score
            in 0..1.
        classes: the class names of each task; none for text to text.
    """

    rows: pd.DataFrame
    classes: dict[str, tuple[str, ...]]

    def label_scores(self) -> pd.DataFrame:
        """Return accuracy, balanced accuracy and macro F1 of each task that has classes, in 0..1.

        Balanced accuracy is the mean recall of the task's classes; macro F1 the mean of their F1. An answer
        with a class of another task counts as wrong for the row's own class and for no other. Both are
        scikit-learn's.
        """
        from sklearn.metrics import f1_score, recall_score

        found = []
        for task, rows in self.rows.groupby("task", sort=False):
            names = list(self.classes[str(task)])
            if not names:
                continue
            given: dict[str, Any] = {"labels": names, "average": "macro", "zero_division": 0.0}
            found.append(
                {
                    "task": str(task),
                    "accuracy": float((rows["reference"] == rows["prediction"]).mean()),
                    "balanced accuracy": float(recall_score(rows["reference"], rows["prediction"], **given)),
                    "macro F1": float(f1_score(rows["reference"], rows["prediction"], **given)),
                    "rows": len(rows),
                }
            )
        return pd.DataFrame(found)

    def text(self) -> str:
        """Return `label_scores` x 100 for reading; "" where no task has classes."""
        frame = self.label_scores()
        if frame.empty:
            return ""
        numbers = frame.columns.difference(["task", "rows"], sort=False)
        shown = frame.assign(**{name: [f"{100 * each:.2f}" for each in frame[name]] for name in numbers})
        return text_table(shown.astype(str))


def predict(path: Path, data_dir: Path | None, stream_file: Path | None = None) -> Predictions:
    """Return what a run answers to the test rows of all its tasks.

    Args:
        stream_file: that describes the stream, where it is not a registered one.

    Raises:
        UserError: result, adapters or data cannot be read, or the data are others.
    """
    result = read(path)
    method, loaded = rebuild_with_data(result, path, data_dir, stream_file)
    tables = [_of_task(method, i, task) for i, task in enumerate(loaded.tasks)]
    return Predictions(
        pd.concat(tables, ignore_index=True), {task.name: task.classes for task in loaded.tasks}
    )


def save_predictions(path: Path, data_dir: Path | None, stream_file: Path | None = None) -> Path:
    """Write `<result>.predictions.parquet` beside a result, and return it; see `predict` and `save`."""
    return save(predict(path, data_dir, stream_file), path)


def save(predictions: Predictions, path: Path) -> Path:
    """Write predictions beside their result, and return the file."""
    buffer = io.BytesIO()
    predictions.rows.to_parquet(buffer, index=False)
    written = path.with_name(path.stem + ENDING)
    atomic_write(written, buffer.getvalue())
    return written


def _of_task(method: Method, i: int, task: Task) -> pd.DataFrame:
    model = method.task_model
    examples = find_scored_examples(task, method.protocol.score_on)
    assert examples is not None  # or the run could not have been scored
    rows = model.encode(task, examples)
    answers = Reader(method).answer_rows(i, rows, [TRAINED_HEAD])[TRAINED_HEAD]
    names = list(model.columns)
    ids = list(examples.ids) if len(examples.ids) else [str(number) for number in range(len(rows))]
    return pd.DataFrame(
        {
            "task": task.name,
            "id": ids,
            "prediction": [_name_answer(answer, names) for answer in answers],
            "reference": [_name_answer(each, names) for each in model.references(task, examples)],
            "score": score_rows(method, i, answers, examples),
        }
    )


def _name_answer(value: Any, names: list[str]) -> str:
    """Return an answer as text: a class by its name, several accepted texts with line breaks between."""
    if isinstance(value, int):
        return names[value]
    return value if isinstance(value, str) else "\n".join(value)
