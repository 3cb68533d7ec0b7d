"""Plans: states, estimates and sums of runs, and sweeps that are files."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.registry import LOGGERS
from benchmark.results import Result, read, write
from benchmark.running.data_index import DataIndex
from benchmark.running.events import RunDone, TaskDone
from benchmark.running.forecast import Cost, History, forecast, longest_first
from benchmark.running.job import Outcome
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_file import read_sweep
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import load_data
from methods.seq_lora import METHOD as SequentialLoRA
from tests.command import install
from tests.factories import result, timing
from tests.test_sweep_files import SMALL, fail, go, runs


def test_a_plan_tells_what_is_done_running_failed_and_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    done, missing = runs("frozen", "0-1")
    (failed,) = runs("seq-lora")
    (running,) = runs("joint")
    assert {run.state for run in forecast([done, failed], tmp_path / "nothing", None).runs} == {"missing"}
    assert not (tmp_path / "nothing").exists()
    (first,) = go([done], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(SequentialLoRA, "phases", fail)
        go([failed], tmp_path)
    with SweepFolder(tmp_path).claim(running):
        plan_ = forecast([done, missing, failed, running], tmp_path, None)
    assert [run.state for run in plan_.runs] == ["done", "missing", "failed", "running"]
    assert "shapes differ" in str(plan_.runs[2].error)
    assert first.result is not None
    # The only result: an estimate for its own method, and for want of better ones of the others.
    timing = first.result.timing
    assert {run.cost for run in plan_.runs} == {Cost(timing.total_seconds, timing.peak_memory_bytes)}
    assert plan_.seconds_left == pytest.approx(3 * timing.total_seconds)
    assert plan_.unknown == 0
    shutil.rmtree(SweepFolder(tmp_path).root)
    again = forecast([done, missing], tmp_path, None)
    assert [run.state for run in again.runs] == ["done", "missing"]  # by the results alone


def test_estimates_come_from_the_nearest_results(tmp_path: Path) -> None:
    protocols = {name: Protocol(name=name, source="made up", backbone="seed") for name in ("tiny", "large")}
    made = [
        result("alpha", 0, protocol=protocols["tiny"], timing=timing(seconds=10)),
        result("alpha", 1, protocol=protocols["tiny"], timing=timing(seconds=30)),
        result("beta", 0, protocol=protocols["tiny"], timing=timing(seconds=100)),
        result("gamma", 0, protocol=protocols["large"], timing=timing(seconds=7)),
    ]
    for one in made:
        run = Run(one.method, one.stream, "1", one.seed, "seed", protocols[one.protocol])
        write(one, run.path(tmp_path, one.provenance.data_fingerprint))
    history = History(tmp_path)

    def seconds(method: str, stream: str = "orchard", protocol: str = "tiny") -> float | None:
        cost = history.cost(Run(method, stream, "1", 5, "seed", protocols[protocol]))
        return None if cost is None else cost.seconds

    assert seconds("alpha") == 20  # (10 + 30) / 2
    assert seconds("beta") == 100
    assert seconds("gamma") == 7  # its method in another protocol
    assert seconds("delta") == (30 + 100) / 2  # one run of each method in its protocol
    assert seconds("delta", protocol="large") == 7
    assert seconds("alpha", stream="meadow") is None
    runs_ = [Run(name, "orchard", "1", 5, "seed", protocols["tiny"]) for name in ("alpha", "beta")]
    other = Run("alpha", "meadow", "1", 5, "seed", protocols["tiny"])
    assert longest_first([0, 1, 2], [*runs_, other], tmp_path) == [2, 1, 0]


def test_a_plan_of_ten_thousand_runs_and_a_thousand_skips_are_quick(tmp_path: Path) -> None:
    plan("frozen,seq-lora", "toy", settings=SMALL)  # what is imported is not what is measured
    started = time.process_time()
    asked = plan("frozen,seq-lora", "toy", seeds="0-999", settings=SMALL)
    assert len(forecast(asked * 5, tmp_path, None).runs) == 10_000
    assert time.process_time() - started < 2
    half = asked[::2]
    (first,) = go(half[:1], tmp_path)
    assert first.result is not None and first.path is not None
    index, kept = DataIndex(tmp_path, None), json.loads(first.path.read_bytes())
    loaded, found = load_data(half[0], None)
    for run in half:
        index.note(run, found, loaded)
        write(Result(**kept | {"seed": run.seed}), run.path(tmp_path, found))
    paths = [run.path(tmp_path, found) for run in half]
    # Beside what reading the results costs, since a busy core takes twice the time for either; the best of
    # three, since other tests in this process leave much behind for the collector to go through.
    took, reading = [], []
    for _ in range(3):
        gc.collect()
        started = time.process_time()
        for path in paths:
            read(path)
        reading.append(time.process_time() - started)
        started = time.process_time()
        outcomes = go(half, tmp_path)
        took.append(time.process_time() - started)
    assert min(took) < 5 * min(reading), (took, reading)
    assert len(outcomes) == 1000 and all(outcome.skipped for outcome in outcomes)


SWEEP = """
[[run]]
method = "frozen,seq-lora"
stream = "toy"
seed = [0, 1]
set = { epochs = 2, "stream.tasks" = 3, "seq-lora.optimizer" = "sgd" }

[[run]]
method = ["frozen", "joint"]
stream = "toy"
set.epochs = 2
set."stream.tasks" = 3
"""


def test_a_sweep_file_is_its_blocks_as_commands(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP, encoding="utf-8")
    texts = ["epochs=2", "stream.tasks=3"]
    expected = plan("frozen,seq-lora", "toy", seeds="0-1", settings=[*texts, "seq-lora.optimizer=sgd"])
    # The second block's frozen run is one of the first's.
    assert read_sweep(path) == [*expected, *plan("joint", "toy", settings=texts)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[[run]]\nmetod = 'frozen'\nstream = 'toy'",
            ["line 2: run[0]: unknown key 'metod'", "did you mean 'method'?"],
        ),
        ("[[runs]]\nmethod = 'frozen'", ["unknown key 'runs'", "did you mean 'run'?"]),
        ("[[run]]\nmethod = 'frozen'", ["line 1: run[0].stream: is required"]),
        ("", ["sweep.toml: run: is required"]),
        (
            "[[run]]\nmethod = 'frozen'\nstream = 'toy'\nzero_shot = 'perhaps'",
            ["line 4: run[0].zero_shot", "'perhaps'"],
        ),
        ("[[run]]\nmethod = 1.5\nstream = 'toy'", ["line 2: run[0].method", "1.5"]),
        ("[[run]]\nmethod = 'frozn'\nstream = 'toy'", ["run 1", "did you mean 'frozen'?"]),
        ("[[run]]\nmethod='frozen'\nstream='toy'\nset={epoch=1}", ["run 1", "did you mean 'epochs'?"]),
        ("[[run]", ["is not TOML"]),
    ],
)
def test_a_mistake_in_a_sweep_file_is_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["sweep", str(path), "--out", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_sweep_runs_and_plan_and_dry_run_say_the_same(tmp_path: Path) -> None:
    path, out = tmp_path / "sweep.toml", str(tmp_path / "runs")
    path.write_text(SWEEP.replace("0, 1", "0"), encoding="utf-8")

    def invoke(*arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--out", out, "--json"])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    before = invoke("sweep", str(path), "--dry-run")
    assert before["total"]["missing"] == 3 and before["total"]["without_estimate"] == 3
    assert invoke("sweep", str(path))["complete"] is True
    flags = ["--method", "frozen,joint", "--stream", "toy", "--set", "epochs=2", "--set", "stream.tasks=3"]
    after = invoke("plan", *flags)
    assert [run["state"] for run in after["runs"]] == ["done", "done"]
    assert all(run["seconds"] > 0 and run["memory_bytes"] > 0 for run in after["runs"])
    assert invoke("run", *flags, "--dry-run") == after
    text = CliRunner().invoke(app, ["plan", *flags, "--seed", "0-1", "--out", out]).stdout
    assert "4 runs: 2 done, 2 missing; about" in text


def test_a_large_plan_is_shown_by_method(tmp_path: Path) -> None:
    flags = ["--method", "frozen,joint", "--stream", "toy", "--seed", "0-99", "--workers", "2"]
    text = CliRunner().invoke(app, ["plan", *flags, "--out", str(tmp_path)]).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith("toy ")]
    assert [row[:7] for row in rows] == [
        ["toy", "smoke", name, "0", "0", "0", "100"] for name in ("frozen", "joint")
    ]
    assert text.rstrip().endswith("200 runs: 200 missing; about an unknown time with 2 at a time")


def test_loggers_are_off_and_one_from_a_package_gets_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from benchmark.running.events import RunDone, TaskDone\n"
        "def open_log(out):\n"
        "    def callback(event):\n"
        "        if isinstance(event, (TaskDone, RunDone)):\n"
        "            with open(out / 'told', 'a') as told:\n"
        "                print(type(event).__name__, file=told)\n"
        "    return callback\n"
    )
    site = install(tmp_path, "notes", "[bench.loggers]\nnotes = notes_logger:open_log\n", notes_logger=source)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(LOGGERS.__dict__, "entries", raising=False)
    flags = ["run", "--method", "frozen", "--stream", "toy", "--set", "epochs=1", "--set", "stream.tasks=2"]
    flags += ["--out", str(tmp_path)]
    try:
        assert CliRunner().invoke(app, flags).exit_code == 0
        assert not (tmp_path / "told").exists()
        done = CliRunner().invoke(app, [*flags, "--fresh", "--log", "notes"])
        assert done.exit_code == 0, done.stderr
        reported = (tmp_path / "told").read_text(encoding="utf-8").split()
        assert reported == ["TaskDone", "TaskDone", "RunDone"]
        wrong = CliRunner().invoke(app, [*flags, "--log", "note"])
        assert wrong.exit_code == 2 and "did you mean 'notes'?" in wrong.stderr
    finally:
        LOGGERS.__dict__.pop("entries", None)


def test_tensorboard_gets_scores_by_task_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert Path(folder).is_relative_to(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0, 0))

    open_log = LOGGERS.load("tensorboard")
    (run,) = runs()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        open_log(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    callback = open_log(tmp_path)
    callback(TaskDone(run, 1, 3, "pears", 0.5, None, 2.0))
    callback(RunDone(run, Outcome(run)))
    assert written == [("score", 0.5, 2), ("seconds", 2.0, 2), ("closed", 0, 0)]
