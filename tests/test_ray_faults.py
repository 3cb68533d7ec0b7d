"""Faults under Ray: workers and drivers killed at random, and a node that leaves while another joins."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.events import Event, TaskDone
from benchmark.plan import plan
from benchmark.runner import Conditions, run
from tests.chaos import chaos
from tests.command import ROOT
from tests.outputs import content
from tests.test_faults import SWEEP

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="needs the ray extra")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep commits made meanwhile out of the results, and let workers find the suite."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "no-repository"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_random_kills_under_ray_change_no_byte(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(SWEEP, encoding="utf-8")
    hits = chaos(file, tmp_path, kills=3, seed=0, workers=2, longest=1.0)
    assert sum(hits.values()) >= 2


def test_a_cell_of_a_lost_node_goes_on_where_another_joins(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cells = plan("seq-lora", "toy", seeds="0-1", settings=["epochs=60"])
    run(cells, tmp_path / "here", None, 1, "cpu", False, lambda event: None)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    first, told = cluster.add_node(num_cpus=1), []

    def watch(event: Event) -> None:
        told.append(event)
        if sum(isinstance(event, TaskDone) for event in told) == 2 and isinstance(event, TaskDone):
            cluster.add_node(num_cpus=1)
            cluster.remove_node(first, allow_graceful=False)

    try:
        conditions = Conditions(address=cluster.address)
        outcomes = run(cells, tmp_path / "there", None, 1, "cpu", False, watch, conditions)
    finally:
        cluster.shutdown()
    assert [outcome.state for outcome in outcomes] == ["complete", "complete"]
    assert content(tmp_path / "there") == content(tmp_path / "here")
    tasks = [(event.cell.seed, event.task) for event in told if isinstance(event, TaskDone)]
    # Nothing is learned twice but the task that was under way.
    assert sorted(set(tasks)) == [(seed, t) for seed in (0, 1) for t in range(5)]
    assert len(tasks) <= 11
