"""What was found out about rows is found out once, and is what would be found out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import fingerprint as prints
from benchmark.data import outcomes
from benchmark.data.load import load as load_tasks
from benchmark.errors import UserError
from benchmark.running.catalogue import load_stream
from benchmark.stream import Examples, Request, Task
from tests.test_part_rows import answers, folders, image_table, texts

KINDS: dict[str, Callable[[Path], Path]] = {
    "texts": texts,
    "answers": answers,
    "folders": folders,
    "image table": image_table,
}
LIMITS = {"validation": 0.25, "train_limit": 7, "test_limit": 3}


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let outcomes of a few rows be kept, in a cache of the test's own."""
    monkeypatch.setattr(outcomes, "MANY", 1)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def load(path: Path, seed: int = 0, **changed: Any) -> tuple[list[Task], str]:
    stream = load_stream(str(path))
    protocol = stream.protocols["smoke"].model_copy(update=LIMITS | changed)
    tasks = load_tasks(stream, Request(stream.default_order, seed, protocol, None)).tasks
    return tasks, outcomes.fingerprint(tasks)


def seen(tasks: list[Task]) -> list[Any]:
    """Return all that is in tasks, as plain values."""
    found = []
    for task in tasks:
        found.append((task.name, task.classes, task.wording, task.metric))
        for rows in (task.train, task.validation, task.test):
            if rows is not None:
                inputs = list(rows.texts) or np.asarray(rows.inputs).tolist()
                labels = None if rows.labels is None else rows.labels.tolist()
                found.append((inputs, labels, rows.references and list(rows.references), list(rows.ids)))
    return found


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found out any more."""
    monkeypatch.setattr(prints, "fingerprint", None)
    monkeypatch.setattr(prints, "fingerprint_of", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_start_finds_out_nothing_again_and_gives_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = KINDS[kind](tmp_path)
    first, printed = load(path)
    rows_printed = [outcomes.fingerprint_of(task.train) for task in first]
    assert printed == prints.fingerprint(first)
    assert rows_printed == [prints.fingerprint_of(task.train) for task in first]
    with monkeypatch.context() as patch:
        patch.setenv("BENCH_CACHE", "off")
        plain, without_cache = load(path)
    assert without_cache == printed and seen(plain) == seen(first)
    assert any(task.validation is not None for task in first)
    with monkeypatch.context() as patch:
        refuse(patch)
        again, same = load(path)
        assert same == printed and seen(again) == seen(first)
        assert [outcomes.fingerprint_of(task.train) for task in again] == rows_printed


def test_whatever_changes_an_outcome_has_it_found_out_again(tmp_path: Path) -> None:
    path = texts(tmp_path)
    found = [load(path), load(path, seed=1), load(path, test_limit=2), load(path, validation=0.0)]
    table = tmp_path / "tickets.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("text 9,", "text nine,"), encoding="utf-8")
    found.append(load(path, train_limit=None))
    path.write_text(
        path.read_text(encoding="utf-8").replace("[table]", '[table]\ngroup = "G"'), encoding="utf-8"
    )
    found.append(load(path, train_limit=None))
    assert len({printed for _, printed in found}) == len(found)
    for tasks, printed in found:
        assert printed == prints.fingerprint(tasks)


def test_an_error_is_reported_at_every_start(tmp_path: Path) -> None:
    path = texts(tmp_path)
    for _ in range(2):
        with pytest.raises(UserError, match="scores on validation rows, but the task 'two' has none"):
            load(path, validation=0.0, score_on="validation")


def test_few_rows_and_rows_of_no_cache_are_looked_at_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Examples(["a", "b"], np.array([0, 1]), None, ["1", "2"])
    assert outcomes.state_of([Task("t", plain, plain, classes=("x", "y"))]) is None
    tasks, _ = load(texts(tmp_path))
    assert outcomes.state_of(tasks) is not None
    monkeypatch.setattr(outcomes, "MANY", 50)
    assert outcomes.state_of(tasks) is None
