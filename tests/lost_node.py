"""Runs runs on a Ray cluster of several nodes on this machine, and kills nodes while others join."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.running.driver import run
from benchmark.running.events import Event, TaskDone
from benchmark.running.job import Conditions
from benchmark.running.run import Run


@contextmanager
def cluster(nodes: int) -> Iterator[tuple[Any, list[Any]]]:
    """Give a cluster whose head runs no run, and its nodes of one CPU each, until the block ends."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield started, [started.add_node(num_cpus=1) for _ in range(nodes)]
    finally:
        started.shutdown()


def lose_nodes(runs: list[Run], out: Path, nodes: int, kills: int, every: int) -> list[Event]:
    """Run runs on a cluster, lose a node after every so many tasks, and return the events.

    Args:
        kills: how many nodes are lost; for each another one joins.
        every: finished tasks between one loss and the next.

    Raises:
        AssertionError: a run did not complete, or fewer nodes were lost than asked for.
    """
    seen: list[Event] = []
    with cluster(nodes) as (started, alive):
        lost: list[Any] = []

        def callback(event: Event) -> None:
            seen.append(event)
            tasks = sum(isinstance(event, TaskDone) for event in seen)
            if isinstance(event, TaskDone) and tasks % every == 0 and len(lost) < kills:
                lost.append(alive.pop(0))
                alive.append(started.add_node(num_cpus=1))
                started.remove_node(lost[-1], allow_graceful=False)

        conditions = Conditions(address=started.address)
        outcomes = run(runs, out, None, 1, "cpu", False, callback, conditions)
    assert len(lost) == kills, f"the sweep ended after {len(lost)} losses"
    assert all(outcome.state == "complete" for outcome in outcomes), [one.error for one in outcomes]
    return seen
