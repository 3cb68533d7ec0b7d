"""What a sweep keeps beside its results: locks, failures, events and fingerprints; names stay inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.running.data_index import DataIndex
from benchmark.running.driver import run
from benchmark.running.event_log import EventLog, Tail
from benchmark.running.events import Event, RunDone, RunStarted, StepDone, TaskDone
from benchmark.running.job import Conditions, Outcome
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import load_data
from methods.seq_lora import METHOD as SequentialLoRA
from tests.command import ROOT

SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]


def runs(methods: str = "frozen", seeds: str = "0") -> list[Run]:
    return plan(methods, "toy", seeds=seeds, settings=SMALL)


def go(asked: list[Run], out: Path, **conditions: Any) -> list[Outcome]:
    return run(asked, out, None, 1, "cpu", False, lambda event: None, Conditions(**conditions))


HOLD = """
import sys, time
from pathlib import Path
from benchmark.running.plan import plan
from benchmark.running.sweep_folder import SweepFolder
(run,) = plan("frozen", "toy", settings={settings!r})
with SweepFolder(Path(sys.argv[1])).claim(run) as ours:
    print(ours, flush=True)
    time.sleep(600)
"""


def holder(out: Path) -> subprocess.Popen[str]:
    """Start a process that holds the first run, and wait until it does."""
    program = HOLD.format(settings=SMALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_a_run_has_one_owner_until_its_process_dies(tmp_path: Path) -> None:
    folder, (run,) = SweepFolder(tmp_path), runs()
    assert not folder.is_claimed(run)
    process = holder(tmp_path)
    try:
        assert folder.is_claimed(run)
        with folder.claim(run) as ours:
            assert not ours
        mine, theirs = go(runs(seeds="1,0"), tmp_path)
        assert (mine.state, theirs.state) == ("complete", "running elsewhere")
        assert theirs.result is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The system released the lock of the killed process: nothing has to be deleted by hand.
    assert not folder.is_claimed(run)
    assert [outcome.state for outcome in go([run], tmp_path)] == ["complete"]


def test_two_claims_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    folder, (run,) = SweepFolder(tmp_path), runs()
    with folder.claim(run) as first, folder.claim(run) as second:
        assert (first, second) == (True, False)
    with folder.claim(run) as third:
        assert third


def test_a_run_of_another_sweep_is_looked_at_again_at_the_end(tmp_path: Path) -> None:
    first, second = runs(seeds="0-1")
    folder, seen = SweepFolder(tmp_path), []
    claim = folder.claim(first)
    assert claim.__enter__()

    def callback(event: Event) -> None:
        seen.append(event)
        if isinstance(event, RunDone) and event.run == second:
            claim.__exit__(None, None, None)  # the other sweep gives it up meanwhile

    outcomes = run([first, second], tmp_path, None, 1, "cpu", False, callback)
    assert [outcome.state for outcome in outcomes] == ["complete", "complete"]
    assert [event.run.seed for event in seen if isinstance(event, RunDone)] == [1, 0]


def fail(*_: Any, **__: Any) -> None:
    raise RuntimeError("shapes differ")


def test_a_failed_run_is_recorded_and_waits_for_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    (run,) = runs("seq-lora")
    with monkeypatch.context() as patch:
        patch.setattr(SequentialLoRA, "phases", fail)
        assert "shapes differ" in str(go([run], tmp_path)[0].error)
        assert "shapes differ" in str(go([run], tmp_path, retry=True)[0].error)
    failure = SweepFolder(tmp_path).failure(run)
    assert failure is not None
    assert (failure.times, failure.run) == (2, run.name)
    (again,) = go([run], tmp_path)
    assert again.state == "failed"
    assert "shapes differ" in str(again.error) and "--retry" in str(again.error)
    assert [outcome.state for outcome in go([run], tmp_path, retry=True)] == ["complete"]
    assert SweepFolder(tmp_path).failure(run) is None


def test_what_fails_before_it_begins_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    (run,) = plan("frozen", "omniglot")
    for _ in range(2):
        with pytest.raises(UserError, match="BENCH_DATA") as refused:
            go([run], tmp_path)
        assert "--retry" not in str(refused.value)
    assert SweepFolder(tmp_path).failure(run) is None


@pytest.mark.parametrize("content", [b"", b'{"run": 3}', b"\xff"])
def test_a_broken_record_of_a_failure_is_no_failure(content: bytes, tmp_path: Path) -> None:
    folder, (run,) = SweepFolder(tmp_path), runs()
    folder.note_failure(run, "no room")
    assert folder.failure(run) is not None
    folder.file("failed", run).write_bytes(content)
    assert folder.failure(run) is None


def test_the_log_of_a_run_tells_its_events_with_their_times(tmp_path: Path) -> None:
    (run,) = runs()
    (outcome,) = go([run], tmp_path)
    path = SweepFolder(tmp_path).log(run)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kinds = [row["kind"] for row in rows if row["kind"] != "StepDone"]
    assert kinds == ["RunStarted", "TaskDone", "TaskDone", "TaskDone", "RunDone"]
    assert rows[0]["process"] == os.getpid()
    assert outcome.result is not None
    tasks = [row for row in rows if row["kind"] == "TaskDone"]
    assert [row["score"] for row in tasks] == [outcome.result.matrix[t][t] for t in range(3)]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert (rows[-1]["state"], rows[-1]["error"]) == ("complete", None)
    size = path.stat().st_size
    go([run], tmp_path)  # skipped
    assert path.stat().st_size == size


def test_a_reader_gets_whole_events_even_after_a_killed_writer(tmp_path: Path) -> None:
    (run,) = runs()
    path = tmp_path / "events" / "log.jsonl"
    tail = Tail(path, run)
    assert tail.events() == []
    EventLog(path)(RunStarted(run, 3))
    assert tail.events() == [RunStarted(run, 3)]
    with open(path, "a", encoding="utf-8") as log:
        log.write('{"kind": "StepDone", "task": 0, "frac')  # here it was killed
    assert tail.events() == []
    EventLog(path)(TaskDone(run, 0, 3, "apples", 0.5, None, 1.0))
    EventLog(path)(StepDone(run, 1, 0.5))
    assert tail.events() == [TaskDone(run, 0, 3, "apples", 0.5, None, 1.0), StepDone(run, 1, 0.5)]
    assert Tail(path, run).events() == []  # from now on


def test_a_complete_run_is_skipped_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.running import worker

    asked = runs("frozen,joint")
    go(asked, tmp_path)
    monkeypatch.setattr(worker, "load_data", fail)
    assert [outcome.skipped for outcome in go(asked, tmp_path)] == [True, True]


@pytest.mark.parametrize("change", ["file", "new file", "time"])
def test_changed_data_is_loaded_again(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.csv").write_text("1,2", encoding="utf-8")
    (run,) = runs()
    loaded, found = load_data(run, None)
    DataIndex(tmp_path / "out", data).note(run, found, loaded)
    assert DataIndex(tmp_path / "out", data).find_fingerprint(run) == found
    assert DataIndex(tmp_path / "out", data).find_fingerprint(replace(run, seed=5)) is None
    if change == "file":
        (data / "rows.csv").write_text("1,2,3", encoding="utf-8")
    elif change == "new file":
        (data / "more.csv").write_text("", encoding="utf-8")
    else:
        os.utime(data / "rows.csv", ns=(1, 1))
    assert DataIndex(tmp_path / "out", data).find_fingerprint(run) is None


@pytest.mark.parametrize("name", ["../up", "a/b", "/root", ".hidden", "a\\b", "", "line\nbreak"])
@pytest.mark.parametrize("place", ["method", "stream", "order"])
def test_no_name_leads_out_of_the_output_folder(place: str, name: str, tmp_path: Path) -> None:
    (run,) = runs()
    bad = replace(run, **{place: name})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot be part of a file's name"):
        bad.path(tmp_path, "print")
    with pytest.raises(UserError):
        SweepFolder(tmp_path).file("locks", bad)


@pytest.mark.slow
def test_two_sweeps_started_at_once_share_the_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--method", "seq-lora", "--stream", "toy"]
    command += ["--seed", "0-5", "--out", str(tmp_path), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    reports = []
    for process in both:
        printed, errors = process.communicate(timeout=300)
        assert process.returncode in (0, 1), errors
        reports.append(json.loads(printed)["runs"])
    own = [[run["state"] == "complete" and not run["skipped"] for run in report] for report in reports]
    # Each run was worked on once, and neither process did all the work.
    assert [sum(pair) for pair in zip(*own, strict=True)] == [1] * 6
    assert 0 < sum(own[0]) < 6
    assert len(list(tmp_path.rglob("*.json"))) == 6
