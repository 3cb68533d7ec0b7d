"""The script that counts kills: it tells what is not as undisturbed, and that nothing was hit."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import kills


def left_by(monkeypatch: pytest.MonkeyPatch, *left: dict[str, bytes], hits: int) -> None:
    """Have the script find what is given here, the undisturbed runs first, and hit so often in each try."""
    found = iter(left)
    monkeypatch.setattr(kills.Ground, "lay_out", lambda self: None)
    monkeypatch.setattr(kills.Ground, "finish", lambda *_: next(found))
    monkeypatch.setattr(kills, "kills_of", lambda *_: iter(["at work"] * hits))


def test_a_file_that_is_not_as_undisturbed_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = {"a.json": b"1", "b.json": b"2"}
    left_by(monkeypatch, whole, whole, {"a.json": b"1", "b.json": b"3"}, {"a.json": b"1"}, hits=8)
    tally = kills.suffer("image", tmp_path / "image", 24, seed=0)  # rounds of 8
    assert tally.rounds == 3 and tally.kills == {"at work": 24}
    assert tally.differing == ["killed-1/b.json", "killed-2/b.json"]


def test_runs_that_nothing_hits_prove_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left_by(monkeypatch, *[{}] * 9, hits=0)
    with pytest.raises(RuntimeError, match="3 rounds in a row ended before anything was killed"):
        kills.suffer("image", tmp_path / "image", 8, seed=0)


def test_a_run_that_was_lost_for_memory_counts_once() -> None:
    lost = "the worker was lost 3 times: Task was killed due to the node running low on memory."
    reported = (
        f"seq-lora on toy, order 1, seed 0 | failed: {lost} | 1 of 2 runs\nfailed: seq-lora on toy: {lost}\n"
    )
    assert kills.lost_for_memory(reported) == 1
    assert kills.lost_for_memory("failed: seq-lora on toy: no good\n") == 0


def test_a_tally_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole, file = {"a.json": b"1"}, tmp_path / "kills.jsonl"
    left_by(monkeypatch, whole, whole, {"a.json": b"2"}, hits=8)
    first = kills.suffer("image", tmp_path / "first", 16, 0, file)
    left_by(monkeypatch, whole, whole, hits=8)
    second = kills.suffer("image", tmp_path / "second", 24, 0, file)
    assert (first.kills.total(), first.rounds) == (16, 2)
    assert (second.kills.total(), second.rounds, second.files) == (24, 3, 1)
    assert second.differing == ["killed-1/a.json"], "what differed is not forgotten"
    left_by(monkeypatch, hits=0)
    assert kills.suffer("image", tmp_path / "third", 24, 0, file) == second, "nothing is left to do"


def test_a_tally_counts_no_round_of_other_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "kills.jsonl"
    left_by(monkeypatch, {}, {}, hits=8)
    kills.suffer("image", tmp_path / "first", 8, 0, file)
    monkeypatch.setattr(kills, "code", lambda: "other")
    left_by(monkeypatch, {}, {}, hits=8)
    assert kills.suffer("image", tmp_path / "second", 8, 0, file).rounds == 1
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2


def test_the_shares_of_the_scenarios_are_all_kills() -> None:
    """With 200 kills: image 80, text 80, a shared cache 16, worker 8, driver 2, memory 8, gcs 6."""
    counts = {name: round(200 * scenario.share) for name, scenario in kills.SCENARIOS.items()}
    assert counts == {"image": 80, "text": 80, "cache": 16, "worker": 8, "driver": 2, "gcs": 6, "memory": 8}
    assert sum(counts.values()) == 200
