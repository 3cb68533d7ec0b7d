"""Commands in processes that find what they import in memory, so that many can be started and killed."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Protocol

FORKS = multiprocessing.get_context("forkserver")
PRELOADED = [
    *("benchmark.cli", "benchmark.analysis", "benchmark.publishing", "benchmark.running.driver"),
    *("benchmark.running.learner", "benchmark.tuning", "methods.inc_lora", "rich.progress"),
    *("sklearn.datasets", "tasks.digits", "tokenizers"),
    # What transformers imports where a model is loaded takes longer than the run.
    *("torch._dynamo", "torch._inductor", "transformers.models.auto.modeling_auto"),
    *("transformers.models.bert.modeling_bert", "transformers.models.vit.modeling_vit"),
]


class Started(Protocol):
    """A command at work, a `subprocess.Popen` or what `Fork` makes like one."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while it is at work."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""

    def kill(self) -> None:
        """Send SIGKILL."""


class Fork:
    """A command in a process of its own that finds what it imports in memory: most of the time goes there."""

    def __init__(self, command: list[str], shown: Path, environment: dict[str, str]) -> None:
        """Start it."""
        self.process = FORKS.Process(target=run_forked, args=(command, shown, environment))
        self.process.start()
        self.pid = self.process.pid or 0

    def poll(self) -> int | None:
        """Return the exit code, None while it is at work."""
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            raise RuntimeError(f"no end after {timeout} seconds")
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()


def run_forked(command: list[str], shown: Path, environment: dict[str, str]) -> None:
    """Be a `bench` command, and leave with its exit code."""
    from benchmark.cli import app

    os.environ.clear()
    os.environ.update(environment)
    with open(shown, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    app(command, prog_name="bench")
