"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.results import write
from benchmark.running import driver
from benchmark.running.events import RunDone, TaskDone
from benchmark.running.job import Conditions, Outcome
from tests.command import ROOT, assert_one_line_error, bench, invoke
from tests.factories import result as made_up

HEAVY = ("torch", "numpy", "transformers", "pandas", "datasets", "peft", "ray", "scipy", "sklearn")


# What a run's plan is not to wait for: torch's compiler, and what only tables and encoders need.
NOT_FOR_A_PLAN = ("torch._dynamo", "torch._inductor", "sympy", "pandas", "transformers", "datasets", "ray")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], HEAVY),
        (["run", "--help"], HEAVY),
        (["list"], HEAVY),
        (["list", "orders", "--stream", "digits"], HEAVY),
        (["run", "--method", "frozen", "--stream", "toy", "--dry-run"], NOT_FOR_A_PLAN),
    ],
)
def test_starting_imports_nothing_heavy(arguments: list[str], heavy: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from benchmark.cli import app\n"
        f"try:\n    app({arguments!r})\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.stderr == "[]\n"


def test_list_names_everything_with_a_summary() -> None:
    done = invoke("list")
    assert done.exit_code == 0
    for name in ("litelora", "sd-lora", "digits", "superni", "vit-nano", "minilm"):
        assert any(line.split()[:1] == [name] and len(line) > 30 for line in done.stdout.splitlines())


def test_list_of_one_kind_leaves_the_others_out() -> None:
    done = invoke("list", "streams")
    assert "digits" in done.stdout
    assert "litelora" not in done.stdout


def test_list_orders_and_protocols_by_value() -> None:
    assert "1: class permutation with seed 1993" in invoke("list", "orders", "--stream", "digits").stdout
    orders = invoke("list", "orders", "--stream", "standard-cl").stdout
    assert " -> " in orders
    assert "rank = 4" in invoke("list", "protocols", "--stream", "digits").stdout


def test_list_one_method_prints_facts_and_settings() -> None:
    done = invoke("list", "--method", "LiteLoRA")
    assert "arXiv 2606.28117" in done.stdout
    assert "sparsity: float = 0.02 [>= 0] - lambda, the weight of the sparsity penalty" in done.stdout


def test_list_check_loads_every_built_in() -> None:
    done = invoke("list", "--check")
    assert done.exit_code == 0, done.stdout
    loaded, _, tried = done.stdout.partition("\n\n")
    assert all(line.endswith(": ok") for line in loaded.splitlines() if "plug" not in line)
    # Below: tuners of peft, each trained, saved and restored on every kind of backbone.
    assert "vector" in tried.splitlines()[0] and "seq-dora" in tried


DIGITS = ["run", "--stream", "digits", "--dry-run"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--method", "litelor"], ["did you mean 'litelora'?"]),
        (["list", "orders"], ["--stream"]),
        (["run", "--method", "frozen", "--stream", "digit"], ["did you mean 'digits'?"]),
        (["show", "nothing.json"], ["no result at nothing.json"]),
        (["speed", "--tasks", "1,x"], ["--tasks '1,x'"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], words: list[str]) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_mistake_prints_no_traceback_in_a_process_of_its_own() -> None:
    assert_one_line_error(bench("run", "--method", "frozen", "--stream", "digit"), "did you mean 'digits'?")


def test_a_missing_flag_is_a_usage_error() -> None:
    done = invoke("run", "--stream", "digits")
    assert done.exit_code == 2
    assert "--method" in done.stderr


def test_a_data_folder_that_does_not_exist_is_a_usage_error() -> None:
    done = invoke(*DIGITS, "--method", "frozen", "--data-dir", "nowhere")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


def test_version() -> None:
    done = invoke("--version")
    assert done.exit_code == 0
    assert done.stdout.strip()


def test_a_dry_run_shows_the_protocol_by_value_and_writes_nothing(tmp_path: Path) -> None:
    done = invoke(*DIGITS, "--method", "frozen", "--set", "epochs=3", "--out", tmp_path / "runs")
    assert done.exit_code == 0
    assert "backbone  vit-nano" in done.stdout
    assert "epochs 3" in done.stdout
    assert not (tmp_path / "runs").exists()
    data = json.loads(invoke(*DIGITS, "--method", "frozen", "--json").stdout)
    assert data["runs"][0]["config"]["protocol"]["name"] == "smoke"


def test_a_dry_run_says_settings_once_for_all_runs_that_share_them(tmp_path: Path) -> None:
    words = ["--method", "frozen,ncm", "--order", "1-3", "--seed", "0-2", "--out", tmp_path / "runs"]
    done = invoke(*DIGITS, *words)
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if "learning_rate" in line]
    assert len(lines) == 1 and lines[0].startswith("frozen on digits, 9 runs: learning_rate ")
    assert "ncm on digits, 9 runs: no settings" in done.stdout
    # Each run still has a line of its own in the table.
    assert "frozen on digits, order 3, seed 2  missing" in done.stdout


Fake = Callable[..., list[Outcome]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fake], None]:
    """Puts another function in the place of the runner."""
    return lambda fake: monkeypatch.setattr(driver, "run", fake)


def complete(runs: list[Any], out: Path, callback: Any, **_: Any) -> list[Outcome]:
    """Pretend to run every run."""
    outcomes = [Outcome(run, out / f"{run.seed}.json") for run in runs]
    for run, outcome in zip(runs, outcomes, strict=True):
        write(made_up(run.method, run.seed), out / f"{run.seed}.json")
        callback(TaskDone(outcome.run, 0, 1, "apples", 0.5, 0.5, 1.25))
        callback(RunDone(outcome.run, outcome))
    return outcomes


def failing(runs: list[Any], **more: Any) -> list[Outcome]:
    """Pretend that the last run failed."""
    return [*complete(runs[:-1], **more), Outcome(runs[-1], error="the disk\nis full")]


def interrupted(**_: Any) -> list[Outcome]:
    """Pretend that the user pressed Ctrl-C."""
    raise KeyboardInterrupt


RUN = ["run", "--method", "frozen", "--stream", "digits", "--seed", "0-1"]


def test_a_run_prints_progress_table_and_paths(engine: Callable[[Any], None], tmp_path: Path) -> None:
    engine(lambda runs, **more: complete(runs, **more))
    done = invoke(*RUN, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "protocol  smoke" in done.stdout
    assert (
        "frozen on digits, order 1, seed 0 | task 1/1 apples | score 0.500 | mean 0.500 | 1.2 s"
        in done.stdout
    )
    assert "2 of 2 runs" in done.stdout
    assert done.stdout.rstrip().endswith(str(tmp_path / "1.json"))


def test_json_is_all_there_is_on_standard_output(engine: Callable[[Any], None], tmp_path: Path) -> None:
    engine(lambda runs, **more: failing(runs, **more))
    done = invoke(*RUN, "--out", tmp_path, "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["complete"] is False
    assert report["runs"][0]["headline"]["average_performance"] is not None
    assert report["runs"][0]["path"] == str(tmp_path / "0.json")
    assert report["runs"][1]["error"] == "the disk\nis full"
    assert "task 1/1 apples" in done.stderr


def test_a_failed_run_is_exit_code_1_and_one_line(engine: Callable[[Any], None], tmp_path: Path) -> None:
    engine(lambda runs, **more: failing(runs, **more))
    done = invoke(*RUN, "--out", tmp_path)
    assert done.exit_code == 1
    assert done.stderr == "failed: frozen on digits, order 1, seed 1: the disk is full\n"


def test_ctrl_c_says_what_is_kept(engine: Callable[[Any], None], tmp_path: Path) -> None:
    engine(lambda runs, **_: interrupted())
    done = invoke(*RUN, "--out", tmp_path)
    assert done.exit_code == 130
    assert done.stderr.count("\n") == 1
    assert str(tmp_path) in done.stderr
    assert "the same command continues" in done.stderr


def test_a_mistake_found_while_running_is_exit_code_2(engine: Callable[[Any], None]) -> None:
    def refuse(runs: list[Any], **_: Any) -> list[Outcome]:
        raise UserError("no data\nhere")

    engine(refuse)
    done = invoke(*RUN)
    assert done.exit_code == 2
    assert done.stderr == "error: no data here\n"


def test_an_internal_error_is_one_line_unless_debugging(
    engine: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(runs: list[Any], **_: Any) -> list[Outcome]:
        raise RuntimeError("out of\nluck")

    engine(crash)
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    done = invoke(*RUN)
    assert done.exit_code == 3
    assert done.stderr == "internal error: RuntimeError: out of luck (BENCH_DEBUG=1 shows the traceback)\n"
    monkeypatch.setenv("BENCH_DEBUG", "1")
    assert "Traceback" in invoke(*RUN).stderr


@pytest.fixture
def seen(engine: Callable[[Any], None]) -> dict[str, Any]:
    """What the runner is given beside the runs, once a command has called it."""
    given: dict[str, Any] = {}

    def note(runs: list[Any], **more: Any) -> list[Outcome]:
        given.update(more)
        return complete(runs, **more)

    engine(note)
    return given


def test_the_flags_reach_the_runner(seen: dict[str, Any], tmp_path: Path) -> None:
    flags = ["--data-dir", tmp_path, "--workers", 2, "--device", "auto", "--fresh", "--out", tmp_path]
    assert invoke(*RUN, *flags).exit_code == 0
    assert seen.pop("callback") and seen.pop("say")
    assert isinstance(seen.pop("conditions"), Conditions)
    assert seen == {"out": tmp_path, "data_dir": tmp_path, "workers": 2, "device": "auto", "fresh": True}


def test_the_conditions_reach_the_runner(seen: dict[str, Any], tmp_path: Path) -> None:
    flags = [
        "--retry",
        "--timeout",
        "30",
        "--address",
        "auto",
        "--cpus",
        "2",
        "--gpus",
        "0.5",
        "--memory",
        "1.5",
    ]
    assert invoke(*RUN, *flags, "--device", "cuda", "--out", tmp_path).exit_code == 0
    stop = seen["conditions"].stop
    assert stop.is_relative_to(tmp_path)
    expected = Conditions(True, 30.0, "auto", 2.0, 0.5, 1536 * 1024**2, stop)
    assert seen["conditions"] == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--timeout", "0"], ["--timeout 0 must be above 0"]),
        (["--memory", "-1"], ["--memory -1 must be above 0"]),
        (["--gpus", "0.5"], ["--device cpu leaves idle", "--device cuda"]),
        (["--gpus", "1.5", "--device", "cuda"], ["--gpus 1.5: a run takes a part", "values are 1 and 2"]),
        (["--gpus", "2", "--device", "auto"], ["--gpus 2: this machine has 0 CUDA devices", "leave it out"]),
        (["--cpus", "2"], ["kept by Ray", "--workers above 1, --timeout or --address"]),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(
    flags: list[str], words: list[str], tmp_path: Path
) -> None:
    done = invoke(*RUN, *flags, "--out", tmp_path / "runs")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_show_and_leaderboard_read_what_a_run_wrote(tmp_path: Path) -> None:
    from benchmark.results import write

    path = tmp_path / "results" / "orchard" / "tiny" / "one.json"
    write(made_up(), path)
    assert "apples" in invoke("show", path).stdout
    built = invoke("leaderboard", "--root", tmp_path, "--out", tmp_path)
    assert built.exit_code == 0, built.stderr
    assert str(tmp_path / "orchard.md") in built.stdout.splitlines()
    # It can be read, and could not have been submitted.
    checked = invoke("leaderboard", "--root", tmp_path, "--out", tmp_path, "--check")
    assert checked.exit_code == 1
    assert "unknown stream 'orchard'" in checked.stdout and "SHA256SUMS is missing" in checked.stdout


@pytest.mark.slow
def test_a_real_run_on_the_digits(tmp_path: Path) -> None:
    small = ["--set", "epochs=1", "--set", "train_limit=20", "--set", "test_limit=20"]
    done = bench("run", "--method", "seq-lora", "--stream", "digits", *small, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "task 5/5" in done.stdout
    (path,) = (tmp_path / "digits" / "smoke").glob("*.json")
    assert str(path) in done.stdout
    assert bench("show", path).returncode == 0
