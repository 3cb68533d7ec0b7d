"""Ends every process that a sweep started, once the sweep is over or killed; Ray alone leaves some behind.

The watchdog is a process of its own, which nothing that hits the sweep reaches. It waits until the pipe to
its starter closes, which the system sees to however that one ends, and then ends whatever carries the
sweep's mark in its environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

MARK = "BENCH_SWEEP"
QUIET_SECONDS, MOST_SECONDS = 1.0, 30.0
"""It leaves when nothing marked was seen for so long: what is being started at the kill shows up late."""


@contextlib.contextmanager
def ending_children() -> Iterator[None]:
    """Have processes that are started within end when the block does, even if this process is killed."""
    mark, before = secrets.token_hex(8), os.environ.get(MARK)
    # By its file and without its folder in the search path, where `ray` is another module.
    command = [sys.executable, "-P", __file__, mark]
    nowhere = subprocess.DEVNULL
    # A session of its own: neither Ctrl-C nor a terminal that closes reaches it. It acts once its input is
    # closed, which leaving the block does, as does the end of this process.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
    ):
        os.environ[MARK] = mark
        try:
            yield
        finally:
            if before is None:
                del os.environ[MARK]
            else:
                os.environ[MARK] = before


def end_marked(mark: str) -> None:
    """End every process of this user that carries a mark, also those that turn up meanwhile."""
    started = seen = time.monotonic()
    while (now := time.monotonic()) - seen < QUIET_SECONDS and now - started < MOST_SECONDS:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == mark:
                    process.kill()
                    seen = time.monotonic()
        time.sleep(0.1)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])
