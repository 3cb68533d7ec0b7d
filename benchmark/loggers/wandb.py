"""Weights & Biases: a run for each run, its settings, scores by task; needs `wandb` 0.19.10 or later.

Where runs go, and whether anything leaves this machine, is the package's own to know (`wandb login`,
WANDB_MODE). What it would collect unasked is switched off: terminal output, command line, code, commit and
load of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import PROJECT, LoggedRuns, facts
from benchmark.running.run import Run


class WandbRun:
    """A run of the package, one of several that are open at a time."""

    def __init__(self, run: Any) -> None:
        """Draw every curve over tasks, not over calls: a run that goes on has earlier ones."""
        self.run = run
        run.define_metric("*", step_metric="task")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the numbers of a task."""
        self.run.log({**values, "task": step})

    def finish(self, complete: bool) -> None:
        """Send what is left; a run that is not complete shows as failed."""
        self.run.finish(exit_code=0 if complete else 1)


def open_log(out: Path) -> Callback:
    """Return a callback that keeps a run of the package for each run; its files lie in `<out>/.sweep`.

    Raises:
        UserError: the package is not installed.
    """
    from benchmark.running.sweep_folder import SweepFolder

    try:
        import wandb
    except ImportError:
        raise UserError("--log wandb needs Weights & Biases: pip install wandb") from None
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )
    folder = SweepFolder(out).root

    def open_run(run: Run) -> WandbRun:
        folder.mkdir(parents=True, exist_ok=True)
        return WandbRun(
            wandb.init(
                project=PROJECT,
                id=run.identity,
                name=run.name,
                config=facts(run),
                dir=str(folder),
                resume="allow",
                reinit="create_new",
                settings=settings,
            )
        )

    return LoggedRuns("wandb", open_run)


LOGGER = open_log
