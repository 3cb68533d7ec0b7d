"""MLflow: a run for each run, its settings, scores by task; needs `mlflow`.

Runs go where MLFLOW_TRACKING_URI says, else into a database in the sweep folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import PROJECT, LoggedRun, LoggedRuns, facts
from benchmark.running.run import Run


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

    def open_run(run: Run) -> LoggedRun:
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name(PROJECT)
        experiment = known.experiment_id if known else client.create_experiment(PROJECT)
        # Everything names the run by its id: the package's current run is left alone.
        opened = client.create_run(experiment, run_name=run.name, tags={"run": run.identity}).info.run_id
        for name, value in facts(run).items():
            client.log_param(opened, name, value)

        def log(values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                client.log_metric(opened, name, value, step=step)

        def finish(complete: bool) -> None:
            client.set_terminated(opened, "FINISHED" if complete else "FAILED")

        return log, finish

    return LoggedRuns("mlflow", open_run)


LOGGER = open_log
