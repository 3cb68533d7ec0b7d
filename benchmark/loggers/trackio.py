"""Trackio: a run for each run, its settings, scores by task, on this machine; needs `trackio`.

Where runs are kept is the package's own to know (TRACKIO_DIR, TRACKIO_SPACE_ID).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.running.events import Callback
from benchmark.running.logged_runs import PROJECT, LoggedRuns, facts
from benchmark.running.run import Run


class TrackioRun:
    """A run of the package, one of several that are open at a time."""

    def __init__(self, run: Any) -> None:
        """Log to the run itself, not to the one that the package takes for the current one."""
        self.run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the numbers of a task."""
        self.run.log(dict(values), step=step)

    def finish(self, complete: bool) -> None:
        """Send what is left; the package has no word for a run that failed."""
        self.run.finish()


def open_log(out: Path) -> Callback:
    """Return a callback that keeps a run of the package for each run.

    Raises:
        UserError: the package is not installed.
    """
    try:
        import trackio
    except ImportError:
        raise UserError("--log trackio needs Trackio: pip install trackio") from None

    def open_run(run: Run) -> TrackioRun:
        # Names tell runs apart, and two runs may differ in a setting alone.
        name = f"{run.name}, {run.identity[:8]}"
        options = {"project": PROJECT, "name": name, "config": facts(run), "resume": "allow", "embed": False}
        # The package ends the run of its context when it opens another; here each has a context of its own.
        return TrackioRun(Context().run(lambda: trackio.init(**options)))

    return LoggedRuns("trackio", open_run)


LOGGER = open_log
