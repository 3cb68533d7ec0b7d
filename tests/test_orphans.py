"""No process outlives its sweep: neither one that ended, nor one that was killed at whatever moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.command import ROOT

pytestmark = pytest.mark.slow
OURS = "BENCH_TEST_OF_ORPHANS"
MOST_SECONDS = 20
"""What a killed sweep leaves must be gone after so long; the machine may be busy."""


def left(mark: str) -> list[str]:
    """Return the processes that a sweep of this mark started, by what they run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(OURS) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
    return found


def wait_until(mark: str, holds: Callable[[list[str]], bool]) -> list[str]:
    """Return the processes that are left once something holds of them, or as they are after some time."""
    end = time.monotonic() + MOST_SECONDS
    while not holds(found := left(mark)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def wait_until_none_is_left(mark: str) -> None:
    assert wait_until(mark, lambda found: not found) == []


def started(out: Path) -> subprocess.Popen[str]:
    """Start a sweep of two runs at a time that takes a minute."""
    command = [sys.executable, "-m", "benchmark", "run", "--method", "seq-lora", "--stream", "toy"]
    flags = ["--seed", "0-1", "--set", "epochs=2000", "--workers", "2", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), OURS: str(out)}
    return subprocess.Popen(
        [*command, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        # A shell that starts the tests in the background has interrupts ignored, by every child too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


CHILDREN = """
import subprocess, sys, time
from benchmark.running.executors.watchdog import ending_children

# A child of a session of its own outlives its parent, as nothing tells it of the end.
subprocess.Popen(["sleep", "301"], start_new_session=True, stdout=subprocess.DEVNULL)
with ending_children():
    subprocess.Popen(["sleep", "302"], start_new_session=True, stdout=subprocess.DEVNULL)
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_what_is_started_within_ends_with_its_starter_and_nothing_else_does(
    killed: bool, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    starter = subprocess.Popen(
        [sys.executable, "-c", CHILDREN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), OURS: mark},
    )
    assert starter.stdout is not None and starter.stdout.readline() == "up\n"
    both = {"sleep 301", "sleep 302"}
    # A new process shows its environment only a moment after its starter knows that it runs.
    assert both <= set(wait_until(mark, both.issubset))
    if killed:
        starter.kill()
    starter.communicate()
    alone = ["sleep 301"]
    assert wait_until(mark, alone.__eq__) == alone
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(OURS) == mark:
                process.kill()


# Seconds after Ray begins to start: its processes come up one by one, and then runs are at work.
@pytest.mark.parametrize("seconds", [0.3, 1.5, 3.0, 8.0])
def test_a_killed_sweep_leaves_no_process(seconds: float, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    sweep = started(out)
    assert sweep.stdout is not None
    next(line for line in sweep.stdout if line.startswith("starting Ray"))
    time.sleep(seconds)
    assert sweep.poll() is None and left(str(out))
    sweep.kill()
    sweep.wait()
    wait_until_none_is_left(str(out))


def test_a_sweep_that_is_told_to_stop_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    sweep = started(out)
    assert sweep.stdout is not None
    next(line for line in sweep.stdout if "ready after" in line)
    for _ in range(2):
        time.sleep(1)
        sweep.send_signal(signal.SIGINT)
    printed, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, printed
    wait_until_none_is_left(str(out))
