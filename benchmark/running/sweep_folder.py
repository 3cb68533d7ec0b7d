"""What sweeps keep beside their results: who works on which run, what began, what failed, and when."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from benchmark.errors import UserError, unwritable
from benchmark.results import atomic_write, to_json
from benchmark.running.run import Run, plain

if TYPE_CHECKING:
    from filelock import BaseFileLock

NAME = ".sweep"
HISTORIES = "histories"
"""What runs share while their histories are equal, see `benchmark.running.histories`."""


def process_name() -> str:
    """Return what tells this process from all others that may write to the same folder."""
    return f"{platform.node()}-{os.getpid()}"


class Failure(BaseModel):
    """A run that failed after it had begun to learn.

    Attributes:
        when: of the last time, UTC, ISO 8601.
    """

    run: str
    error: str
    when: str
    times: int


class Begun(BaseModel):
    """A run that began to learn.

    Attributes:
        row: see `Run.row`.
    """

    row: str
    order: str
    seed: int


class SweepFolder:
    """The hidden folder in an output folder; deleting it loses no result.

    Nothing in it is called `*.json`, the name of results.
    """

    def __init__(self, out: Path) -> None:
        """Name the folder in the output folder `out`; nothing is made before it is needed."""
        self.root = out / NAME

    def file(self, kind: str, run: Run) -> Path:
        """Return where something of one kind about a run is kept."""
        return self.root / kind / self.name(run)

    def name(self, run: Run) -> str:
        """Return the name of a run's files here, which does not depend on its data."""
        return f"{plain(run.stream)}-{run.stem}-{run.identity[:8]}"

    def names(self, kind: str) -> frozenset[str]:
        """Return the names of all files of one kind."""
        folder = self.root / kind
        return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()

    def log(self, run: Run) -> Path:
        """Return the run's event log; see `benchmark.running.event_log`."""
        return self.file("events", run).with_suffix(".jsonl")

    @contextlib.contextmanager
    def claim(self, run: Run) -> Iterator[bool]:
        """Hold a run until the block ends, or give False where another process holds it.

        The system releases the lock of a process that dies, however it dies.

        Raises:
            UserError: the lock file cannot be made.
        """
        from filelock import Timeout

        lock = self._lock(run)
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

    def is_claimed(self, run: Run) -> bool:
        """Whether some process holds a run now."""
        if not self.file("locks", run).exists():
            return False
        with self.claim(run) as ours:
            return not ours

    def _lock(self, run: Run) -> BaseFileLock:
        from filelock import FileLock

        path = self.file("locks", run)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path.parent, error) from None
        # Another folder means another lock even in one process; the file is never deleted, since a process
        # that waits for a deleted file would hold a lock that nobody else sees.
        return FileLock(path, is_singleton=False)

    def failure(self, run: Run) -> Failure | None:
        """Return how a run failed; None if it did not, or if the record cannot be read."""
        try:
            return Failure.model_validate_json(self.file("failed", run).read_bytes())
        except (OSError, ValidationError):
            return None

    def note_failure(self, run: Run, error: str) -> None:
        """Record that a run failed; a full disk, which may be the reason, loses only the record."""
        earlier = self.failure(run)
        failure = Failure(
            run=run.name,
            error=error,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            times=1 + (earlier.times if earlier else 0),
        )
        with contextlib.suppress(UserError):
            atomic_write(self.file("failed", run), to_json(failure.model_dump()))

    def note_begun(self, run: Run) -> None:
        """Record that a run began to learn, for good; a full disk loses only the record."""
        begun = Begun(row=run.row, order=run.order, seed=run.seed)
        with contextlib.suppress(UserError):
            atomic_write(self.file("begun", run), to_json(begun.model_dump()))

    def begun(self) -> list[Begun]:
        """Return every run that began to learn here, as far as its record can be read."""
        found = []
        for name in sorted(self.names("begun")):
            with contextlib.suppress(OSError, ValidationError):
                found.append(Begun.model_validate_json((self.root / "begun" / name).read_bytes()))
        return found

    def forget_failure(self, run: Run) -> None:
        """Delete the record of a failure."""
        self.file("failed", run).unlink(missing_ok=True)
