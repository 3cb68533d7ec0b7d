"""What a machine refuses: one line with what to do, exit code 2, and nothing is held against the run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmark.cli import app
from benchmark.errors import MachineError, refusal
from benchmark.running import checkpoint
from benchmark.running.sweep_folder import SweepFolder
from methods.seq_lora import METHOD
from tests.command import ROOT
from tests.outputs import content

SMALL = ("stream.tasks=2", "stream.train_rows=8", "stream.test_rows=4", "epochs=1")
RUN = ["run", "--stream", "toy", *(part for text in SMALL for part in ("--set", text))]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DEBUG", raising=False)


def run(out: Path, methods: str = "seq-lora,frozen") -> Result:
    return CliRunner().invoke(app, [*RUN, "--method", methods, "--out", str(out)])


def assert_goes_on(out: Path) -> None:
    """Check that nothing was noted against a run, and that the same command ends as an undisturbed one."""
    assert not SweepFolder(out).names("failed")
    assert run(out).exit_code == 0
    assert run(out.parent / "undisturbed").exit_code == 0
    assert content(out) == content(out.parent / "undisturbed")


def test_what_is_of_the_machine_and_what_is_not() -> None:
    full = refusal(OSError(errno.ENOSPC, "No space left on device", "/d/x"))
    assert str(full) == "No space left on device (/d/x); free space there, then the same command goes on"
    assert full is not None and not full.memory
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "no"),
    ):
        refused = refusal(error)
        assert isinstance(refused, MachineError) and refused.memory and "the memory ran out" in str(refused)
    assert refusal(OSError(errno.ENOENT, "No such file")) is None and refusal(RuntimeError("no good")) is None


def test_a_full_disk_stops_the_sweep_and_is_not_the_runs_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    sound, written = os.fsync, []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) > 2:  # that the run began and the first task's adapters, and nothing more
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sound(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = run(out)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: seq-lora on toy, order 1, seed 0: cannot write ")
    assert "progress.json: No space left on device; free space there" in done.stderr
    assert "frozen on toy" not in done.stdout.partition("of the stream")[2]  # no other run was begun
    assert_goes_on(out)


def test_memory_that_is_refused_stops_one_run_and_is_not_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"

    def refuse(self: object, t: int, rows: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(METHOD, "end_task", refuse)
        done = run(out)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "failed: seq-lora on toy, order 1, seed 0: the memory ran out (MemoryError)" in done.stderr
    assert "frozen on toy, order 1, seed 0 | complete" in done.stdout
    assert_goes_on(out)


def test_a_folder_that_is_lost_in_the_middle_is_reported_or_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    sound = checkpoint.Checkpoint.save

    def lose(self: checkpoint.Checkpoint, progress: checkpoint.Progress, state: bytes) -> None:
        shutil.rmtree(out)
        out.write_text("no folder")
        sound(self, progress, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "save", lose)
        done = run(out)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr and "see to it that the folder is there" in done.stderr
    out.unlink()
    assert_goes_on(out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_takes_nothing_is_reported_in_one_line() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "benchmark", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device; free space there, then the same command goes on\n"
