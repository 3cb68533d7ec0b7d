"""Weights & Biases: a run for each run, its settings, scores by task; needs `wandb` 0.19.10 or later.

Where runs go, and whether anything leaves this machine, is the package's own to know (`wandb login`,
WANDB_MODE). What it would collect unasked is switched off: terminal output, command line, code, commit and
load of the machine.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import PROJECT, LoggedRun, LoggedRuns, facts
from benchmark.running.run import Run


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

    def open_run(run: Run) -> LoggedRun:
        folder.mkdir(parents=True, exist_ok=True)
        opened = wandb.init(
            project=PROJECT,
            id=run.identity,
            name=run.name,
            config=facts(run),
            dir=str(folder),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        # Curves are drawn over tasks, not over calls: a run that goes on has earlier ones.
        opened.define_metric("*", step_metric="task")
        return (
            lambda values, step: opened.log({**values, "task": step}),
            # A run that is not complete shows as failed.
            lambda complete: opened.finish(exit_code=0 if complete else 1),
        )

    return LoggedRuns("wandb", open_run)


LOGGER = open_log
