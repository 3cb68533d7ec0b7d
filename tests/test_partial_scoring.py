"""Scoring less: the diagonal and the last row, settled scores once; and what a plan says is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import row_cache
from benchmark.results import TRAINED_HEAD, Result, read
from benchmark.running import learner
from benchmark.running.readings import Reader
from tests import tiny
from tests.command import invoke

SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]


def run(out: Path, method: str, *more: object) -> Result:
    """Return the result of a small run."""
    settings = [part for text in SMALL for part in ("--set", text)]
    done = invoke("run", "--method", method, "--stream", "toy", *settings, "--out", out, *more)
    assert done.exit_code == 0, done.stderr
    (path,) = out.rglob("*.json")
    return read(path)


def test_the_diagonal_and_the_last_row_are_those_of_a_whole_matrix(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "sd-lora").matrix
    part = run(tmp_path / "part", "sd-lora", "--score-at", "diagonal+last")
    a, b, c = (row[t] for t, row in enumerate(whole))
    assert part.matrix == [[a, None, None], [None, b, None], [whole[2][0], whole[2][1], c]]
    assert [[bool(text) for text in row] for row in part.readings[TRAINED_HEAD].rows] == [
        [True],
        [False, True],
        [True, True, True],
    ]
    # What the runs allow is there, what they do not is blank.
    x, y, z = (score or 0 for score in part.matrix[2])
    assert part.headline["average_performance"] == pytest.approx((x + y + z) / 3)
    assert part.headline["backward_transfer"] == pytest.approx((x - (a or 0) + y - (b or 0)) / 2)
    assert part.headline["average_anytime"] is None


def test_it_is_another_cell_than_one_with_a_whole_matrix(tmp_path: Path) -> None:
    keys = {run(tmp_path / at, "sd-lora", "--score-at", at).key for at in ("every", "diagonal+last")}
    assert len(keys) == 2


def test_settled_scores_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told the task, `independent` answers for it as when it was learned: three tasks, three scores made."""
    asked: list[int] = []
    plain = Reader.read

    def counted(reader: Reader, task: int, *rest: Any, seen: bool = True) -> Any:
        asked.append(task)
        return plain(reader, task, *rest, seen=seen)

    monkeypatch.setattr(Reader, "read", counted)
    matrix = run(tmp_path / "a", "independent").matrix
    assert asked == [0, 1, 2]
    assert matrix[2][0] == matrix[1][0] == matrix[0][0] is not None
    asked.clear()
    # With a loss over all classes later tasks train the head rows of earlier ones.
    run(tmp_path / "b", "independent", "--set", "loss=full")
    assert asked == [0, 0, 1, 0, 1, 2]


def test_a_taken_over_score_is_the_one_that_would_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = run(tmp_path / "a", "independent").readings
    monkeypatch.setattr(learner.Learner, "_take_over", lambda *_: None)
    assert run(tmp_path / "b", "independent").readings == taken


def test_a_plan_says_what_the_prefix_takes_and_refuses_other_blocks() -> None:
    """vit-nano: 16 patches and a class token of 128 numbers in 4 bytes, 17 x 128 x 4 = 8704 bytes a row."""
    common = ["plan", "--method", "sd-lora", "--stream", "digits", "--set"]
    shown = invoke(*common, "protocol.blocks=last:2").stdout
    assert "at most 8.7 MB for 1,000 rows on the disk (17 tokens of 128 numbers)" in shown
    assert "prefix  " not in invoke(*common, "protocol.blocks=all").stdout
    refused = invoke(*common, "protocol.blocks=last:99")
    assert refused.exit_code == 2 and "the nearest valid value is last:6" in refused.stderr


def test_a_plan_says_that_rows_scored_by_labels_take_more() -> None:
    """A tiny causal model: a training row has 80 tokens of a prompt and 16 of an answer, of 32 numbers."""
    backbone = tiny.folder("causal")
    common = ["plan", "--method", "sd-lora", "--stream", "standard-cl", "--backbone", str(backbone)]
    common += ["--set", "protocol.blocks=last:1", "--set", "protocol.source_length=80"]
    generated = invoke(*common).stdout
    assert "(96 tokens of 32 numbers); " in generated
    # 96 x 32 x 4 = 12288 bytes a row; how much more of a test row hangs on the labels, so no sum is given.
    picked = invoke(*common, "--set", "protocol.decoding=labels-sum").stdout
    said = "(96 tokens of 32 numbers), more for a test row, behind which all labels stand; "
    assert f"at most 12.3 MB for 1,000 rows on the disk {said}" in picked


def test_the_cache_is_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(row_cache.VARIABLE, str(tmp_path / "cache"))
    assert "is empty" in invoke("data", "cache").stdout
    row_cache.map_cached("tokens", ["k"], lambda arrays: arrays.append("a", np.zeros(4)))
    lines = invoke("data", "cache").stdout.splitlines()
    assert lines[-1].split()[:2] == ["tokens", "1"]
    wrong = invoke("data", "cache", "--clear", "tokns")
    assert wrong.exit_code == 2 and "did you mean 'tokens'" in wrong.stderr
    assert "deleted 0 entries" in invoke("data", "cache", "--clear", "tokens", "--unused-days", 1).stdout
    assert "deleted 1 entries" in invoke("data", "cache", "--clear", "all").stdout
    assert "is empty" in invoke("data", "cache").stdout
