"""What `bench --help` shows, and that commands share the flags of a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.commands.sections import SECTIONS
from tests.command import ROOT

OLD_NAMES = (
    *("plan", "compare", "study", "metrics", "redundancy", "report", "figures"),
    *("speed", "headroom", "ledger", "site", "backbone"),
)


def flags(command: str) -> set[str]:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0, done.output
    return set(re.findall(r"--[a-z-]+", done.output.partition("Options:")[2]))


def test_help_shows_at_most_twelve_commands_in_four_sections() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    headings = re.findall(r"^([A-Z]\w+):$", text, re.MULTILINE)
    assert headings == ["Options", "Run", "Results", "Data", "Develop"]
    shown = re.findall(r"^  ([a-z]+) ", text, re.MULTILINE)
    assert len(shown) <= 12 and shown == [name for names in SECTIONS.values() for name in names]


def test_a_command_is_in_a_section_or_hidden() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert {name for name, command in commands.items() if command.hidden} == set(OLD_NAMES)
    assert {name for name, command in commands.items() if not command.hidden} == {
        name for names in SECTIONS.values() for name in names
    }


@pytest.mark.parametrize("name", OLD_NAMES)
def test_a_name_that_is_not_shown_still_works(name: str) -> None:
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_run_plan_and_sweep_share_their_flags() -> None:
    assert flags("run") == flags("plan")
    choice = {"--method", "--stream", "--order", "--seed", "--backbone", "--protocol", "--set"}
    assert flags("run") - flags("sweep") == choice | {"--zero-shot", "--score-at", "--tuned"}
    assert {"--workers", "--timeout", "--address", "--dry-run", "--log"} <= flags("sweep")
    assert flags("sweep") <= flags("run")


def test_nothing_is_loaded_before_ctrl_c_ends_the_process_without_a_traceback() -> None:
    code = "import sys; before = set(sys.modules); import benchmark.__main__; print({*sys.modules} - before)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    loaded = set(re.findall(r"[\w.]+", done.stdout)) - {"__future__"}
    assert loaded == {"benchmark", "benchmark.__main__"}


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_while_bench_is_loaded_gives_no_traceback(seconds: float, tmp_path: Path) -> None:
    code = "from benchmark.__main__ import main; print('begun', flush=True); main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--method", "seq-lora", "--stream", "toy"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        # A process started in the background inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert started.stdout is not None and started.stdout.readline() == "begun\n"
    time.sleep(seconds)
    while started.poll() is None:  # once while it loads; a run that has begun stops at the second
        started.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, errors = started.communicate(timeout=60)
    assert "Traceback" not in errors and errors.count("\n") <= 1
    assert started.returncode in (-signal.SIGINT, 130)


IN_A_DESTRUCTOR = """
import time
import typer
from benchmark.guard import guarded

class Late:
    def __del__(self):
        raise KeyboardInterrupt

@guarded
def command():
    Late()
    time.sleep(5)
    print("not stopped")

typer.run(command)
"""


def test_ctrl_c_that_falls_into_a_destructor_is_heard_after_it(tmp_path: Path) -> None:
    # As while libraries load: Python itself would print a traceback there and go on.
    done = subprocess.run(
        [sys.executable, "-c", IN_A_DESTRUCTOR],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
