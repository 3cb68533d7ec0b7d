"""Faults that really happen: processes killed, runs that hang, raise or fill the disk, Ctrl-C."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmark.running import sweep_folder
from tests.command import ROOT, install
from tests.outputs import content

# The machine may stand still meanwhile, for minutes as has been seen.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FAULTY = '''
"""Sequential LoRA that misbehaves at its second task in the way that the variable FAULT names."""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch

from methods.seq_lora import METHOD as SequentialLoRA


class Faulty(SequentialLoRA):
    def begin_task(self, t, rows):
        super().begin_task(t, rows)
        fault = os.environ.get("FAULT", "none")
        if fault == "die at times":
            mark = Path(os.environ["MARKS"]) / str(t)
            deaths = len(mark.read_bytes()) if mark.exists() else 0
            if t and deaths < 2:
                mark.write_bytes(b"x" * (deaths + 1))
                os.kill(os.getpid(), signal.SIGKILL)
        if t != 1:
            return
        if fault == "raise":
            raise RuntimeError("no good")
        if fault == "hoard":
            torch.empty(1 << 40)  # 4 TiB, more than the test lets the process have
        if fault == "hang":
            ctypes.PyDLL(None).sleep(600)  # outside Python, and no other thread of the process goes on
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)

    def end_task(self, t, rows):
        super().end_task(t, rows)
        if t == 1 and os.environ.get("FAULT") == "nan":
            next(iter(self.stack.parameters())).data[0, 0] = float("nan")


METHOD = Faulty
'''
SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]
SETTINGS = [part for text in SMALL for part in ("--set", text)]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the method `faulty`."""
    folder = tmp_path_factory.mktemp("site")
    return install(folder, "faults", "[bench.methods]\nfaulty = faulty_method:METHOD\n", faulty_method=FAULTY)


Start = Callable[..., "subprocess.Popen[str]"]
Limits = Mapping[int, int]


@pytest.fixture(scope="module")
def start(plugin: Path) -> Start:
    """Starts `bench run` on small tasks in a process of its own."""

    def begin(*arguments: object, limits: Limits | None = None, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": f"{plugin}{os.pathsep}{ROOT}", **variables}
        environment.pop("BENCH_DEBUG", None)
        environment["PYTHONFAULTHANDLER"] = "1"  # one that is aborted shows where it stood
        environment["GIT_DIR"] = str(plugin / "no-repository")  # commits made meanwhile are kept out
        command = [sys.executable, "-m", "benchmark", "run", "--stream", "toy", *map(str, arguments)]

        def prepare() -> None:
            # A process started in the background inherits that Ctrl-C is ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for limited, most in (limits or {}).items():
                resource.setrlimit(limited, (most, most))

        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=prepare,
        )

    return begin


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return how a sweep ended; one that does not is ended, with all it printed and where it stood."""
    try:
        printed, errors = process.communicate(timeout=700)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        printed, errors = process.communicate()
        pytest.fail(f"the sweep did not end; it printed:\n{printed}\nand then:\n{errors}")
    return process.returncode, printed, errors


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the two runs of most tests leave when nothing happens."""
    out = tmp_path_factory.mktemp("undisturbed")
    code, _, errors = ended(start("--method", "faulty,seq-lora", *SETTINGS, "--out", out))
    assert code == 0, errors
    return content(out)


def check_goes_on(start: Start, out: Path, undisturbed: dict[str, bytes], *flags: str) -> None:
    """Check that the command without the fault goes on at the second task and ends with the same bytes."""
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", str(out)]
    code, printed, errors = ended(start(*command, *flags))
    assert code == 0, errors
    assert "seed 0 | task 1/3" not in printed and "seed 0 | task 2/3" in printed
    assert content(out) == undisturbed


def test_a_run_that_hangs_is_ended_and_the_others_go_on(
    start: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    # More than any sound run of these takes beside other tests; what a worker imports first is not counted.
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path, "--timeout", "45"]
    code, printed, errors = ended(start(*command, FAULT="hang"))
    assert code == 1
    assert errors.count("\n") == 1
    assert "took longer than --timeout 45 seconds, in" in errors and "faulty_method.py" in errors
    assert "seq-lora on toy, order 1, seed 0 | complete" in printed
    check_goes_on(start, tmp_path, undisturbed, "--retry")


def test_a_run_that_raises_waits_for_retry(
    start: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path]
    code, _, errors = ended(start(*command, FAULT="raise"))
    assert code == 1 and "RuntimeError: no good" in errors
    code, _, errors = ended(start(*command))
    assert code == 1 and "RuntimeError: no good" in errors and "--retry" in errors
    check_goes_on(start, tmp_path, undisturbed, "--retry")


def test_a_run_that_the_system_refuses_memory_stops_alone_and_goes_on_later(
    start: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path]
    code, printed, errors = ended(start(*command, FAULT="hoard", limits={resource.RLIMIT_AS: 64 << 30}))
    assert code == 2
    assert errors.count("\n") == 1 and "Traceback" not in errors
    assert "failed: faulty on toy" in errors and "the memory ran out (RuntimeError" in errors
    assert "then the same command goes on" in errors
    assert "seq-lora on toy, order 1, seed 0 | complete" in printed
    check_goes_on(start, tmp_path, undisturbed)


def test_nan_is_never_saved(start: Start, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path]
    code, printed, errors = ended(start(*command, FAULT="nan"))
    assert code == 1
    assert errors.count("\n") == 1 and "the method left NaN or infinite numbers in 'stack." in errors
    assert "seq-lora on toy, order 1, seed 0 | complete" in printed
    check_goes_on(start, tmp_path, undisturbed, "--retry")


def test_a_worker_that_dies_is_replaced(start: Start, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out, marks = tmp_path / "runs", tmp_path / "marks"
    marks.mkdir()
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", out, "--timeout", "300"]
    code, printed, errors = ended(start(*command, FAULT="die at times", MARKS=str(marks)))
    assert code == 0, errors
    # Two deaths at the second task and two at the third: four are over the limit, but not at one task.
    assert {mark.name: mark.read_text() for mark in marks.iterdir()} == {"1": "xx", "2": "xx"}
    # No task is learned twice.
    assert all(printed.count(f"faulty on toy, order 1, seed 0 | task {t}/3") == 1 for t in (1, 2, 3))
    assert content(out) == undisturbed


def test_a_full_disk_stops_the_run_in_one_line_and_the_same_command_goes_on(
    start: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    sizes = {name: len(data) for name, data in undisturbed.items()}
    largest = max(size for name, size in sizes.items() if name.endswith(".safetensors"))
    command = ["--method", "faulty", *SETTINGS, "--out", tmp_path]
    # No file can grow to the size of the adapters: what the system refuses is the write itself.
    code, _, errors = ended(start(*command, limits={resource.RLIMIT_FSIZE: largest - 1}))
    assert code == 2
    assert errors.count("\n") == 1 and "cannot write" in errors and "File too large" in errors
    assert errors.startswith("error: faulty on toy") and "then the same command goes on" in errors
    assert not list(tmp_path.rglob("*.tmp"))
    code, _, errors = ended(start("--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path))
    assert code == 0, errors
    assert content(tmp_path) == undisturbed


# A task of some seconds: on a busy machine the signal comes a second after the line that calls for it.
LONG = ["--method", "seq-lora", "--set", "epochs=300"]


def interrupted(process: subprocess.Popen[str], twice: bool) -> tuple[int, str, str]:
    """Press Ctrl-C around the start of the third task, and again once that was heard; return how it ended."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if "task 2/6" in line or (twice and "Ctrl-C again stops now" in line):
            process.send_signal(signal.SIGINT)
        if "Ctrl-C again stops now" in line:
            break
    code, rest, errors = ended(process)
    return code, printed + rest, errors


@pytest.mark.parametrize("own_process", [False, True])
def test_ctrl_c_once_finishes_the_task(own_process: bool, start: Start, tmp_path: Path) -> None:
    flags = ["--timeout", "300"] if own_process else []
    code, printed, errors = interrupted(start(*LONG, "--out", tmp_path, *flags), twice=False)
    assert code == 130, errors
    assert errors.count("\n") == 1 and "the same command continues" in errors
    (progress,) = tmp_path.rglob("progress.json")
    learned = len(json.loads(progress.read_bytes())["tasks"])
    # The signal may still reach the end of the second task.
    assert learned in (2, 3)
    assert f"task {learned}/6" in printed and f"task {learned + 1}/6" not in printed
    assert not list((tmp_path / sweep_folder.NAME / "stops").iterdir())


def test_ctrl_c_twice_stops_now(start: Start, tmp_path: Path) -> None:
    code, printed, errors = interrupted(start(*LONG, "--out", tmp_path), twice=True)
    assert code == 130, errors
    assert errors.count("\n") == 1 and "the same command continues" in errors
    assert "task 3/6" not in printed
    (progress,) = tmp_path.rglob("progress.json")
    assert len(json.loads(progress.read_bytes())["tasks"]) == 2
