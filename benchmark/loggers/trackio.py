"""Trackio: a run for each run, its settings, scores by task, on this machine; needs `trackio`.

Where runs are kept is the package's own to know (TRACKIO_DIR, TRACKIO_SPACE_ID).
"""

from __future__ import annotations

from contextvars import Context
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
    try:
        import trackio
    except ImportError:
        raise UserError("--log trackio needs Trackio: pip install trackio") from None

    def open_run(run: Run) -> LoggedRun:
        # Names tell runs apart, and two runs may differ in a setting alone.
        name = f"{run.name}, {run.identity[:8]}"
        options = {"project": PROJECT, "name": name, "config": facts(run), "resume": "allow", "embed": False}
        # The package ends the run of its context when it opens another; here each has a context of its own.
        opened = Context().run(lambda: trackio.init(**options))
        # To the run itself, not to the one that the package takes for the current one. The package has no
        # word for a run that failed.
        return lambda values, step: opened.log(dict(values), step=step), lambda complete: opened.finish()

    return LoggedRuns("trackio", open_run)


LOGGER = open_log
