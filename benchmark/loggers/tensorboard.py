"""TensorBoard: the score on each task and the mean over the tasks so far, by task; needs `tensorboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.events import CellDone, Event, TaskDone, Watch


def open_log(out: Path) -> Watch:
    """Return a watcher that writes a run of each cell under `<out>/.sweep/tensorboard`.

    Raises:
        UserError: TensorBoard is not installed.
    """
    from benchmark.sweep_folder import SweepFolder

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--log tensorboard needs TensorBoard: pip install tensorboard") from None
    folder = SweepFolder(out)
    writers: dict[str, Any] = {}

    def watch(event: Event) -> None:
        if isinstance(event, TaskDone):
            writer = writers.get(event.cell.identity)
            if writer is None:
                writer = SummaryWriter(str(folder.file("tensorboard", event.cell)))
                writers[event.cell.identity] = writer
            for name, value in (("score", event.score), ("mean", event.mean), ("seconds", event.seconds)):
                if value is not None:
                    writer.add_scalar(name, value, event.task + 1)
        elif isinstance(event, CellDone) and event.cell.identity in writers:
            writers.pop(event.cell.identity).close()

    return watch


LOGGER = open_log
