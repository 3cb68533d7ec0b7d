"""A run's events as JSON Lines: written by whoever runs the run, read by whoever shows it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.running.events import Event, RunDone, RunStarted, StepDone, TaskDone
from benchmark.running.run import Run

STEP_SECONDS = 0.5
"""Steps are logged no more often than this: a log of days stays small."""

KINDS: dict[str, Any] = {kind.__name__: kind for kind in (RunStarted, StepDone, TaskDone)}


class EventLog:
    """Appends events, one object a line: `time` (UTC, ISO 8601), `kind` and the event's own fields."""

    def __init__(self, path: Path) -> None:
        """Write to `path`; its folder is made at the first event."""
        self.path, self.last = path, 0.0

    def __call__(self, event: Event) -> None:
        """Append one event. A log that cannot be written never stops the run it is about."""
        if isinstance(event, StepDone) and time.monotonic() - self.last < STEP_SECONDS:
            return
        self.last = time.monotonic()
        row = {"time": datetime.now(UTC).isoformat(), "kind": type(event).__name__, **_fields(event)}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as handle:
                line = json.dumps(row).encode() + b"\n"
                # A killed writer may have left half a line.
                handle.write(line if _ends_with_newline(handle) else b"\n" + line)


class Tail:
    """Reads the events that are appended after it was made."""

    def __init__(self, path: Path, run: Run) -> None:
        """Read what others write to `path` about `run` from now on."""
        self.path, self.run = path, run
        self.position = path.stat().st_size if path.exists() else 0

    def events(self) -> list[Event]:
        """Return the events since the last call; half a line is left for the next one."""
        try:
            with open(self.path, "rb") as handle:
                handle.seek(self.position)
                data = handle.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        return [event for line in whole.splitlines() if (event := self._event(line)) is not None]

    def _event(self, line: bytes) -> Event | None:
        try:
            row = json.loads(line)
            make = KINDS[row["kind"]]
            names = set(make.__dataclass_fields__) - {"run"}
            values = {name: row[name] for name in names}
            if make is RunStarted:
                values["remarks"] = tuple(values["remarks"])  # JSON has lists alone
            return make(run=self.run, **values)
        except (ValueError, KeyError, TypeError):
            return None


def _fields(event: Event) -> dict[str, Any]:
    """Return what a line holds beside time and kind."""
    if isinstance(event, RunDone):
        return {"run": event.run.name, "state": event.outcome.state, "error": event.outcome.error}
    own = {name: value for name, value in vars(event).items() if name != "run"}
    if isinstance(event, RunStarted):
        return {"run": event.run.name, "host": platform.node(), "process": os.getpid(), **own}
    return own


def _ends_with_newline(handle: Any) -> bool:
    if handle.seek(0, os.SEEK_END) == 0:
        return True
    handle.seek(-1, os.SEEK_END)
    return bool(handle.read(1) == b"\n")
