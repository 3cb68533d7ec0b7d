"""MLflow: a run for each run, its settings, scores by task; needs `mlflow`.

Runs go where MLFLOW_TRACKING_URI says, else into a database in the sweep folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import PROJECT, LoggedRuns, facts
from benchmark.running.run import Run


class MlflowRun:
    """A run of the package, named by its id: the package's current run is left alone."""

    def __init__(self, client: Any, run_id: str) -> None:
        """Send through `client`."""
        self.client, self.run_id = client, run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the numbers of a task."""
        for name, value in values.items():
            self.client.log_metric(self.run_id, name, value, step=step)

    def finish(self, complete: bool) -> None:
        """End the run."""
        self.client.set_terminated(self.run_id, "FINISHED" if complete else "FAILED")


def open_log(out: Path) -> Callback:
    """Return a callback that keeps a run of the package for each run.

    Raises:
        UserError: the package is not installed.
    """
    from benchmark.running.sweep_folder import SweepFolder

    try:
        from mlflow import MlflowClient
    except ImportError:
        raise UserError("--log mlflow needs MLflow: pip install mlflow") from None
    folder = SweepFolder(out.resolve()).root

    def open_run(run: Run) -> MlflowRun:
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name(PROJECT)
        experiment = known.experiment_id if known else client.create_experiment(PROJECT)
        opened = client.create_run(experiment, run_name=run.name, tags={"run": run.identity})
        for name, value in facts(run).items():
            client.log_param(opened.info.run_id, name, value)
        return MlflowRun(client, opened.info.run_id)

    return LoggedRuns("mlflow", open_run)


LOGGER = open_log
