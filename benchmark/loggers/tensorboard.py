"""TensorBoard: the score on each task and the mean over the tasks so far, by task; needs `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import LoggedRuns


class TensorBoardRun:
    """A folder of event files."""

    def __init__(self, writer: Any) -> None:
        """Write through a `SummaryWriter`."""
        self.writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, complete: bool) -> None:
        """Close the files."""
        self.writer.close()


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
    return LoggedRuns(
        "tensorboard", lambda run: TensorBoardRun(SummaryWriter(str(folder.file("tensorboard", run))))
    )


LOGGER = open_log
