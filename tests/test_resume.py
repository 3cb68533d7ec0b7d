"""Runs that are killed anywhere go on with the same bytes: here at every write, in test_kills.py for real."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.running import checkpoint, learner, sweep_folder
from benchmark.running.checkpoint import Checkpoint, Progress, TaskRecord, pack
from benchmark.running.driver import run
from benchmark.running.events import Event, StepDone, TaskDone
from benchmark.running.job import Outcome
from benchmark.running.plan import plan
from tests.outputs import content

pytestmark = pytest.mark.usefixtures("no_commit")
SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]
WRITES = 1 + 3 * 2 + 2  # that it began, state and progress of each task, then adapters and result


class Killed(BaseException):
    """Stands for a kill: nothing in the suite handles it."""


def small(out: Path, callback: Callable[[Event], None] = lambda event: None, seed: str = "0") -> Outcome:
    """Run a run of three tasks here, in well under a second."""
    (outcome,) = run(
        plan("litelora", "toy", seeds=seed, settings=SMALL), out, None, 1, "cpu", False, callback
    )
    return outcome


def folders(out: Path) -> list[str]:
    return [path.name for path in out.rglob("*") if path.is_dir() and sweep_folder.NAME not in path.parts]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run of the small run leaves."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DIR", str(out / "no-repository"))
        assert small(out).error is None
    found = content(out)
    assert sorted(Path(name).suffix for name in found) == [".json", ".safetensors"]
    return found


@pytest.mark.parametrize("renamed", [False, True], ids=["before-rename", "after-rename"])
def test_a_kill_at_any_write_changes_no_byte(
    renamed: bool, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    for number in count():
        out = tmp_path / str(number)
        calls = count()

        def crash(source: Any, target: Any, number: int = number, calls: Any = calls) -> None:
            last = next(calls) == number
            if renamed or not last:
                replace(source, target)
            if last:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", crash)
            patch.setattr(os, "getpid", lambda: 1)  # the next run is another process
            try:
                small(out)
                break
            except Killed:
                pass
        # Without the rename, the half-done file lies there as a real kill leaves it.
        assert bool(list(out.rglob(".*.tmp"))) is not renamed
        done = small(out)
        assert done.error is None
        assert done.skipped is (renamed and number == WRITES - 1)
        assert content(out) == whole
        assert folders(out) == ["toy", "smoke"]
    assert number == WRITES


def test_stops_at_random_steps_change_no_byte_and_repeat_no_task(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    drawn = random.Random(3)
    learned: list[int] = []
    stops = 0
    while True:
        left = drawn.randint(1, 20)  # a task takes up to 4 + 12 steps

        def stop(event: Event) -> None:
            nonlocal left
            if isinstance(event, TaskDone):
                learned.append(event.task)
            left -= isinstance(event, StepDone)
            if left < 0:
                raise KeyboardInterrupt

        try:
            outcome = small(tmp_path, stop)
            break
        except KeyboardInterrupt:
            stops += 1
            assert stops < 100
    assert outcome.error is None and not outcome.skipped
    assert stops >= 2
    assert learned == [0, 1, 2]
    assert content(tmp_path) == whole
    assert folders(tmp_path) == ["toy", "smoke"]


def test_a_seed_has_a_file_of_its_own(whole: dict[str, bytes], tmp_path: Path) -> None:
    first, second = small(tmp_path), small(tmp_path, seed="1")
    assert first.path != second.path
    both = content(tmp_path)
    assert {name: both[name] for name in whole} == whole
    assert len(both) == 4
    assert len(set(both.values())) == 4


def invoke(out: Path, *more: str) -> Result:
    settings = [part for text in SMALL for part in ("--set", text)]
    command = ["run", "--method", "litelora", "--stream", "toy", *settings, "--out", str(out), *more]
    return CliRunner().invoke(app, command)


def test_a_complete_run_is_skipped_and_says_so_and_fresh_runs_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke(tmp_path).exit_code == 0
    (path,) = tmp_path.rglob("*.json")
    written, before = path.read_bytes(), content(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(learner, "Learner", None)  # a skipped run loads no model
        again = invoke(tmp_path)
        assert again.exit_code == 0, again.stderr
        assert "already complete, skipped" in again.stdout
        assert path.read_bytes() == written
        assert invoke(tmp_path, "--fresh").exit_code == 1
    fresh = invoke(tmp_path, "--fresh")
    assert fresh.exit_code == 0, fresh.stderr
    assert "already complete, skipped" not in fresh.stdout
    assert "task 1/3" in fresh.stdout
    assert path.read_bytes() != written  # another timing
    assert content(tmp_path) == before


def record(*scores: float | None) -> TaskRecord:
    """Return what is known of a task of three steps."""
    return TaskRecord(
        readings={"trained_head": {"scores": [0.5], "rows": [""]}},
        forward_equivalents=12.0,
        scores=list(scores),
        steps=3,
        trainable=2,
        head_trainable=1,
        adapters=1,
        active=1,
        report={},
        train_seconds=1.0,
        score_seconds=1.0,
        samples_per_second=1.0,
    )


def saved(folder: Path) -> tuple[Checkpoint, Progress]:
    """Return a checkpoint after one task."""
    made = Checkpoint(folder / "run.json")
    progress = Progress(key="key", fingerprint="print", tasks=[record(0.5, None)])
    made.save(progress, pack({"weight": torch.ones(2)}))
    return made, progress


@pytest.mark.parametrize("crash_at", ["after-task-2.safetensors", "progress.json"])
def test_a_crash_before_a_checkpoint_is_whole_leaves_the_previous_one(
    crash_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, progress = saved(tmp_path)
    write = checkpoint.atomic_write

    def crash(path: Path, data: bytes) -> None:
        if path.name == crash_at:
            raise Killed
        write(path, data)

    monkeypatch.setattr(checkpoint, "atomic_write", crash)
    progress.tasks.append(record(0.25, 0.75))
    with pytest.raises(Killed):
        made.save(progress, pack({"weight": torch.zeros(2)}))
    loaded = made.load("key")
    assert loaded is not None
    assert loaded[0].tasks == [record(0.5, None)]
    assert torch.equal(loaded[1]["weight"], torch.ones(2))
    monkeypatch.setattr(checkpoint, "atomic_write", write)
    made.save(progress, pack({"weight": torch.zeros(2)}))
    loaded = made.load("key")
    assert loaded is not None and loaded[0].finished == 2
    assert torch.equal(loaded[1]["weight"], torch.zeros(2))
    names = sorted(path.name for path in made.folder.iterdir())
    assert names == ["after-task-2.safetensors", "progress.json"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    made, _ = saved(tmp_path)
    with pytest.raises(UserError, match="other settings or data; --fresh starts over"):
        made.load("another key")


def test_a_run_does_not_go_on_with_other_code_of_its_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, TaskDone):
            raise Killed

    monkeypatch.setattr(learner, "hash_method", lambda key: "0" * 64)
    with pytest.raises(Killed):
        small(tmp_path, kill)
    monkeypatch.setattr(learner, "hash_method", lambda key: "1" * 64)
    error = small(tmp_path).error
    assert error is not None and "begun by other code of the method" in error
    # Where the code's file is not known, as in a notebook, the run goes on.
    monkeypatch.setattr(learner, "hash_method", lambda key: None)
    assert small(tmp_path).error is None


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "run.json").load("key") is None
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_the_form_with_one_list_a_field_is_refused_in_one_line(tmp_path: Path) -> None:
    made, _ = saved(tmp_path)
    (made.folder / "progress.json").write_text('{"key": "key", "matrix": [[0.5]], "steps": [3]}', "utf-8")
    with pytest.raises(UserError, match="begun by an earlier version; --fresh starts the run over"):
        made.load("key")


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "progress", "fields"])
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    made, _ = saved(tmp_path)
    state, progress = made.folder / "after-task-1.safetensors", made.folder / "progress.json"
    data = state.read_bytes()
    if damage == "cut":
        state.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        state.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "missing":
        state.unlink()
    elif damage == "progress":
        progress.write_bytes(progress.read_bytes()[:40])
    else:
        progress.write_text('{"colour": "red"}', encoding="utf-8")
    with pytest.raises(UserError, match="damaged; run again with --fresh") as caught:
        made.load("key")
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_fails_the_run_and_fresh_starts_it_over(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TaskDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, stop)
    (state,) = tmp_path.rglob("after-task-1.safetensors")
    state.write_bytes(b"{}")
    failed = small(tmp_path)
    assert failed.error is not None and "--fresh" in failed.error
    assert invoke(tmp_path, "--fresh").exit_code == 0
    assert content(tmp_path) == whole
