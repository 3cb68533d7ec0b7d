"""TensorBoard: the score on each task and the mean over the tasks so far, by task; needs `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import LoggedRun, LoggedRuns
from benchmark.running.run import Run


def open_log(out: Path) -> Callback:
    """Return a callback that writes each run under `<out>/.sweep/tensorboard`.

    Raises:
        UserError: TensorBoard is not installed.
    """
    from benchmark.running.sweep_folder import SweepFolder

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--log tensorboard needs TensorBoard: pip install tensorboard") from None
    folder = SweepFolder(out)

    def open_run(run: Run) -> LoggedRun:
        writer = SummaryWriter(str(folder.file("tensorboard", run)))

        def log(values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        return log, lambda complete: writer.close()

    return LoggedRuns("tensorboard", open_run)


LOGGER = open_log
