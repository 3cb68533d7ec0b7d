"""Faults under Ray: random kills, runs that do wrong, a node that leaves, a raylet that dies."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import psutil
import pytest

from benchmark.running.driver import run
from benchmark.running.events import TaskDone
from benchmark.running.plan import plan
from scripts import kills
from tests.command import ROOT
from tests.lost_node import cluster, lose_nodes
from tests.outputs import content
from tests.test_faults import SETTINGS, Start, check_goes_on, ended, plugin, start, undisturbed

__all__ = ["plugin", "start", "undisturbed"]  # fixtures
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep commits made meanwhile out of the results, and let workers find the suite."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "no-repository"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize("part", ["worker", "driver"])
def test_random_kills_under_ray_change_no_byte(part: str, tmp_path: Path) -> None:
    tally = kills.suffer(part, tmp_path / part, 2, seed=0)
    assert tally.kills.total() >= 2 and tally.files > 0
    assert tally.differing == []


def test_a_run_of_a_lost_node_goes_on_where_another_joins(tmp_path: Path) -> None:
    runs = plan("seq-lora", "toy", seeds="0-1", settings=["epochs=60"])
    run(runs, tmp_path / "here", None, 1, "cpu", False, lambda event: None)
    seen = lose_nodes(runs, tmp_path / "there", nodes=1, kills=1, every=2)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    tasks = [(event.run.seed, event.task) for event in seen if isinstance(event, TaskDone)]
    # Nothing is learned twice but the task that was under way.
    assert sorted(set(tasks)) == [(seed, t) for seed in (0, 1) for t in range(6)]
    assert len(tasks) <= 13


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("hoard", "the memory ran out (RuntimeError"),
        ("die", "the worker was lost 3 times: The worker died unexpectedly"),
    ],
    ids=["hoard", "die"],
)
def test_a_faulty_run_fails_alone_under_ray(
    fault: str, reason: str, start: Start, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    command = ["--method", "faulty,seq-lora", *SETTINGS, "--out", tmp_path, "--workers", "2"]
    code, printed, errors = ended(start(*command, FAULT=fault, limits={resource.RLIMIT_AS: 64 << 30}))
    assert code == (2 if fault == "hoard" else 1)
    assert errors.count("\n") == 1 and errors.startswith("failed: faulty on toy") and reason in errors
    assert "seq-lora on toy, order 1, seed 0 | complete" in printed
    check_goes_on(start, tmp_path, undisturbed, "--retry")


def test_workers_that_ray_kills_for_memory_change_no_byte(tmp_path: Path) -> None:
    # Each run is lost as often as is borne, is reported as failed, and goes on once the guard lets it be.
    tally = kills.suffer("memory", tmp_path / "memory", 3, seed=0)
    assert tally.kills.total() >= 3 and tally.files > 0
    assert tally.differing == []


def test_a_sweep_of_this_machine_joins_no_cluster_that_is_there(tmp_path: Path) -> None:
    # It has no CPU to give, so runs that went there would wait for ever.
    with cluster(nodes=0):
        runs = plan("frozen", "toy", settings=["stream.tasks=2"])
        (outcome,) = run(runs, tmp_path, None, 2, "cpu", False, lambda event: None)
    assert outcome.state == "complete"


WHOLE = ["--method", "seq-lora", "--seed", "0-2", "--set", "epochs=10"]


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a sweep leaves where no process of Ray is killed."""
    out = tmp_path_factory.mktemp("whole")
    code, _, errors = ended(start(*WHOLE, "--out", out))
    assert code == 0, errors
    return content(out)


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_process_of_ray_that_is_killed_ends_the_sweep_and_no_run_is_blamed(
    name: str, start: Start, whole: dict[str, bytes], tmp_path: Path
) -> None:
    killed = start(*WHOLE, "--out", tmp_path / "there", "--workers", "2", "--cpus", "2")
    assert killed.stdout is not None
    next(line for line in killed.stdout if "task 1/6" in line)
    (victim,) = (child for child in psutil.Process(killed.pid).children(True) if child.name() == name)
    victim.send_signal(signal.SIGKILL)
    code, printed, errors = ended(killed)
    assert code == 2
    assert errors.startswith(f"error: Ray broke down on this machine (its {name} died)")
    assert errors.count("\n") == 1 and "the same command continues from there" in errors
    assert name not in printed
    # Nothing has failed: no --retry is needed.
    code, printed, errors = ended(start(*WHOLE, "--out", tmp_path / "there"))
    assert code == 0, errors
    assert content(tmp_path / "there") == whole
