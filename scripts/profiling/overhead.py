"""Measures what the suite itself costs in a run: everything but forward, backward, optimiser and scoring.

    python -m scripts.profiling.overhead --method seq-lora,litelora --stream digits

Each run is executed as by `bench run`, in an empty folder. Parts that lie inside others are counted once, in
the inner one. Importing libraries, which a process does once for all its runs, is not counted.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmark.errors import UserError
from benchmark.method import Phase
from benchmark.registry import METHODS
from benchmark.running import checkpoint, event_log, learner, readings, training, worker
from benchmark.running.job import Job
from benchmark.running.plan import plan
from benchmark.running.run import Run
from scripts.profiling.script import Methods, Settings, StreamKey, show, start

LEARNING = ("forward", "backward", "optimiser", "scoring")
"""What a run is for; the rest is overhead, split into the method's own work and the engine's."""
METHOD = "method's own"
WARM_UP = ("protocol.epochs=1", "protocol.train_limit=16", "protocol.test_limit=16")


class Stopwatch:
    """Seconds by part; while an inner part runs, the outer one stands still."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing measured; what belongs to no part is `other`."""
        self.clock = clock
        self.seconds: dict[str, float] = defaultdict(float)
        self._parts = ["other"]
        self._since = clock()

    def _turn(self) -> None:
        now = self.clock()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's time to a part."""
        self._turn()
        self._parts.append(name)
        try:
            yield
        finally:
            self._turn()
            self._parts.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts to a part."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return run


def measure(run: Run, data_dir: Path | None) -> dict[str, float]:
    """Execute a run in an empty folder and return its seconds by part.

    Raises:
        UserError: the run failed.
    """
    make, train = METHODS.load(run.method), training.train
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        watch = Stopwatch()

        def trained(method: Any, phase: Phase, *rest: Any) -> int:
            timed = dataclasses.replace(
                phase,
                loss=watch.timed("forward", phase.loss),
                further_losses=tuple(watch.timed("forward", loss) for loss in phase.further_losses),
                after_backward=phase.after_backward and watch.timed(METHOD, phase.after_backward),
                after_step=phase.after_step and watch.timed(METHOD, phase.after_step),
            )
            return train(method, timed, *rest)

        for place, name, part in (
            (torch.Tensor, "backward", "backward"),
            *((kind, "step", "optimiser") for kind in training.OPTIMIZERS.values()),
            (readings.Reader, "read", "scoring"),
            *((make, name, METHOD) for name in ("begin_task", "phases", "end_task")),
            (worker, "load_data", "data"),
            (learner, "build", "model"),
            (learner, "git_state", "commit"),
            (checkpoint.Checkpoint, "save", "saving"),
            (learner.Learner, "_finish", "saving"),
            (event_log.EventLog, "__call__", "event log"),
        ):
            patches.enter_context(patch.object(place, name, watch.timed(part, getattr(place, name))))
        patches.enter_context(patch.object(learner, "train", trained))
        job = Job(run, Path(folder), data_dir, "cpu", fresh=False)
        outcome = worker.run_job(job, lambda event: None)
        with watch.part("other"):
            pass
    if outcome.error:
        raise UserError(f"{run.name}: {outcome.error}")
    return dict(watch.seconds)


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Return each part's share of the whole, and `engine`: all that is neither learning nor the method's."""
    whole = sum(seconds.values())
    engine = sum(value for part, value in seconds.items() if part not in (*LEARNING, METHOD))
    return {part: value / whole for part, value in seconds.items()} | {"engine": engine / whole}


def main(method: Methods, stream: StreamKey, settings: Settings = None, data_dir: Path | None = None) -> None:
    """Print, for one run of each method, the share of each part in its time."""
    rows = []
    asked = settings or []
    runs = plan(method, stream, settings=asked)
    short = plan(method, stream, settings=[*asked, *WARM_UP])
    for run, warm_up in zip(runs, short, strict=True):
        # What runs first in a process loads libraries as it goes.
        measure(warm_up, data_dir)
        parts = shares(measure(run, data_dir))
        ordered = [*LEARNING, METHOD, *(part for part in parts if part not in (*LEARNING, METHOD, "engine"))]
        row = {part: f"{parts.get(part, 0):.1%}" for part in ordered}
        rows.append({"method": run.method, "stream": run.stream, "engine": f"{parts['engine']:.1%}", **row})
    show(rows)


if __name__ == "__main__":
    start(main)
