"""What sweeps keep beside their results: who works on which cell, what failed, and what happened when."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from benchmark.errors import UserError
from benchmark.machine import unwritable
from benchmark.results import atomic_write, to_json
from benchmark.running.cell import Cell, plain

if TYPE_CHECKING:
    from filelock import BaseFileLock

NAME = ".sweep"


def process_name() -> str:
    """Return what tells this process from all others that may write to the same folder."""
    return f"{platform.node()}-{os.getpid()}"


class Failure(BaseModel):
    """A cell that failed after it had begun to learn.

    Attributes:
        error: one line.
        when: of the last time, UTC, ISO 8601.
        times: how often it failed.
    """

    cell: str
    error: str
    when: str
    times: int


class SweepFolder:
    """The hidden folder in an output folder; deleting it loses no result.

    Nothing in it is called `*.json`, the name of results.
    """

    def __init__(self, out: Path) -> None:
        """Name the folder in the output folder `out`; nothing is made before it is needed."""
        self.root = out / NAME

    def file(self, kind: str, cell: Cell) -> Path:
        """Return where something of one kind about a cell is kept."""
        return self.root / kind / self.name(cell)

    def name(self, cell: Cell) -> str:
        """Return the name of a cell's files here, which does not depend on its data.

        Raises:
            UserError: a name would lead out of the folder.
        """
        return f"{plain(cell.stream)}-{cell.stem}-{cell.identity[:8]}"

    def names(self, kind: str) -> frozenset[str]:
        """Return the names of all files of one kind."""
        folder = self.root / kind
        return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()

    def log(self, cell: Cell) -> Path:
        """Return the cell's event log; see `benchmark.running.event_log`."""
        return self.file("events", cell).with_suffix(".jsonl")

    @contextlib.contextmanager
    def claim(self, cell: Cell) -> Iterator[bool]:
        """Hold a cell until the block ends, or give False where another process holds it.

        The system releases the lock of a process that dies, however it dies.

        Raises:
            UserError: the lock file cannot be made.
        """
        from filelock import Timeout

        lock = self._lock(cell)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise unwritable(lock.lock_file, error) from None
        try:
            yield True
        finally:
            lock.release()

    def claimed(self, cell: Cell) -> bool:
        """Whether some process holds a cell now."""
        if not self.file("locks", cell).exists():
            return False
        with self.claim(cell) as ours:
            return not ours

    def _lock(self, cell: Cell) -> BaseFileLock:
        from filelock import FileLock

        path = self.file("locks", cell)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path.parent, error) from None
        # Another folder means another lock even in one process; the file is never deleted, since a process
        # that waits for a deleted file would hold a lock that nobody else sees.
        return FileLock(path, is_singleton=False)

    def failure(self, cell: Cell) -> Failure | None:
        """Return how a cell failed; None if it did not, or if the record cannot be read."""
        try:
            return Failure.model_validate_json(self.file("failed", cell).read_bytes())
        except (OSError, ValidationError):
            return None

    def note_failure(self, cell: Cell, error: str) -> None:
        """Record that a cell failed; a full disk, which may be the reason, loses only the record."""
        earlier = self.failure(cell)
        failure = Failure(
            cell=cell.name,
            error=error,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            times=1 + (earlier.times if earlier else 0),
        )
        with contextlib.suppress(UserError):
            atomic_write(self.file("failed", cell), to_json(failure.model_dump()))

    def forget_failure(self, cell: Cell) -> None:
        """Delete the record of a failure."""
        self.file("failed", cell).unlink(missing_ok=True)
