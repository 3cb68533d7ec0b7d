"""Runs a sweep on a Ray cluster of several nodes on this machine, kills nodes, and compares what is left.

    python -m tests.lost_node sweeps/faults.toml --nodes 3 --kills 1

A node is killed with all its processes once a third of the runs have learned a task each, and another joins.
At the end every result has the same bytes as in an undisturbed sweep, times aside.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.running.driver import run
from benchmark.running.events import Event, TaskDone
from benchmark.running.job import Conditions
from benchmark.running.run import Run
from benchmark.running.sweep_file import read_sweep
from tests.command import ROOT
from tests.outputs import content


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


def main(file: Annotated[Path, typer.Argument(help="A sweep file.")], nodes: int = 3, kills: int = 1) -> None:
    """Run the comparison in a temporary folder and print what was learned twice."""
    # Workers find the suite, and commits made meanwhile stay out of the results.
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["GIT_DIR"] = str(ROOT / "no-repository")
    runs = read_sweep(file)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, disturbed = Path(folder) / "undisturbed", Path(folder) / "disturbed"
        run(runs, undisturbed, None, 1, "cpu", False, lambda event: None)
        seen = lose_nodes(runs, disturbed, nodes, kills, every=max(1, len(runs) // 3))
        expected, found = content(undisturbed), content(disturbed)
    assert found == expected, sorted(name for name in expected if found.get(name) != expected[name])
    tasks = [(event.run.identity, event.task) for event in seen if isinstance(event, TaskDone)]
    twice = len(tasks) - len(set(tasks))
    print(
        f"{kills} of {nodes} nodes killed; {len(runs)} runs complete, {len(set(tasks))} tasks, "
        f"{twice} learned twice; {len(expected)} files, all as without it"
    )


if __name__ == "__main__":
    typer.run(main)
