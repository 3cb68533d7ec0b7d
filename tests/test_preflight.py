"""Before the first run: how long it takes, and whether device and data are there, each in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.commands import plan_report
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.results import to_json
from benchmark.running.building import prepare_device
from benchmark.running.forecast import Cost, Forecast, History, Plan
from benchmark.running.plan import plan
from benchmark.running.preflight import check_ready
from benchmark.running.run import Run
from tests.factories import result, timing

TINY = Protocol(name="tiny", source="made up", backbone="seed")
DIGITS = ["run", "--method", "frozen", "--stream", "digits"]


def published(folder: Path) -> Path:
    """Write packed results: alpha took 100 and 300 seconds, beta 800."""
    made = [
        result(method, seed, protocol=TINY, timing=timing(seconds=seconds))
        for method, seed, seconds in (("alpha", 0, 100), ("alpha", 1, 300), ("beta", 0, 800))
    ]
    path = folder / "orchard" / "tiny.jsonl"
    path.parent.mkdir(parents=True)
    lines = [json.dumps(json.loads(to_json(one.model_dump(mode="json")))) for one in made]
    path.write_text("\n".join(lines), encoding="utf-8")
    return folder


def run_of(method: str, protocol: Protocol = TINY) -> Run:
    return Run(method, "orchard", "1", 5, "seed", protocol)


def test_a_new_folder_has_estimates_from_published_runs(tmp_path: Path) -> None:
    history = History(tmp_path / "nothing", [published(tmp_path / "boards")])
    found = {method: history.cost(run_of(method)) for method in ("alpha", "beta", "gamma")}
    assert {method: cost and cost.seconds for method, cost in found.items()} == {
        "alpha": 200,  # (100 + 300) / 2
        "beta": 800,
        "gamma": 400,  # (100 + 300 + 800) / 3, of any method
    }
    assert all(cost and cost.published for cost in found.values())
    other = TINY.model_copy(update={"name": "large"})
    assert history.cost(run_of("alpha", other)) is None
    assert History(tmp_path / "nothing").cost(run_of("alpha")) is None


def test_what_was_measured_here_is_taken_before_what_was_published(tmp_path: Path) -> None:
    own = result("alpha", 7, protocol=TINY, timing=timing(seconds=20))
    path = run_of("alpha").path(tmp_path, own.provenance.data_fingerprint)
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json(own.model_dump(mode="json")))
    history = History(tmp_path, [published(tmp_path / "boards")])
    cost = history.cost(run_of("alpha"))
    assert cost is not None and (cost.seconds, cost.published) == (20, False)
    # Its own method elsewhere says more than another method here.
    beta = history.cost(run_of("beta"))
    assert beta is not None and (beta.seconds, beta.published) == (800, True)


def test_a_search_takes_its_share_of_whole_runs_and_says_nothing_of_them(tmp_path: Path) -> None:
    two = TINY.model_copy(update={"first_tasks": 2})
    whole, cut = run_of("alpha"), replace(run_of("alpha"), protocol=two)
    boards = [published(tmp_path / "boards")]
    history = History(tmp_path / "runs", boards)
    of_whole, of_cut = history.cost(whole), history.cost(cut)
    # 3 tasks were learned, 2 are asked for.
    assert of_whole is not None and of_cut is not None
    assert of_cut.seconds == pytest.approx(of_whole.seconds * 2 / 3)
    made = result("alpha", 7, protocol=two, timing=timing(tasks=2, seconds=5))
    path = cut.path(tmp_path / "runs", made.provenance.data_fingerprint)
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json(made.model_dump(mode="json")))
    again = History(tmp_path / "runs", boards)
    assert again.cost(whole) == of_whole
    found = again.cost(cut)
    assert found is not None and (found.seconds, found.published) == (5, False)


def test_a_plan_above_ten_minutes_says_so(tmp_path: Path) -> None:
    def of(*seconds: float) -> Plan:
        return Plan([Forecast(run_of("alpha"), "missing", Cost(each, 1, published=True)) for each in seconds])

    assert plan_report.warning(of(300, 300), 1) == ""
    line = plan_report.warning(of(300, 900), 1)
    # 300 + 900 seconds are 20 minutes.
    assert "20 min" in line or "20m" in line or "0:20" in line, line
    assert "2 runs" in line and "published runs of another machine" in line
    assert plan_report.warning(of(300, 900), 2) == ""  # two at a time


def test_a_dry_run_of_a_first_run_has_an_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "leaderboards" / "results" / "toy"
    folder.mkdir(parents=True)
    lines = [to_json(result("frozen", timing=timing(seconds=90)).model_dump(mode="json"))]
    (folder / "smoke.jsonl").write_bytes(json.dumps(json.loads(lines[0])).encode())
    monkeypatch.chdir(tmp_path)
    flags = ["--method", "frozen", "--stream", "toy", "--dry-run", "--json", "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, ["run", *flags])
    assert done.exit_code == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["seconds"], run["by_published_runs"], run["state"]) == (90, True, "missing")


def test_a_missing_device_is_reported_once_before_any_run(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = CliRunner().invoke(app, [*DIGITS, "--seed", "0-2", "--device", "cuda:1", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr == "error: --device cuda:1: this machine has no CUDA device; use --device cpu\n"
    assert not list(tmp_path.rglob("*.json"))


def test_a_gpu_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert prepare_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="last CUDA device is cuda:1"):
        prepare_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda:x", "gpu", "cuda:", "cpu:0", "mps"])
def test_a_device_that_is_none_is_a_usage_error(name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*DIGITS, "--device", name, "--out", str(tmp_path)])
    assert done.exit_code == 2 and "cuda:N" in done.stderr and "Traceback" not in done.stderr


def test_ray_and_the_user_do_not_both_choose_a_gpu(tmp_path: Path) -> None:
    flags = ["--device", "cuda:1", "--gpus", "1", "--workers", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*DIGITS, *flags])
    assert done.exit_code == 2 and "--device cuda:1 names one; use --device cuda" in done.stderr


def test_missing_data_are_reported_once_with_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    out = tmp_path / "runs"
    flags = ["--method", "frozen,seq-lora", "--seed", "0-1", "--out", str(out)]
    done = CliRunner().invoke(app, ["run", "--stream", "digits,omniglot", *flags])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    for words in ("'omniglot' has no data here", "--data-dir or BENCH_DATA", "bench data list", "digits"):
        assert words in done.stderr
    assert not list(out.rglob("*.json"))


def test_streams_that_bring_their_data_are_ready(tmp_path: Path) -> None:
    check_ready(plan("frozen", "digits,toy"), tmp_path, "cpu")
