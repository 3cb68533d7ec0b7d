"""Three readings of one run: what each means, that one pass serves all, and what is blank and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.analysis import missing_readings
from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.method import Method
from benchmark.publishing.board import boards
from benchmark.publishing.collect import Row
from benchmark.publishing.tables import main_table
from benchmark.registry import STREAMS
from benchmark.result_files import pack, read_all
from benchmark.results import CLASS_MEANS, READINGS, TASK_INCREMENTAL, TRAINED_HEAD, Reading, read, write
from benchmark.running import readings
from benchmark.running.learner import drop_repeated
from benchmark.running.readings import Reader, only_masks, pack_stage, rows_a_class
from tests import tiny
from tests.factories import matrix, result
from tests.factories import readings as made_up


def learned(key: str = "seq-lora", kind: str = "image", tasks: int = 2, **settings: Any) -> Method:
    method = tiny.make_method(key, kind, settings=settings)
    for t in range(tasks):
        tiny.learn(method, t)
    return method


def read_all_tasks(method: Method, tasks: int = 2) -> tuple[Reader, dict[int, readings.RowScores]]:
    reader = Reader(method)
    reader.take_means(range(tasks))
    scores = {}
    for i in range(tasks):
        examples = method.task_model.tasks[i].test
        scores[i] = reader.read(i, tiny.rows(method, i, "test"), examples)
    return reader, scores


@pytest.mark.parametrize("kind", ["vector", "image", "encoder"])
def test_the_readings_are_what_three_passes_would_give(kind: str) -> None:
    method = learned(kind=kind)
    reader, scores = read_all_tasks(method)
    assert reader.blank == {}
    for i in range(2):
        batch = tiny.whole(tiny.rows(method, i, "test"))
        assert batch.labels is not None
        truth = batch.labels.tolist()
        for name, answers in (
            (TRAINED_HEAD, method.predict(batch, None)),
            (TASK_INCREMENTAL, method.predict(batch, i)),
        ):
            assert scores[i][name] == [float(a == b) for a, b in zip(answers, truth, strict=True)]
        # All 6 train rows of each class are fewer than 20, so their mean is that of the split.
        means = []
        for j in range(2):
            rows = tiny.whole(tiny.rows(method, j))
            with torch.no_grad():
                features = method.task_model.features(rows)
            means += [
                features[rows.labels == c].mean(0)
                for c in method.task_model.task_columns(method.task_model.tasks[j])
            ]
        with torch.no_grad():
            found = method.task_model.features(batch)
        nearest = torch.nn.functional.cosine_similarity(
            found[:, None], torch.stack(means)[None], dim=2
        ).argmax(1)
        assert scores[i][CLASS_MEANS] == [float(a == b) for a, b in zip(nearest.tolist(), truth, strict=True)]


@pytest.mark.parametrize("key", ["seq-lora", "ncm", "sema", "gainlora"])
def test_one_pass_over_the_test_rows_serves_all_readings(key: str) -> None:
    method = learned(key)
    reader = Reader(method)
    reader.take_means(range(2))
    rows, asked = tiny.rows(method, 0, "test"), []
    predict = method.predict
    method.predict = lambda batch, task: asked.append(task) or predict(batch, task)  # type: ignore[method-assign]
    found = reader.read(0, rows, method.task_model.tasks[0].test)
    assert set(found) == set(READINGS) and asked == [None]


def test_a_method_with_the_task_id_has_no_class_means() -> None:
    reader, scores = read_all_tasks(learned("independent"))
    assert reader.blank == {CLASS_MEANS: readings.BY_TASK_ID}
    assert scores[0][TASK_INCREMENTAL] == scores[0][TRAINED_HEAD]


def test_a_prediction_that_is_changed_afterwards_is_not_taken_for_one_pass() -> None:
    class Contrary(type(learned(tasks=0))):  # type: ignore[misc]
        def predict(self, batch: Batch, task: int | None) -> list[Any]:
            return [0 for _ in super().predict(batch, task)]

    method = learned()
    assert only_masks(type(method)) and not only_masks(Contrary)
    method.__class__ = Contrary
    reader, scores = read_all_tasks(method)
    assert reader.blank == {CLASS_MEANS: readings.NO_FEATURE}
    assert scores[1][TASK_INCREMENTAL] == [0.0] * len(scores[1][TRAINED_HEAD])


def test_a_language_model_that_chooses_labels_is_read_with_the_task_id() -> None:
    method = learned(kind="causal")
    reader, scores = read_all_tasks(method)
    assert list(reader.blank) == [CLASS_MEANS]
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    task = method.task_model.tasks[0]
    answers = method.predict(batch, 0)
    truth = [task.classes[label] for label in task.test.labels]
    assert scores[0][TASK_INCREMENTAL] == [float(a == b) for a, b in zip(answers, truth, strict=True)]
    free = Reader(learned(kind="causal", tasks=0, decoding="greedy"))
    assert set(free.blank) == {CLASS_MEANS, TASK_INCREMENTAL}


def test_rows_of_class_means_are_few_and_the_same_each_time() -> None:
    (task,) = tiny.tasks("image", count=1, rows=30)
    chosen = rows_a_class(task, 20)
    assert chosen == rows_a_class(task, 20) and chosen == sorted(set(chosen))
    assert [sum(task.train.labels[row] == label for row in chosen) for label in (0, 1)] == [20, 20]


def test_a_stage_is_ragged_and_its_scores_are_means_of_its_rows() -> None:
    scores = {0: {TRAINED_HEAD: [1.0, 0.0, 1.0, 0.0]}, 2: {TRAINED_HEAD: [1.0, 1.0, 1.0, 0.0]}}
    stage = pack_stage(scores, ["accuracy"] * 3, {CLASS_MEANS: "none", TASK_INCREMENTAL: "none"})
    # Bits 1010 -> 0xA0 = "oA==", 1110 -> 0xE0 = "4A=="; task 2 was not asked for.
    assert stage == {TRAINED_HEAD: {"scores": [0.5, None, 0.75], "rows": ["oA==", "", "4A=="]}}


def test_a_report_says_each_thing_once() -> None:
    before = [{"kept": True, "share": 0.5}, {"share": 0.25}]
    assert drop_repeated({"kept": True, "share": 0.5, "new": 1}, before) == {"share": 0.5, "new": 1}


def test_a_run_has_its_index_as_order_and_seed() -> None:
    stream = STREAMS.load("digits")
    first, second, *_ = stream.orders
    assert stream.run_index(first, 0) == 0 and stream.run_index(second, 1) == 1
    assert stream.run_index(first, 1) is None


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The result of a small run."""
    from tests.test_rescoring import SMALL, invoke

    settings = [part for text in SMALL for part in ("--set", text)]
    settings += ["--set", "protocol.head=class-incremental"]
    done = invoke("run", "--method", "seq-lora", "--stream", "toy", *settings, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    return path


def test_score_adds_the_readings_that_a_result_lacks(finished: Path) -> None:
    from tests.test_rescoring import invoke

    whole = read(finished)
    # 5 epochs, forward 1 and back 2 a row: the adapter is in the only block.
    assert whole.forward_equivalents == [facts.train * 5 * 3.0 for facts in whole.tasks]
    write(whole.model_copy(update={"readings": {TRAINED_HEAD: whole.readings[TRAINED_HEAD]}}), finished)
    done = invoke("score", finished)
    assert done.exit_code == 0 and "for the last stage: class_means, task_incremental" in done.stdout
    filled = read(finished)
    for name in (CLASS_MEANS, TASK_INCREMENTAL):
        assert filled.readings[name].matrix == [[], [], whole.readings[name].matrix[-1]]
        assert filled.readings[name].rows[-1] == whole.readings[name].rows[-1]
    assert missing_readings.fill(finished, None) == []


def test_readings_of_another_model_are_not_added(finished: Path) -> None:
    whole = read(finished)
    head = whole.readings[TRAINED_HEAD]
    wrong = Reading(matrix=[*head.matrix[:-1], [0.0, 0.0, 0.0]], rows=head.rows)
    write(whole.model_copy(update={"readings": {TRAINED_HEAD: wrong}}), finished)
    with pytest.raises(UserError, match="do not give its scores"):
        missing_readings.fill(finished, None)


def test_packed_results_come_back_and_are_sorted(tmp_path: Path) -> None:
    runs = [result("beta"), result("alpha", 1), result("alpha", 0)]
    path = tmp_path / "tiny.jsonl"
    path.write_bytes(pack(runs))
    found, _ = read_all(path)
    assert [(run.method, run.seed) for _, run in found] == [("alpha", 0), ("alpha", 1), ("beta", 0)]
    assert {run.key for _, run in read_all(tmp_path)[0]} == {run.key for run in runs}
    path.write_bytes(path.read_bytes()[:-20])
    found, (problem,) = read_all(path)
    assert len(found) == 2 and "tiny.jsonl, line 3 is not complete JSON" in problem


def test_tables_show_the_readings_and_sort_by_each() -> None:
    """By the head alpha leads 70.0 to 50.0, by class means beta with 90.0 to 80.0."""

    def both(method: str, head: float, means: float) -> Row:
        scores = {CLASS_MEANS: made_up(matrix(means, first=means))[TRAINED_HEAD]}
        made = result(method, scores=matrix(head, first=head))
        return Row(method, (made.model_copy(update={"readings": made.readings | scores}),))

    rows = [both("alpha", 0.7, 0.8), both("beta", 0.5, 0.9)]
    plain, sorted_by = (main_table(*boards(rows), name) for name in (TRAINED_HEAD, CLASS_MEANS))
    assert "AP, class means" in plain and "AP, task id" not in plain
    assert plain.index("alpha") < plain.index("beta") and sorted_by.index("beta") < sorted_by.index("alpha")
